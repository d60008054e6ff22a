"""Closes every month of every facility when its grace is over, and settles again what a late fact touched.

Closing and settling again are one thing: compare what should be charged with what stands published, and
publish the difference. Doing it twice is harmless, so a crash in the middle is made good by doing it again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Protocol, TypeVar

from gateway.core.canonical import canonical
from gateway.core.charge import (
    REMAINDER,
    Charge,
    Terms,
    body,
    charge_session,
    compare,
    parse,
    undecided,
)
from gateway.core.event import Alarm, Severity
from gateway.service.alarms import AlarmSink
from gateway.service.doubt import counting, course_around
from gateway.service.due import LATE, DueStore, Month, agenda
from gateway.service.judge import READING_IMPLAUSIBLE, VERDICTS
from gateway.service.records import DirtyMonth, NewCharge
from gateway.service.sessions import chargeable
from gateway.service.settlement import UNIT_MISMATCH, MeteredStore, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from gateway.core.book import Book
    from gateway.core.problem import Hold
    from gateway.ports.clock import WallClock

UNASSIGNED = "unassigned"
NOT_STARTED = "not_started"
CLOCK_UNTRUSTED = "clock_untrusted"
GATEWAY = "gateway"
HELD: dict[str, Severity] = {
    "outside": "warning",
    NOT_STARTED: "warning",
    "no_price": "error",
    "conflicting_reading": "error",
    "index_decrease": "error",
    "index_jump": "error",
    "identity_changed": "error",
    "keys_exceed_building": "error",
    UNIT_MISMATCH: "error",
    UNASSIGNED: "warning",
    "zero_denominator": "warning",
}
"""the alarms of settling"""
AGAIN = timedelta(days=1)
"""how often a month with something held is looked at again"""
UNTRUSTED = timedelta(minutes=1)
UNTRUSTED_TEXT = (
    "the clock is not synchronised or has jumped by more than a day: nothing is billed until it is right; "
    "check NTP (timedatectl); where it jumped to the right time, restart the gateway"
)

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class SettleStore(DueStore, MeteredStore, AlarmSink, Protocol):
    """What settling needs of the store."""

    async def standing_charges(self, facility: str, month: str, read: Callable[[str], _T]) -> Sequence[_T]:
        """What `read` makes of each canonical body of a closing's charges, neither reversed nor a reversal."""

    async def revisions(self, facility: str, month: str) -> Mapping[str, int]:
        """line_id -> the highest revision published."""

    async def publish(self, new: Sequence[NewCharge], at: datetime) -> int:
        """Keep charges, their events and numbers in one transaction; those known already change nothing."""

    async def open_alarms(self) -> Sequence[Alarm]:
        """The alarms that have not ended."""


class Bell(Protocol):
    """What wakes the worker before it is due."""

    async def wait(self, instant: datetime) -> None:
        """Return once it was rung or the clock has reached the instant."""


