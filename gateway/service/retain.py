"""Keeps the store from growing without end: roll-ups by hour and day, then less of what is old.

Three things, each decided from the clock and harmless when done twice:

- a local day that has ended is rolled up by hour and by day;
- raw answers go after some days: what they said stands in the readings;
- readings that no settlement of a civil date can need go after some months: see `spare`.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import partial
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Protocol, TypeVar
from zoneinfo import ZoneInfo

from gateway.core.charge import parse
from gateway.core.course import HUMP
from gateway.core.period import Period, local_date, midnight
from gateway.core.track import track
from gateway.core.units import UnitError
from gateway.service.property import book_of
from gateway.service.sessions import chargeable
from gateway.service.settle import UNTRUSTED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
    from datetime import date

    from gateway.core.metering import Reading, Register
    from gateway.ports.clock import WallClock
    from gateway.service.records import ClosedMonth, DirtyMonth, PropertyRow, SessionRecord
    from gateway.service.settle import Bell
    from gateway.service.settlement import Registers

QUIET = time(4)
"""local time of the daily work: after the hour that a change of the clocks repeats or leaves out"""
NOBODY = ""
"""stands for the facility of meters that no property data names"""
BATCH = 1000
"""polls whose raw answers go in one transaction"""
AT_A_TIME = 10
"""meters whose day is held in memory: a day of quarter hours of a whole building takes 8 MB"""
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
ROOM = HUMP
"""on either side of a day: the readings beside its midnights, and a fall that contradicts its last ones"""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """One counter of one physical meter over an hour or a local day."""

    start: datetime
    whole_day: bool
    first: Reading
    """the first reading at or after `start`"""
    last: Reading
    """the last reading before the end; of the same meter, serial, register, unit and OBIS code as `first`"""
    count: int
    """readings from `first` to `last`, both included"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the work on the meters of one facility is; None before the first day."""

    rolled_until: datetime | None = None
    thinned_until: datetime | None = None


class RetainStore(Protocol):
    """What retention asks of the store."""

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """The property data as known at the instant; None: now."""

    async def first_reading(self) -> datetime | None:
        """The instant of the oldest reading."""

    async def readings(self, facility_meters: Collection[str], start: datetime, until: datetime) -> Registers:
        """(meter, register key) -> its readings in [start, until], the last before and the first after."""

    async def sessions(self, facility: str, start: datetime, until: datetime) -> Sequence[SessionRecord]:
        """The ended sessions of which a part lies in [start, until)."""

    async def closed_months(self, facility: str | None = None) -> Sequence[ClosedMonth]:
        """The closed months of one facility or of all."""

    async def dirty(self) -> Sequence[DirtyMonth]:
        """The months to be settled again."""

    async def standing_charges(self, facility: str, month: str, read: Callable[[str], _T]) -> Sequence[_T]:
        """What `read` makes of each canonical body of a closing's charges, neither reversed nor a reversal."""


class OldRows(Protocol):
    """What retention does to the store. Every change is durable on return."""

    async def metered(self) -> Collection[str]:
        """Every meter that has a reading."""

    async def progress(self, facility: str) -> Progress:
        """How far the work for this facility is."""

    async def roll_up(self, meters: Collection[str], day: Period, rollups: Sequence[Rollup]) -> None:
        """Keep the roll-ups of the meters' day in place of earlier ones."""

    async def rolled_up(self, facility: str, until: datetime) -> None:
        """Keep that every meter of the facility is rolled up to `until`."""

    async def thin(self, spare: Sequence[Reading]) -> None:
        """Delete these readings."""

    async def thinned(self, facility: str, until: datetime) -> None:
        """Keep that every meter of the facility is thinned up to `until`."""

    async def forget_raw(self, before: datetime, limit: int) -> int:
        """Empty the raw answers of at most `limit` polls before the instant; how many polls were looked through."""

    async def forget_polls(self, before: datetime, limit: int) -> int:
        """Delete at most `limit` polls before the instant that are delivered; how many were looked through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Meters whose days begin together."""

    facility: str
    time_zone: str
    meters: frozenset[str]
    registers: Mapping[tuple[str, str], Register]
    """(meter, register key) -> what the property data says of it"""

    def parts(self) -> Iterator[list[str]]:
        """Its meters, a few at a time."""
        meters = sorted(self.meters)
        for start in range(0, len(meters), AT_A_TIME):
            yield meters[start : start + AT_A_TIME]


