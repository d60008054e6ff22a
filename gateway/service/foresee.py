"""What a change does to months whose charges are made: they are settled as it will be done, and nothing is kept."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import TYPE_CHECKING, Protocol, TypeVar
from zoneinfo import ZoneInfo

from gateway.core.charge import Terms, compare, parse, undecided
from gateway.service.command_schema import HeldTold, MonthTold
from gateway.service.due import Month
from gateway.service.settle import NOT_STARTED
from gateway.service.settlement import MeteredStore, settled
from gateway.service.storing import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.book import Book
    from gateway.core.event import Alarm
    from gateway.core.problem import Hold

PATIENCE = 5.0
"""seconds that who gave a command waits for it: a year of a hundred meters; more is told by the alarms"""
_T = TypeVar("_T")


class ForeseeStore(MeteredStore, Protocol):
    """What is asked of the store."""

    async def standing_charges(self, facility: str, month: str, read: Callable[[str], _T]) -> Sequence[_T]:
        """What `read` makes of each body of a closing's charges that are neither reversed nor a reversal."""

    async def open_alarms(self) -> Sequence[Alarm]:
        """The alarms that have not ended: what was held before."""

    async def revisions(self, facility: str, month: str) -> Mapping[str, int]:
        """line_id -> the highest revision published."""


async def foreseen(store: ForeseeStore, book: Book, months: Iterable[tuple[str, str]]) -> tuple[MonthTold, ...] | None:
    """What becomes of each month (facility, "2026-10") with this book; None where it is not known by now."""
    known = sorted({(facility, label) for facility, label in months if facility in book.facilities})
    try:
        async with asyncio.timeout(PATIENCE):
            return tuple([await _month(store, book, facility, label) for facility, label in known])
    except (TimeoutError, StoreUnavailableError):
        return None


async def _month(store: ForeseeStore, book: Book, facility: str, label: str) -> MonthTold:
    place = book.facilities[facility]
    month = Month.of(place, date.fromisoformat(f"{label}-01"))
    standing = await store.standing_charges(facility, label, lambda text: parse(json.loads(text)))
    # no charge is published here, and none differs by the name of who would
    terms = Terms(gateway="", facility=facility, period=month.period, closing=label)
    found = await settled(store, book, terms, standing)
    waiting = undecided(found.holds, standing)
    new = compare(found.charges, standing, await store.revisions(facility, label), found.holds)
    back = sum(one.kind == "reversal" for one in new)
    zone = ZoneInfo(place.time_zone)
    known = {(alarm.code, alarm.source) for alarm in await store.open_alarms()}
    held = [
        _held(hold, zone, stays=hold in waiting)
        for hold in found.holds
        if hold in waiting or (hold.code != NOT_STARTED and (hold.code, hold.register) not in known)
    ]
    return MonthTold(facility=facility, month=label, taken_back=back, charged=len(new) - back, held=tuple(held))


def _held(hold: Hold, zone: ZoneInfo, *, stays: bool) -> HeldTold:
    text = f"{hold.text}; what was published for it stays until then" if stays else hold.text
    return HeldTold(
        code=hold.code,
        register_=hold.register,
        start=_local(hold.start, zone),
        until=_local(hold.until, zone),
        text=text,
    )


def _local(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).isoformat()