class Settler:
    """The worker that closes months."""

    def __init__(
        self,
        *,
        store: SettleStore,
        clock: WallClock,
        bell: Bell,
        gateway: str,
        beat: Callable[[], None],
        turn: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        """`turn`: that of the commands, of which none is half done while it is looked what is due."""
        self._turn = asyncio.Lock() if turn is None else turn
        self._store = store
        self._clock = clock
        self._bell = bell
        self._gateway = gateway
        self._beat = beat
        self._trusts: bool | None = None
        """what was last told about the clock"""

    async def run(self) -> None:
        """Settle what is due, at the start, whenever the bell is rung and when the next month is due."""
        while True:
            await self._bell.wait(await self.settle_due())

    async def settle_due(self) -> datetime:
        """Settle everything due by now; the instant at which to look again."""
        trusted = self._clock.trusted()
        now = self._clock.now()
        await self._tell_clock(now, trusted=trusted)
        if not trusted:
            return now + UNTRUSTED  # nothing is billed on a clock that may show 1970
        async with self._turn:
            found = await agenda(self._store, now)
        holds: list[Hold] = []
        for one in found.due:
            self._beat()
            holds += await self._settle(found.book, one, now, found.marks)
        for one in found.coming:
            holds += await self._uncharged(found.book, one)
        await self._tell(found.book, holds, now)
        return min([now + AGAIN, *(one.due for one in found.coming)])

    async def _tell_clock(self, now: datetime, *, trusted: bool) -> None:
        """Say once that nothing is billed, and once that it is again; also where an earlier run left it open."""
        if trusted is self._trusts:
            return
        if trusted:
            await self._store.end_alarm(CLOCK_UNTRUSTED, GATEWAY, now)
            if self._trusts is False:
                _log.info("the clock is right again: what is due is billed")
        else:
            text = UNTRUSTED_TEXT
            alarm = Alarm(code=CLOCK_UNTRUSTED, source=GATEWAY, severity="error", since=now, text=text)
            await self._store.raise_alarm(alarm)
            _log.warning("%s", text)
        self._trusts = trusted

    async def _uncharged(self, book: Book, one: Month) -> list[Hold]:
        """What cannot be charged yet of the sessions that have ended in a month that is not due."""
        period = one.period
        terms = Terms(gateway=self._gateway, facility=one.facility.id, period=period, closing=one.label)
        ended = chargeable(await self._store.sessions(terms.facility, period.start, period.until))
        alarms = await self._store.open_alarms()
        holds: list[Hold] = []
        for each in await counting(self._store, book, [each for each in ended if each.ended_at in period]):
            course = await course_around(self._store, alarms, book.registers[each.register], each)
            holds += charge_session(book, terms, each, course)[1]
        return holds

    async def _settle(self, book: Book, one: Month, now: datetime, marked: Sequence[DirtyMonth]) -> list[Hold]:
        """Settle the month and publish what differs; what is held."""
        facility = one.facility.id
        marks = [mark for mark in marked if (mark.facility, mark.month) == (facility, one.label)]
        standing = await self._store.standing_charges(facility, one.label, lambda text: parse(json.loads(text)))
        revisions = await self._store.revisions(facility, one.label)
        terms = Terms(gateway=self._gateway, facility=facility, period=one.period, closing=one.label)
        settlement = await settled(self._store, book, terms, standing, self._beat)
        new = compare(settlement.charges, standing, revisions, settlement.holds)
        for _, group in groupby(new, key=lambda charge: charge.billing_point):
            await self._store.publish([new_charge(charge) for charge in group], now)
        held = _told(settlement.holds, undecided(settlement.holds, standing))
        if held:  # looked at again until a person or a reading has cleared it
            await self._store.mark_dirty([DirtyMonth(facility=facility, month=one.label, reason=LATE)])
        await self._store.close_month(facility, one.label, now, [] if held else marks)
        count = len(settlement.charges)
        _log.info("%s %s: settled: %d charges, %d published, %d held", facility, one.label, count, len(new), len(held))
        return held + list(settlement.warnings)

    async def _tell(self, book: Book, holds: Iterable[Hold], now: datetime) -> None:
        """Raise the alarms of what is held, end those of what is not any more."""
        open_alarms = await self._store.open_alarms()
        wanted = {(hold.code, hold.register): hold.text for hold in holds if not _told_when_polled(hold, open_alarms)}
        for register in book.registers.values():
            if not any(now in link.period for link in book.links_of(register.id)):
                text = f"register {register.id} is linked to no billing point: the owner pays until it is linked"
                wanted[UNASSIGNED, register.id] = text
        known = {(alarm.code, alarm.source) for alarm in open_alarms if alarm.code in HELD}
        for code, source in known - wanted.keys():
            await self._store.end_alarm(code, source, now)
        for (code, source), text in wanted.items():
            if (code, source) not in known:
                _log.warning("%s: held: %s", source, text)
            alarm = Alarm(code=code, source=source, severity=HELD[code], since=now, text=text)
            await self._store.raise_alarm(alarm)


def _told_when_polled(hold: Hold, alarms: Iterable[Alarm]) -> bool:
    """Whether an open alarm tells of a reading in the stretch already: one anomaly, one alarm."""
    of_readings = hold.code in VERDICTS and hold.session is None
    begun = hold.since or hold.start
    return of_readings and any(
        (alarm.code, alarm.source) == (READING_IMPLAUSIBLE, hold.register) and begun <= alarm.since <= hold.until
        for alarm in alarms
    )


def _told(holds: Iterable[Hold], waiting: Collection[Hold]) -> list[Hold]:
    """What a person must know of: `waiting` are those on something that stands published."""
    stays = "what was published for it stays until then"
    return [
        replace(hold, text=f"{hold.text}; {stays}") if hold in waiting else hold
        for hold in holds
        if hold in waiting or hold.code != NOT_STARTED
    ]


def new_charge(charge: Charge) -> NewCharge:
    """The charge as it is kept and told."""
    data = body(charge)
    return NewCharge(
        charge_id=data["charge_id"],
        line_id=charge.line_id,
        revision=charge.revision,
        kind=charge.kind,
        replaces=charge.replaces,
        facility=charge.facility,
        closing=charge.closing,
        billing_point=None if charge.billing_point == REMAINDER else charge.billing_point,
        register=charge.register,
        data=canonical(data).decode(),
    )
