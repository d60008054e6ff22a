"""Property data: every value an entity ever had, when it was recorded and by whom. Rows are only added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from gateway.service.records import PropertyRow
from gateway.store import months, schema
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select

    from gateway.service.records import DirtyMonth, PropertyChange


def record(
    connection: Connection,
    changes: Sequence[PropertyChange],
    by: str,
    at: datetime,
    dirty: Sequence[DirtyMonth],
) -> int:
    """Add the changes and mark the months that they touch; how many entities really changed.

    A value that the entity has already writes nothing.
    """
    held = {(row.kind, row.id): row.value for row in known(connection, None)}
    table = schema.property_
    no = connection.scalar(select(func.max(table.c.no))) or 0
    rows = []
    for change in changes:
        if held.get((change.kind, change.id)) == change.value:
            continue
        held[change.kind, change.id] = change.value
        no += 1
        rows.append(
            {
                "no": no,
                "recorded_at": micros(at),
                "recorded_by": by,
                "kind": change.kind,
                "id": change.id,
                "value": change.value,
            }
        )
    if rows:
        connection.execute(insert(table), rows)
    months.mark(connection, dirty)
    return len(rows)


def known(connection: Connection, at: datetime | None) -> list[PropertyRow]:
    """The latest row of every entity that was recorded by then (None: by now), ended ones included, by kind and id."""
    table = schema.property_
    latest = select(func.max(table.c.no)).group_by(table.c.kind, table.c.id)
    if at is not None:
        latest = latest.where(table.c.recorded_at <= micros(at))
    return _rows(connection, select(table).where(table.c.no.in_(latest)).order_by(table.c.kind, table.c.id))


def history(connection: Connection, kind: str | None, entity: str | None) -> list[PropertyRow]:
    """Every row of one kind, of one id, or of all, in the order of recording."""
    table = schema.property_
    query = select(table).order_by(table.c.no)
    for column, value in ((table.c.kind, kind), (table.c.id, entity)):
        if value is not None:
            query = query.where(column == value)
    return _rows(connection, query)


def _rows(connection: Connection, query: Select[Any]) -> list[PropertyRow]:
    return [
        PropertyRow(
            kind=row.kind,
            id=row.id,
            value=row.value,
            recorded_at=instant(row.recorded_at),
            recorded_by=row.recorded_by,
        )
        for row in connection.execute(query)
    ]
