"""The stream of readings: one event per poll, rendered from the rows when it is delivered."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, select

from gateway.core.canonical import Json, canonical
from gateway.core.event import Event
from gateway.core.period import rfc3339
from gateway.core.units import Scaled
from gateway.store import schema, streams
from gateway.store.instants import instant
from gateway.store.readings import AT_INSTANTS, Channel, channels, origin_of, selected

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from gateway.core.metering import Origin
    from gateway.store.streams import Stream

# made once: to name a hundred instants one by one takes as long as to find them
_KEPT_AT = AT_INSTANTS[0].order_by(schema.reading.c.at, schema.reading.c.channel)
_CONFLICTS_OF = (
    selected(schema.conflict)
    .add_columns(schema.conflict.c.poll)
    .where(schema.conflict.c.poll.in_(bindparam("polls", expanding=True)))
)


class Told(NamedTuple):
    """One value of a register as it is told to receivers."""

    at: int
    channel: Channel
    value: Scaled
    origin: Origin


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
    found = _registers(connection, polls) if polls else {}
    return [_event(stream, poll, found[poll.seq]) for poll in polls]


def _registers(connection: Connection, polls: Sequence[Row[Any]]) -> dict[int, dict[str, Json]]:
    """Poll number -> register -> what this poll said of it."""
    answers: defaultdict[tuple[int, str, str], dict[str, Json]] = defaultdict(dict)
    for told in _kept_at(connection, {poll.at for poll in polls}):
        if told.origin == "stored":
            continue  # of this instant by the meter's own memory, told by a later poll
        answers[told.at, told.channel.meter, told.channel.serial][told.channel.register] = _register(told)
    found = {poll.seq: dict(answers[poll.at, poll.meter, poll.serial]) for poll in polls}
    for seq, told in _conflicts_of(connection, found.keys()):
        if told.origin != "stored":
            found[seq][told.channel.register] = _register(told)
    return found


def _kept_at(connection: Connection, instants: Collection[int]) -> list[Told]:
    """The first value known per register at these instants, in the order of the channels."""
    rows = connection.execute(_KEPT_AT, {"instants": list(instants)}).all()
    known = channels(connection) if rows else {}
    return [_told(row, known) for row in rows]


def _conflicts_of(connection: Connection, polls: Collection[int]) -> list[tuple[int, Told]]:
    """Values that these polls gave against one already known, each with its poll's number."""
    rows = connection.execute(_CONFLICTS_OF, {"polls": list(polls)}).all()
    known = channels(connection) if rows else {}  # there hardly ever are any
    return [(row.poll, _told(row, known)) for row in rows]


def _told(row: Sequence[Any], known: Mapping[int, Channel]) -> Told:
    at, channel, digits, exponent, flags = row[:5]
    return Told(at, known[channel], Scaled(digits, exponent), origin_of(flags))


def _register(told: Told) -> Json:
    return {
        "register": told.channel.register,
        "obis": told.channel.obis,
        "index": str(told.value),
        "unit": told.channel.unit,
        "quality": told.origin,
    }


def _event(stream: Stream, poll: Row[Any], registers: dict[str, Json]) -> Event:
    seq = poll.seq - stream.base
    at = instant(poll.at)
    data: Json = {
        "meter": poll.meter,
        "serial": poll.serial,
        "at": rfc3339(at),
        "clock_trusted": bool(poll.clock_trusted),
        "status": poll.status,
        "registers": list(registers.values()),
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
