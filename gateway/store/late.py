"""Readings that come after the month that they lie in was closed: it is settled again.

Whatever way they came: an answer that could be read only with a later key, a value that a meter had stored, one that
waited in memory, a clock that was put right.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from gateway.core.leaning import leaning
from gateway.core.period import Period, month
from gateway.service.beside import BESIDE, WITNESSES, spans
from gateway.service.correct_marks import marks
from gateway.service.property import book_of
from gateway.store import months, properties, reading_span, readings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from gateway.core.building import Facility
    from gateway.core.metering import Reading, Register
    from gateway.service.polled import Poll
    from gateway.service.records import ClosedMonth, DirtyMonth

LATE = "late_reading"


def keep(connection: Connection, polls: Sequence[Poll]) -> readings.Kept:
    """Keep the polls, and mark the closed months that what is new in them has a part in.

    No closed month leans on what is newer than its last settling, which may be long after it was closed: no more is
    asked for readings that come in their time. That is asked here: one may be settled while they wait to be kept.
    """
    kept = readings.keep(connection, polls)
    settled_at = months.last_settled(connection)
    late = [reading for reading in kept.fresh if reading.at < settled_at and reading.clock_trusted]
    if late:
        months.mark(connection, sorted(_touched(connection, late), key=lambda one: (one.facility, one.month)))
    return kept


def _touched(connection: Connection, late: Iterable[Reading]) -> set[DirtyMonth]:
    """The closed months of which something leans on what came."""
    book = book_of(properties.known(connection, None))
    heard = _by_register(late)
    found: set[DirtyMonth] = set()
    for register in book.registers.values():
        fresh = heard.get((register.meter, register.key))
        if fresh is None or register.meter not in book.meters:
            continue
        facility = book.facilities[book.meters[register.meter].facility]
        closed = months.closed(connection, facility.id)
        if not closed or _far_behind(connection, register, min(one.at for one in fresh), _end(closed, facility)):
            continue
        found.update(_marks(connection, register, fresh, partial(marks, closed, facility.time_zone, reason=LATE)))
    return found


def _end(closed: Sequence[ClosedMonth], facility: Facility) -> datetime:
    last = max(one.month for one in closed)
    return month(date.fromisoformat(f"{last}-01"), facility.time_zone).until


def _far_behind(connection: Connection, register: Register, at: datetime, end: datetime) -> bool:
    """Whether so much lies between the end of the closed months and the instant that they are settled without it.

    Of each register one reading is on its way whenever months are settled: days later, it is not interpolated.
    """
    return reading_span.measured(connection, register.meter, register.key, Period(end, at - BESIDE), WITNESSES + 1)


def _marks(
    connection: Connection,
    register: Register,
    fresh: Collection[Reading],
    of: Callable[[Iterable[Period]], list[DirtyMonth]],
) -> list[DirtyMonth]:
    """`of`: the marks of the closed months in some stretches.

    Few readings lie so near to a month's end that another month could lean on them: only those are interpolated. What a
    backflow holds, it may hold for months.
    """
    edges = Period(min(one.at for one in fresh), max(one.at for one in fresh))
    read = _around(connection, register, edges)
    own, beside = of([edges]), of([Period(min(one.at for one in read), max(one.at for one in read))])
    if own == beside and register.backflow is None:
        return own
    new = {replace(one, boot="") for one in fresh}  # as the store gives it back
    return of([leaning(register, read, new.__contains__) or edges])


def _around(connection: Connection, register: Register, edges: Period) -> Collection[Reading]:
    """What settling can read beside the edges, and they themselves."""
    read: dict[Reading, None] = {}  # each once
    for at in dict.fromkeys((edges.start, edges.until)):
        heard: list[Reading] = []
        for span in spans(at, heard):
            found = reading_span.span(connection, [register.meter], span.start, span.until, {register.key})
            heard[:] = found.get((register.meter, register.key), ())
        read |= dict.fromkeys(heard)
    return read


def _by_register(late: Iterable[Reading]) -> dict[tuple[str, str], list[Reading]]:
    found: dict[tuple[str, str], list[Reading]] = {}
    for reading in late:
        found.setdefault((reading.meter, reading.register), []).append(reading)
    return found
