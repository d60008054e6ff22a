"""The stream of readings: one event per poll, rendered from the rows when it is delivered."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gateway.core.canonical import Json, canonical
from gateway.core.event import Event
from gateway.core.period import rfc3339
from gateway.store import schema, streams
from gateway.store.instants import instant, micros
from gateway.store.readings import conflicts_of, kept_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from gateway.core.metering import Reading
    from gateway.store.streams import Stream


def after(connection: Connection, stream: Stream, seq: int, limit: int) -> list[Event]:
    """The events that follow number `seq` in the stream, at most `limit`."""
    table, source = schema.poll, schema.source
    last = streams.last_poll(connection, stream)
    query = (
        select(table.c.seq, table.c.at, table.c.status, table.c.clock_trusted)
        .add_columns(source.c.meter, source.c.serial, source.c.boot)
        .join(source, source.c.no == table.c.source)
        .where(table.c.seq > stream.base + seq, table.c.seq <= last)
        .order_by(table.c.seq)
        .limit(limit)
    )
    polls = connection.execute(query).all()
    found = _readings(connection, polls)
    return [_event(stream, poll, found[poll.seq]) for poll in polls]


def _readings(connection: Connection, polls: Sequence[Row[Any]]) -> dict[int, dict[str, Reading]]:
    """Poll number -> register -> what this poll said."""
    answers: defaultdict[tuple[int, str, str], dict[str, Reading]] = defaultdict(dict)
    for reading in kept_at(connection, {poll.at for poll in polls}):
        if reading.origin == "stored":
            continue  # of this instant by the meter's own memory, told by a later poll
        answers[micros(reading.at), reading.meter, reading.serial][reading.register] = reading
    found = {poll.seq: dict(answers[poll.at, poll.meter, poll.serial]) for poll in polls}
    for seq, reading in conflicts_of(connection, found.keys()):
        if reading.origin != "stored":
            found[seq][reading.register] = reading
    return found


def _event(stream: Stream, poll: Row[Any], readings: dict[str, Reading]) -> Event:
    seq = poll.seq - stream.base
    registers: list[Json] = [
        {
            "register": reading.register,
            "obis": reading.obis,
            "index": str(reading.index),
            "unit": reading.unit,
            "quality": reading.origin,
        }
        for reading in readings.values()
    ]
    at = instant(poll.at)
    data: Json = {
        "meter": poll.meter,
        "serial": poll.serial,
        "at": rfc3339(at),
        "clock_trusted": bool(poll.clock_trusted),
        "status": poll.status,
        "registers": registers,
    }
    return Event(
        kind="reading",
        stream=stream.name,
        seq=seq,
        id=f"{stream.name}:{seq}",
        subject=f"readings/{poll.meter}",
        time=at,
        data=canonical(data).decode(),
        bootid=poll.boot,
    )
