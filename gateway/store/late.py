"""Readings that come after the month that they lie in was closed: it is settled again.

Whatever way they came: an answer that could be read only with a later key, a value that a meter had stored, one that
waited in memory, a clock that was put right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.period import local_date
from gateway.service.property import book_of
from gateway.service.records import DirtyMonth
from gateway.store import months, properties, reading_span, readings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from gateway.core.metering import Reading
    from gateway.service.polled import Poll

LATE = "late_reading"


def keep(connection: Connection, polls: Sequence[Poll]) -> readings.Kept:
    """Keep the polls, and mark the closed months that what is new in them has a part in.

    No month that is closed has an instant after the last closing, so no more is asked for readings that come in their
    time. That is asked here: a month may be closed while they wait for their turn to be kept.
    """
    kept = readings.keep(connection, polls)
    closed_at = months.last_closed(connection)
    late = [reading for reading in kept.fresh if reading.at < closed_at and reading.clock_trusted]
    if late:
        months.mark(connection, sorted(_touched(connection, late), key=lambda one: (one.facility, one.month)))
    return kept


def _touched(connection: Connection, late: Iterable[Reading]) -> set[DirtyMonth]:
    """The closed months between the reading before and the one after: their boundaries may lean on it."""
    book = book_of(properties.known(connection, None))
    found: set[DirtyMonth] = set()
    for meter, instants in _by_meter(late).items():
        if meter not in book.meters:
            continue
        facility = book.facilities[book.meters[meter].facility]
        around = reading_span.span(connection, [meter], min(instants), max(instants))
        edges = [*instants, *(one.at for heard in around.values() for one in heard)]
        first, last = (f"{local_date(at, facility.time_zone):%Y-%m}" for at in (min(edges), max(edges)))
        closed = (one.month for one in months.closed(connection, facility.id))
        found |= {DirtyMonth(facility=facility.id, month=each, reason=LATE) for each in closed if first <= each <= last}
    return found


def _by_meter(late: Iterable[Reading]) -> dict[str, list[datetime]]:
    found: dict[str, list[datetime]] = {}
    for reading in late:
        found.setdefault(reading.meter, []).append(reading.at)
    return found
