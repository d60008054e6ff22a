"""Meters that only one knows, the settings or the property data: what cannot be read, and what nobody is billed for.

A meter has one id in both. Where one of them is renamed or mistyped, its readings are kept under an id that nothing
is linked to, and what is billed stands still; the closing of the month would be the first to notice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from gateway.core.event import Alarm
from gateway.core.period import MAX
from gateway.service.alarms import AlarmLog, Ended
from gateway.service.property import book_of
from gateway.service.settle import UNTRUSTED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from gateway.core.metering import Reading, Register
    from gateway.ports.clock import WallClock
    from gateway.service.records import PropertyRow
    from gateway.service.settle import Bell

METER_UNWIRED = "meter_unwired"
AGAIN = timedelta(days=1)
"""how often it is looked again where nothing is due before"""

_log = logging.getLogger(__name__)


class KnownStore(Protocol):
    """What is asked of the store."""

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """The property data as known at the instant; None: now."""

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime
    ) -> Mapping[tuple[str, str], tuple[Reading, ...]]:
        """(meter, register key) -> its readings in [start, until], the last before and the first after."""


class UnwiredStore(KnownStore, AlarmLog, Protocol):
    """What the worker asks of the store."""

    async def open_alarms(self) -> Sequence[Alarm]:
        """The alarms that have not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """Where settings and property data differ, ids in order."""

    unwired: tuple[str, ...]
    """meters on no line with a register that is linked now and is not read by hand"""
    unbilled: tuple[str, ...]
    """meters of the lines of which the property data have no register; none where they have no register at all"""
    changes: datetime
    """when the next link begins or ends"""


class Unwired:
    """The worker that tells of meters that are billed and cannot be read."""

    def __init__(
        self,
        *,
        store: UnwiredStore,
        clock: WallClock,
        bell: Bell,
        wired: Collection[str],
        beat: Callable[[], None],
    ) -> None:
        """`wired`: the meters of the settings; `beat` is called at every sign of life."""
        self._store = store
        self._clock = clock
        self._bell = bell
        self._wired = wired
        self._beat = beat
        self.unbilled = 0
        """meters of the settings that nobody is billed for, when it was last looked"""

    async def run(self) -> None:
        """Look at the start, whenever the bell is rung and when a link begins or ends."""
        while True:
            self._beat()
            await self._bell.wait(await self.look())

    async def look(self) -> datetime:
        """Raise and end alarms; the instant at which to look again."""
        now = self._clock.now()
        if not self._clock.trusted():
            return now + UNTRUSTED  # whether a link holds in 1970 says nothing
        found = await apart(self._store, self._wired, now)
        self.unbilled = len(found.unbilled)
        known = {alarm.source for alarm in await self._store.open_alarms() if alarm.code == METER_UNWIRED}
        over = [Ended(code=METER_UNWIRED, source=meter, at=now) for meter in sorted(known - {*found.unwired})]
        new = [_alarm(meter, now) for meter in found.unwired if meter not in known]
        for alarm in new:
            _log.warning("%s: %s", alarm.source, alarm.text)
        if over or new:
            await self._store.change_alarms([*over, *new])
        return min(found.changes, now + AGAIN)


async def apart(store: KnownStore, wired: Collection[str], now: datetime) -> Apart:
    """Compare the meters of the settings with the property data."""
    book = book_of(await store.property_rows(None))
    linked = {link.register for link in book.links.values() if now in link.period}
    missing = [book.registers[each] for each in linked if book.registers[each].meter not in wired]
    read_off = {register.id for register in missing if await _by_hand(store, register)}
    counted = {register.meter for register in book.registers.values()}
    edges = (edge for link in book.links.values() for edge in (link.period.start, link.period.until))
    return Apart(
        unwired=tuple(sorted({one.meter for one in missing if one.id not in read_off})),
        unbilled=tuple(sorted({*wired} - counted)) if counted else (),
        changes=min((edge for edge in edges if edge > now), default=MAX),
    )


async def _by_hand(store: KnownStore, register: Register) -> bool:
    """Whether a person has entered the last two readings of a register, or the only one.

    Property data do not say how it is read. A single one behind those of the meter itself only helps out.
    """
    last = await _until(store, register, MAX)
    if last is None or last.origin != "manual":
        return False
    before = await _until(store, register, last.at)
    return before is None or before.origin == "manual"


async def _until(store: KnownStore, register: Register, end: datetime) -> Reading | None:
    """The last reading before this instant."""
    found = await store.readings({register.meter}, end, end)
    return next((each for each in reversed(found.get((register.meter, register.key), ())) if each.at < end), None)


def unwired_text(meter: str) -> str:
    """What is wrong, and what to do."""
    return (
        f"meter {meter} of the property data is on no line of the settings, so its readings cannot come and what it"
        " counts is not billed: give its id to its [[bus.meter]] and restart the gateway; of one that is gone end the"
        " links (submeter link end); of one that is read by hand enter readings of each register (submeter reading"
        f" add {meter} ...): one, or two where it was on a line before"
    )


def _alarm(meter: str, now: datetime) -> Alarm:
    return Alarm(code=METER_UNWIRED, source=meter, severity="error", since=now, text=unwired_text(meter))