class Retain:
    """The worker that does this work once a day, and whenever its bell is rung."""

    def __init__(
        self,
        *,
        store: RetainStore,
        old: OldRows,
        clock: WallClock,
        bell: Bell,
        raw_days: int,
        readings_months: int,
        beat: Callable[[], None],
    ) -> None:
        """How long raw answers and how long all readings are kept; `beat` is called at every sign of life."""
        self._store = store
        self._old = old
        self._clock = clock
        self._bell = bell
        self._raw = raw_days * DAY
        self._readings_months = readings_months
        self._beat = beat

    async def run(self) -> None:
        """Work at the start, daily, and whenever the bell is rung, until cancelled."""
        while True:
            await self._bell.wait(await self.retain_due())

    async def retain_due(self) -> datetime:
        """Do everything due by now; the instant at which to look again."""
        now = self._clock.now()
        if not self._clock.trusted():
            return now + UNTRUSTED
        groups = await self._groups()
        first = await self._store.first_reading()
        if first is not None:
            for group in groups:
                await self._roll_up(group, first, now)
                await self._thin(group, first, now)
        await self._in_batches(self._old.forget_raw, now - self._raw)
        await self._in_batches(self._old.forget_polls, months_before(now, self._readings_months))
        return min((next_quiet(now, group.time_zone) for group in groups), default=now + DAY)

    async def _groups(self) -> list[_Group]:
        book = book_of(await self._store.property_rows(None))
        metered = await self._old.metered()
        of = {meter: book.meters[meter].facility if meter in book.meters else NOBODY for meter in metered}
        zones = {facility.id: facility.time_zone for facility in book.facilities.values()}
        registers = {(register.meter, register.key): register for register in book.registers.values()}
        return [
            _Group(
                facility=facility,
                time_zone=zones.get(facility, "UTC"),
                meters=frozenset(meter for meter in metered if of[meter] == facility),
                registers=registers,
            )
            for facility in sorted(set(of.values()))
        ]

    async def _roll_up(self, group: _Group, first: datetime, now: datetime) -> None:
        progress = await self._old.progress(group.facility)
        start = max(progress.rolled_until or first, progress.thinned_until or first)  # what is thinned says too little
        for day in whole_days(start, now, group.time_zone):
            for meters in group.parts():
                self._beat()
                found = await self._store.readings(meters, day.start, day.until)
                rollups = await asyncio.to_thread(partial(rolled_up, found, day))
                await self._old.roll_up(meters, day, rollups)
                del found, rollups  # before the next ones are fetched
            await self._old.rolled_up(group.facility, day.until)

    async def _thin(self, group: _Group, first: datetime, now: datetime) -> None:
        progress = await self._old.progress(group.facility)
        horizon = min(months_before(now, self._readings_months), progress.rolled_until or first)
        unsettled = await self._unsettled(group.facility)
        cuts: tuple[str, frozenset[datetime]] = ("", frozenset())
        for day in whole_days(progress.thinned_until or first, horizon, group.time_zone):
            date = local_date(day.start, group.time_zone)
            if unsettled(date):
                return
            if cuts[0] != f"{date:%Y-%m}":
                cuts = (f"{date:%Y-%m}", await self._cuts(group.facility, f"{date:%Y-%m}"))
            ended = chargeable(await self._store.sessions(group.facility, day.start - ROOM, day.until + ROOM))
            used = {at for session in ended for at in (session.start.at, session.end.at)} | cuts[1]
            for meters in group.parts():
                self._beat()
                found = await self._store.readings(meters, day.start - ROOM, day.until + ROOM)
                going = await asyncio.to_thread(partial(_spare_of_all, found, group.registers, day, used))
                await self._old.thin(going)
                del found, going  # before the next ones are fetched
            await self._old.thinned(group.facility, day.until)

    async def _cuts(self, facility: str, month: str) -> frozenset[datetime]:
        """The instants between which the month's charges were counted; not all are midnights.

        What was held in the middle of a day, and came later, is a charge of its own.
        """
        found = await self._store.standing_charges(facility, month, _edges)
        return frozenset(at for edges in found for at in edges)

    async def _unsettled(self, facility: str) -> Callable[[date], bool]:
        """Whether a day's month may still be settled for the first time, or is to be settled again."""
        if facility == NOBODY:
            return lambda _: False
        closed = {month.month for month in await self._store.closed_months(facility)}
        settled = closed - {month.month for month in await self._store.dirty() if month.facility == facility}
        return lambda day: f"{day:%Y-%m}" not in settled

    async def _in_batches(self, work: Callable[[datetime, int], Awaitable[int]], before: datetime) -> None:
        while await work(before, BATCH) == BATCH:
            self._beat()


