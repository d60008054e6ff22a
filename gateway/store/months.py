"""Billing months: closed ones, and those that a late fact touched and that are to be settled again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from gateway.core.period import MIN
from gateway.service.records import ClosedMonth, DirtyMonth
from gateway.store import schema
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection


def mark(connection: Connection, months: Sequence[DirtyMonth]) -> None:
    """Ask for the months to be settled again."""
    table = schema.dirty
    number = connection.scalar(select(func.max(table.c.mark))) or 0
    for month in months:
        number += 1
        key = (table.c.facility == month.facility, table.c.month == month.month, table.c.reason == month.reason)
        if not connection.execute(update(table).where(*key).values(mark=number)).rowcount:
            values = {"facility": month.facility, "month": month.month, "reason": month.reason, "mark": number}
            connection.execute(insert(table).values(values))


def marked(connection: Connection) -> list[DirtyMonth]:
    """The months to be settled again, in the order of their marks."""
    table = schema.dirty
    rows = connection.execute(select(table).order_by(table.c.mark))
    return [DirtyMonth(facility=row.facility, month=row.month, reason=row.reason, mark=row.mark) for row in rows]


def close(connection: Connection, facility: str, month: str, at: datetime, settled: Sequence[DirtyMonth]) -> None:
    """The month is settled: closed if it was not, and the marks taken into account are gone.

    A mark that was set while the month was being settled stays.
    """
    table, dirty = schema.closing, schema.dirty
    key = (table.c.facility == facility, table.c.month == month)
    if not connection.execute(update(table).where(*key).values(settled_at=micros(at))).rowcount:
        values = {"facility": facility, "month": month, "closed_at": micros(at), "settled_at": micros(at)}
        connection.execute(insert(table).values(values))
    for done in settled:
        row = (dirty.c.facility == done.facility, dirty.c.month == done.month, dirty.c.reason == done.reason)
        connection.execute(delete(dirty).where(*row, dirty.c.mark == done.mark))


def last_settled(connection: Connection) -> datetime:
    """When a closed month was settled last; `MIN` before the first."""
    at = connection.scalar(select(func.max(schema.closing.c.settled_at)))
    return MIN if at is None else instant(at)


def closed(connection: Connection, facility: str | None) -> list[ClosedMonth]:
    """The closed months of one facility or of all, in order."""
    table = schema.closing
    query = select(table).order_by(table.c.facility, table.c.month)
    if facility is not None:
        query = query.where(table.c.facility == facility)
    return [
        ClosedMonth(
            facility=row.facility,
            month=row.month,
            closed_at=instant(row.closed_at),
            settled_at=instant(row.settled_at),
        )
        for row in connection.execute(query)
    ]
