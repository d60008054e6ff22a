"""What should be charged in a month, from what the store keeps of it: for settling, accruals and forecasts alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from gateway.core.charge import Settlement, seams, settle
from gateway.core.period import MAX, MIN, Period
from gateway.core.problem import Hold
from gateway.core.track import Track, track
from gateway.core.units import UnitError
from gateway.service.backflow import with_maximum
from gateway.service.beside import BESIDE, FARTHER, enough
from gateway.service.doubt import counting, undisputed
from gateway.service.sessions import chargeable
from gateway.service.stranger import StrangerStore, stranger_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.book import Book
    from gateway.core.charge import Charge, EndedSession, Terms
    from gateway.core.metering import Reading, Register, Stranger
    from gateway.service.records import SessionRecord

UNIT_MISMATCH = "unit_mismatch"

Registers = dict[tuple[str, str], tuple["Reading", ...]]


class MeteredStore(StrangerStore, Protocol):
    """Where readings and sessions come from."""

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime, keys: Collection[str] | None = None
    ) -> Registers:
        """(meter, register key) -> its readings in [start, until], the last before and the first after.

        `keys`: only registers of these keys; None: all.
        """

    async def sessions(self, facility: str, start: datetime, until: datetime) -> Sequence[SessionRecord]:
        """The ended sessions of which a part lies in [start, until)."""

    async def voided(self, meter: str, register: str, start: datetime, until: datetime) -> Collection[datetime]:
        """The instants in [start, until] at which a reading of the register (key) is voided."""


async def settled(
    store: MeteredStore,
    book: Book,
    terms: Terms,
    standing: Sequence[Charge] = (),
    beat: Callable[[], None] = lambda: None,
) -> Settlement:
    """What should be charged in the month of `terms`, worked out off the event loop.

    One meter at a time, and only what is billed of it: a month of quarter hours of a whole building would take more
    memory than the box has. `beat` is called for each: what small backflows hold may have been read years ago.
    """
    period = terms.period
    sessions = await counting(store, book, chargeable(await store.sessions(terms.facility, period.start, period.until)))
    edges = seams(standing, period)
    found = Settlement(charges=(), holds=())
    for meter in sorted(meter.id for meter in book.meters.values() if meter.facility == terms.facility):
        beat()
        registers = [register for register in book.registers.values() if register.meter == meter]
        keys = {register.key for register in registers}
        ended = [one for one in sessions if one.ended_at in period and one.register in {each.id for each in registers}]
        readings = await _readings(store, meter, keys, _with(period, ended))
        strangers = await _strangers(store, registers, readings)
        readings = await _with_maxima(store, registers, readings, period.start)
        found = found + await asyncio.to_thread(_settled, book, terms, registers, readings, strangers, edges, sessions)
        del readings  # before the next ones are fetched
    return replace(found, holds=tuple(await undisputed(store, found.holds, standing)))


def _with(period: Period, sessions: Sequence[EndedSession]) -> Period:
    """The period and all of its sessions: they are charged in it, though they may have begun long before."""
    starts, ends = [one.start.at for one in sessions], [one.end.at for one in sessions]
    return Period(min([period.start, *starts]), max([period.until, *ends]))


async def _readings(store: MeteredStore, meter: str, keys: Collection[str], period: Period) -> Registers:
    """What was read in the period and so far beside it that the next period sees its boundary in the same light.

    A neighbour may be wrong, entered by hand or of an untrusted clock: what it is worth, those around it say.
    """
    before, after = Period(MIN, period.start), Period(period.until, MAX)
    start, until = period.start - BESIDE, period.until + BESIDE
    found = await store.readings([meter], start, until, keys)
    for _ in range(FARTHER):
        all_heard = found.values()
        firsts = [heard[0].at for heard in all_heard if heard[0].at < start and not enough(heard, before)]
        lasts = [heard[-1].at for heard in all_heard if heard[-1].at > until and not enough(heard, after)]
        if not (firsts or lasts):
            break
        start, until = min([start, *(at - BESIDE for at in firsts)]), max([until, *(at + BESIDE for at in lasts)])
        found = await store.readings([meter], start, until, keys)
    return found


async def _strangers(
    store: StrangerStore, registers: Iterable[Register], readings: Registers
) -> dict[str, Stranger | None]:
    """By register (id): who answered in its place already before these readings, and is not decided on."""
    return {one.id: await stranger_in(store, one, readings.get((one.meter, one.key), ())) for one in registers}


async def _with_maxima(
    store: MeteredStore, registers: Iterable[Register], readings: Registers, start: datetime
) -> Registers:
    """The readings, and those before them whose indexes small backflows hold at the start."""
    found = dict(readings)
    for one in registers:
        place = (one.meter, one.key)
        found[place] = await with_maximum(store, one, readings.get(place, ()), start)
    return found


def _settled(
    book: Book,
    terms: Terms,
    registers: Sequence[Register],
    readings: Registers,
    strangers: Mapping[str, Stranger | None],
    edges: Mapping[str, Iterable[datetime]],
    sessions: Sequence[EndedSession],
) -> Settlement:
    tolerance = book.facilities[terms.facility].boundary_tolerance
    tracks: dict[str, Track] = {}
    mismatches: list[Hold] = []
    for register in registers:
        heard = readings.get((register.meter, register.key), ())
        try:
            tracks[register.id] = track(register, heard, tolerance, strangers[register.id])
        except UnitError as error:
            tracks[register.id] = track(register, (), tolerance)
            mismatches.append(_mismatch(register, terms.period, error))
    found = settle(book, tracks, terms, edges, sessions)
    return found + Settlement(charges=(), holds=tuple(mismatches))


def _mismatch(register: Register, period: Period, error: UnitError) -> Hold:
    text = f"{register.id} is declared in {register.unit}, but {error}: correct the unit of the register"
    return Hold(code=UNIT_MISMATCH, register=register.id, start=period.start, until=period.until, text=text)
