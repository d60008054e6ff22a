"""Sessions at access points, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from gateway.service.records import SessionRecord
from gateway.store import charges, events, schema, streams
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection, Select

    from gateway.service.records import NewCharge


def keep(connection: Connection, session: SessionRecord) -> bool:
    """Keep the session as it is now; False, and nothing changed, where it has ended already."""
    table = schema.session
    row = {
        "facility": session.facility,
        "access_point": session.access_point,
        "started_at": micros(session.started_at),
        "ended_at": None if session.ended_at is None else micros(session.ended_at),
        "data": session.data,
    }
    running = (table.c.id == session.id, table.c.ended_at.is_(None))
    if connection.execute(update(table).where(*running).values(row)).rowcount:
        return True
    if connection.scalar(select(func.count()).select_from(table).where(table.c.id == session.id)):
        return False
    connection.execute(insert(table).values(id=session.id, **row))
    return True


def end(
    connection: Connection,
    session: SessionRecord,
    *,
    subject: str,
    data: str,
    costs: Sequence[NewCharge],
    at: datetime,
    bootid: str,
) -> None:
    """Keep the ended session, its event and its charges with theirs, unless it has ended already."""
    if not keep(connection, session):
        return
    place = events.next_place(connection, streams.current(connection, "session"))
    events.put(connection, place, subject=subject, time=at, bootid=bootid, data=data)
    charges.publish(connection, costs, at, bootid)


def running(connection: Connection) -> list[SessionRecord]:
    """The sessions that have not ended, the oldest first."""
    table = schema.session
    query = select(table).where(table.c.ended_at.is_(None))
    return _sessions(connection, query.order_by(table.c.started_at, table.c.id))


def ended(connection: Connection, facility: str, start: datetime, until: datetime) -> list[SessionRecord]:
    """The facility's ended sessions of which a part lies in [start, until), by their start."""
    table = schema.session
    within = (table.c.facility == facility, table.c.started_at < micros(until), table.c.ended_at >= micros(start))
    return _sessions(connection, select(table).where(*within).order_by(table.c.started_at, table.c.id))


def _sessions(connection: Connection, query: Select[Any]) -> list[SessionRecord]:
    return [
        SessionRecord(
            id=row.id,
            facility=row.facility,
            access_point=row.access_point,
            started_at=instant(row.started_at),
            ended_at=None if row.ended_at is None else instant(row.ended_at),
            data=row.data,
        )
        for row in connection.execute(query)
    ]
