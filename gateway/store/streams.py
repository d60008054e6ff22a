"""The numbered streams of events, one per kind and epoch.

An epoch is random and ends when the store is restored or made anew, so that a number, once given, never
stands for two different events.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from gateway.core.event import ORDER
from gateway.store import schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, RowMapping

    from gateway.core.event import Kind
    from gateway.service.messages import Ack

_STORE_ID = "store_id"
_EPOCH_BYTES = 4
_ID_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One stream, as it is numbered in the tables."""

    no: int
    name: str
    kind: Kind
    base: int
    """readings: the number of a poll in the stream is its row's number minus this"""
    finished: int
    """every event up to this number is finished"""


def establish(connection: Connection) -> None:
    """Give a new store its id and its first streams; a store that has them keeps them."""
    if connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == _STORE_ID)) is None:
        connection.execute(insert(schema.meta).values(key=_STORE_ID, value=secrets.token_hex(_ID_BYTES)))
        renew(connection)


def renew(connection: Connection) -> None:
    """Begin the streams of a new epoch: every one counts from 1 again.

    The polls that were not finished are the first of the new stream of readings.
    """
    epoch = secrets.token_hex(_EPOCH_BYTES)
    table = schema.stream
    last = connection.scalar(select(func.coalesce(func.max(table.c.no), 0))) or 0
    finished = select(func.max(table.c.base + table.c.finished)).where(table.c.kind == "reading")
    base = connection.scalar(finished) or 0
    rows = [
        {"no": no, "name": f"{kind}s-{epoch}", "kind": kind, "base": base if kind == "reading" else 0, "finished": 0}
        for no, kind in enumerate(ORDER, last + 1)
    ]
    connection.execute(insert(schema.stream), rows)


def current(connection: Connection, kind: Kind) -> Stream:
    """The stream that new events of this kind go to."""
    table = schema.stream
    query = select(table).where(table.c.kind == kind).order_by(table.c.no.desc()).limit(1)
    return _stream(connection.execute(query).mappings().one())


def all_current(connection: Connection) -> list[Stream]:
    """The streams of all kinds that new events go to, in the order of delivery."""
    return [current(connection, kind) for kind in ORDER]


def named(connection: Connection, name: str) -> Stream | None:
    """The stream of this name, of any epoch."""
    row = connection.execute(select(schema.stream).where(schema.stream.c.name == name)).mappings().one_or_none()
    return None if row is None else _stream(row)


def head(connection: Connection, stream: Stream) -> int:
    """The highest number given in the stream, 0 before the first."""
    if stream.kind == "reading":
        return last_poll(connection, stream) - stream.base
    query = select(func.max(schema.event.c.seq)).where(schema.event.c.stream == stream.name)
    return connection.scalar(query) or 0


def last_poll(connection: Connection, stream: Stream) -> int:
    """The row number of the last poll in a stream of readings, its base before the first."""
    later = select(func.min(schema.stream.c.base)).where(
        schema.stream.c.kind == stream.kind, schema.stream.c.no > stream.no
    )
    end = connection.scalar(later)
    if end is not None:
        return int(end)
    return max(stream.base, connection.scalar(select(func.max(schema.poll.c.seq))) or 0)


def acknowledge(connection: Connection, acks: Sequence[Ack], finished: Mapping[str, int]) -> None:
    """Record acks and how far streams are finished; a lower number than the recorded one changes nothing."""
    for ack in acks:
        _record(connection, ack)
    table = schema.stream
    for name, seq in finished.items():
        row = (table.c.name == name, table.c.finished < seq)
        connection.execute(update(table).where(*row).values(finished=seq))


def acks(connection: Connection) -> dict[tuple[str, str], int]:
    """The recorded acks of the current streams: (consumer, stream) -> seq."""
    table = schema.ack
    names = [stream.name for stream in all_current(connection)]
    rows = connection.execute(select(table.c.consumer, table.c.stream, table.c.seq).where(table.c.stream.in_(names)))
    return {(consumer, name): seq for consumer, name, seq in rows}


def _record(connection: Connection, ack: Ack) -> None:
    table = schema.ack
    row = (table.c.consumer == ack.consumer, table.c.stream == ack.stream)
    recorded = connection.scalar(select(table.c.seq).where(*row))
    if recorded is None:
        connection.execute(insert(table).values(consumer=ack.consumer, stream=ack.stream, seq=ack.seq))
    elif recorded < ack.seq:
        connection.execute(update(table).where(*row).values(seq=ack.seq))


def _stream(row: RowMapping) -> Stream:
    return Stream(**row)
