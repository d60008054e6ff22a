"""The outbox: events of charges, sessions and alarms, numbered in the transaction that makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from gateway.core.event import Event
from gateway.store import reading_events, schema, streams
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from gateway.store.streams import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the next event of a stream goes."""

    stream: Stream
    seq: int
    prevhash: str | None
    """hash of the event before; None before the first and in a stream without hashes"""


def next_place(connection: Connection, stream: Stream) -> Place:
    """The place after the last event of the stream."""
    table = schema.event
    query = select(table.c.seq, table.c.hash).where(table.c.stream == stream.name)
    last = connection.execute(query.order_by(table.c.seq.desc()).limit(1)).one_or_none()
    return (
        Place(stream=stream, seq=1, prevhash=None)
        if last is None
        else Place(stream=stream, seq=last.seq + 1, prevhash=last.hash)
    )


def put(  # noqa: PLR0913 - the columns of one row
    connection: Connection,
    place: Place,
    *,
    subject: str,
    time: datetime,
    bootid: str,
    data: str | None = None,
    charge: str | None = None,
    link: tuple[str, str] | None = None,
) -> None:
    """Add an event with its own `data`, or one for the charge with this id, whose body is the data.

    `link` is (prevhash, hash).
    """
    prevhash, own_hash = link or (None, None)
    connection.execute(
        insert(schema.event).values(
            stream=place.stream.name,
            seq=place.seq,
            id=charge or f"{place.stream.name}:{place.seq}",
            subject=subject,
            time=micros(time),
            data=data,
            prevhash=prevhash,
            hash=own_hash,
            bootid=bootid,
        )
    )


def after(connection: Connection, name: str, seq: int, limit: int) -> list[Event]:
    """The events that follow number `seq` in the stream of this name, at most `limit`; none in an unknown stream."""
    stream = streams.named(connection, name)
    if stream is None:
        return []
    if stream.kind == "reading":
        return reading_events.after(connection, stream, seq, limit)
    table, charge = schema.event, schema.charge
    query = (
        select(table, func.coalesce(table.c.data, charge.c.body).label("payload"))
        .join(charge, charge.c.charge_id == table.c.id, isouter=True)
        .where(table.c.stream == name, table.c.seq > seq)
        .order_by(table.c.seq)
        .limit(limit)
    )
    return [_event(stream, row) for row in connection.execute(query)]


def _event(stream: Stream, row: Row[Any]) -> Event:
    return Event(
        kind=stream.kind,
        stream=stream.name,
        seq=row.seq,
        id=row.id,
        subject=row.subject,
        time=instant(row.time),
        data=row.payload,
        bootid=row.bootid,
        prevhash=row.prevhash,
        hash=row.hash,
    )
