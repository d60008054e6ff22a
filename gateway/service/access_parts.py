"""What an access point is joined to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from gateway.core.session import Moment
from gateway.service.stranger import StrangerStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
    from datetime import datetime

    from gateway.core.event import Alarm
    from gateway.core.metering import Reading
    from gateway.ports.clock import WallClock
    from gateway.ports.field import BadgeReader, Machine, MeterBus
    from gateway.service.alarms import AlarmSink
    from gateway.service.polled import ReadingStore
    from gateway.service.records import DirtyMonth, NewCharge, PropertyRow, SessionRecord


class SessionStore(StrangerStore, Protocol):
    """What access points need of the store. All of it is as urgent as a tap."""

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """The property data as known at the instant; None: now."""

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime, keys: Collection[str] | None = None
    ) -> Mapping[tuple[str, str], Sequence[Reading]]:
        """(meter, register key) -> its readings in [start, until], the last before and the first after."""

    async def open_alarms(self) -> Sequence[Alarm]:
        """The alarms that have not ended."""

    async def open_sessions(self) -> Sequence[SessionRecord]:
        """The sessions that have not ended, the oldest first."""

    async def keep_session(self, session: SessionRecord) -> None:
        """Keep a session as it is now, new or known; return once that is durable."""

    async def end_session(
        self,
        session: SessionRecord,
        subject: str,
        data: str,
        charges: Sequence[NewCharge],
        at: datetime,
        dirty: Sequence[DirtyMonth] = (),
    ) -> None:
        """Keep the ended session, its event, its charges with their events and the marks in one transaction.

        A session that has ended already changes nothing.
        """


TOGETHER_S, TRIES = 0.005, 5
"""how far apart both clocks may be read, and how often it is tried on a machine that stands still between the two"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What it is joined to."""

    reader: BadgeReader
    permit: Machine
    bus: MeterBus
    """with the machine's meter"""
    store: SessionStore
    readings: ReadingStore
    alarms: AlarmSink
    clock: WallClock
    seal: Callable[[str], str]
    """the digest of an identifier"""
    busy: MutableMapping[str, str]
    """access point -> badge with a session there; shared by all access points"""
    gateway: str
    boot: str
    beat: Callable[[], None]

    def moment(self) -> Moment:
        """Now."""
        return moment_of(self.clock, self.boot)


def moment_of(clock: WallClock, boot: str) -> Moment:
    """Now, by both clocks at once: what waits to be placed in time is placed by the one against the other."""
    tries = 1
    while True:
        trusted = clock.trusted()  # asked first: it may be set right between the two
        elapsed, at = clock.monotonic(), clock.now()
        if clock.monotonic() - elapsed < TOGETHER_S or tries == TRIES:
            return Moment(at=at, trusted=trusted, elapsed=timedelta(seconds=elapsed), boot=boot)
        tries += 1