def whole_days(start: datetime, until: datetime, zone: str) -> Iterator[Period]:
    """The local days, from the one that `start` lies in, that have ended at `until`."""
    date = local_date(start, zone)
    while (end := midnight(date + DAY, zone)) <= until:
        yield Period(midnight(date, zone), end)
        date += DAY


def next_quiet(now: datetime, zone: str) -> datetime:
    """The next instant at which the local clock shows `QUIET`."""
    today = local_date(now, zone)
    coming = (datetime.combine(day, QUIET, ZoneInfo(zone)).astimezone(UTC) for day in (today, today + DAY))
    return next(instant for instant in coming if instant > now)


def months_before(now: datetime, months: int) -> datetime:
    """The first instant (UTC) of the month that lies so many months before the present one."""
    year, index = divmod(now.year * 12 + now.month - 1 - months, 12)
    return datetime(year, index + 1, 1, tzinfo=UTC)


def rolled_up(found: Mapping[tuple[str, str], Sequence[Reading]], day: Period) -> list[Rollup]:
    """The roll-ups of the hours of the day and of the day itself. Untrusted times count for none."""
    made = []
    for readings in found.values():
        inside = [one for one in readings if one.at in day and one.clock_trusted and one.origin != "stored"]
        for _, same in groupby(sorted(inside, key=_counter), key=_counter):
            of_one = sorted(same, key=_at)
            made.append(_rollup(day.start, of_one, whole_day=True))
            for hour, in_hour in groupby(of_one, key=lambda reading: (reading.at - day.start) // HOUR):
                made.append(_rollup(day.start + hour * HOUR, list(in_hour), whole_day=False))
    return made


def _rollup(start: datetime, readings: Sequence[Reading], *, whole_day: bool) -> Rollup:
    return Rollup(start=start, whole_day=whole_day, first=readings[0], last=readings[-1], count=len(readings))


def spare(readings: Sequence[Reading], register: Register | None, day: Period) -> list[Reading]:
    """The readings of a register in the local day that no later settlement can need, but for those of sessions.

    Moves, prices, links and values change at local midnight, so an index is asked for there only: what stays are
    the readings at a midnight and the last and the first beside it. A day with anything that a person may have to
    look at stays whole: a decrease, a jump, an exchanged meter, two values for one instant, an origin other than
    measured, a time not trusted. What the meter stored itself stays. `register` is what the property data says of it,
    if anything.
    """
    by_time = sorted((one for one in readings if one.origin != "stored"), key=_at)
    if any(_remarkable(left, right) for left, right in pairwise(by_time)) or not all(map(_plain, by_time)):
        return []
    if register is not None and _doubtful(register, by_time):
        return []
    kept = {beside for edge in (day.start, day.until) for beside in _beside(by_time, edge)}
    return [reading for reading in by_time if reading.at in day and reading.at not in kept]


def _spare_of_all(
    found: Registers, registers: Mapping[tuple[str, str], Register], day: Period, used: Collection[datetime]
) -> list[Reading]:
    """`used`: at which sessions began or ended, so that what is left of the day is the owner's, or other charges."""
    going = [reading for key, readings in found.items() for reading in spare(readings, registers.get(key), day)]
    return [reading for reading in going if reading.at not in used]


def _edges(body: str) -> set[datetime]:
    """The instants of a charge's evidence."""
    parts = parse(json.loads(body)).segments
    return {index.at for part in parts for index in (part.start, part.until)}


def _doubtful(register: Register, readings: Sequence[Reading]) -> bool:
    if any(readings[0].at <= exchange.at <= readings[-1].at for exchange in register.exchanges if readings):
        return True
    try:
        return bool(track(register, readings).blocked())
    except UnitError:
        return True


def _beside(by_time: Sequence[Reading], edge: datetime) -> Iterator[datetime]:
    """The instants of the readings at the edge, the last before and the first after."""
    before = [reading.at for reading in by_time if reading.at < edge]
    after = [reading.at for reading in by_time if reading.at > edge]
    yield edge
    yield from before[-1:]
    yield from after[:1]


def _remarkable(left: Reading, right: Reading) -> bool:
    return left.at == right.at or _counter(left) != _counter(right) or right.index < left.index


def _plain(reading: Reading) -> bool:
    return reading.clock_trusted and reading.origin == "measured"


def _counter(reading: Reading) -> tuple[str, str, str, str, str]:
    return (reading.meter, reading.serial, reading.register, reading.unit, reading.obis)


def _at(reading: Reading) -> datetime:
    return reading.at
