"""Readings read back by a stretch of time: those in it, and the neighbours on either side that may be wanted."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gateway.store import schema
from gateway.store.instants import instant, micros
from gateway.store.readings import LARGEST, channels, is_measured, is_stored, is_trusted, reading_of, rows_of, voids

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select, Table

    from gateway.core.metering import Reading
    from gateway.core.period import Period
    from gateway.store.readings import Channel, RegisterKey

NEAR = timedelta(days=2) // timedelta(microseconds=1)
"""how far the neighbours of a span are first looked for, in microseconds"""


def span(
    connection: Connection,
    meters: Collection[str],
    start: datetime,
    until: datetime,
    keys: Collection[str] | None = None,
) -> dict[RegisterKey, tuple[Reading, ...]]:
    """Per register, by time: the readings in [start, until], the last before and the first after.

    Of the registers of these `keys`; None: of all.
    Conflicting values for one instant are all there, voided ones are not. What a meter stored for an instant is there
    inside only: it is no neighbour. Registers without any reading are left out.
    """
    wanted = {
        no: channel
        for no, channel in channels(connection).items()
        if channel.meter in meters and (keys is None or channel.register in keys)
    }
    low, high = micros(start), micros(until)
    edges = _edges(connection, wanted, low, high)
    beside = {at for _, at in edges}
    voided = _voided(connection, wanted, low, high, beside)
    found: defaultdict[RegisterKey, list[Reading]] = defaultdict(list)
    for table in (schema.reading, schema.conflict):
        inside = rows_of(connection, table, wanted, table.c.at.between(low, high))
        outside = rows_of(connection, table, wanted, table.c.at.in_(beside))
        for row in chain(inside, outside):
            channel = wanted[row[1]]
            key = (channel.meter, channel.register)
            if voided and tuple(row[:4]) in voided:
                continue
            if low <= row[0] <= high or (key, row[0]) in edges:
                found[key].append(reading_of(row, channel))
    return {key: tuple(sorted(readings, key=lambda reading: reading.at)) for key, readings in found.items()}


def _voided(
    connection: Connection, wanted: Collection[int], low: int, high: int, beside: Collection[int]
) -> set[tuple[int, ...]]:
    """What was voided of these channels where readings are looked at: of 50,000 elsewhere none is read."""
    at, ours = schema.void.c.at, schema.void.c.channel.in_(wanted)
    return voids(connection, ours & at.between(low, high)) | voids(connection, ours & at.in_(beside))


def measured(connection: Connection, meter: str, register: str, within: Period, count: int) -> bool:
    """Whether the register has so many measured readings inside the period that count and whose time is trusted."""
    table, void, channel = schema.reading.c, schema.void.c, schema.channel.c
    own = select(channel.no).where(channel.meter == meter, channel.register == register)
    numbers = connection.scalars(own).all()
    same = (table[name] == void[name] for name in ("at", "channel", "digits", "exponent"))
    counts = ~select(void.at).where(*same).correlate(schema.reading).exists()
    inside = (table.channel.in_(numbers), table.at > micros(within.start), table.at < micros(within.until))
    few = select(table.at).where(*inside, is_measured(table.flags), counts).order_by(table.at).limit(count)
    return len(connection.execute(few).all()) == count


def first(connection: Connection) -> datetime | None:
    """The instant of the oldest reading whose time is trusted. What a meter remembers from before is none."""
    at, flags = schema.reading.c.at, schema.reading.c.flags
    ours = (is_trusted(flags), ~is_stored(flags))
    oldest = connection.scalar(select(at).where(*ours).order_by(at).limit(1))
    return None if oldest is None else instant(oldest)


def _edges(connection: Connection, wanted: Mapping[int, Channel], low: int, high: int) -> set[tuple[RegisterKey, int]]:
    """Each register with the instants of its last reading before `low` and its first after `high`, none voided."""
    before = _nearest(connection, wanted, low, max)
    after = _nearest(connection, wanted, high, min)
    return {*before.items(), *after.items()}


def _nearest(
    connection: Connection, wanted: Mapping[int, Channel], edge: int, choose: Callable[[int, int], int]
) -> dict[RegisterKey, int]:
    """Each register with the instant of its nearest reading before the edge (`max`) or after it (`min`).

    Few registers have none near by. So the whole history is searched for those alone, and not for every channel
    that a register had before its meter was exchanged.
    """
    found: dict[RegisterKey, int] = {}
    for reach in (NEAR, LARGEST):
        numbers = [no for no, channel in wanted.items() if (channel.meter, channel.register) not in found]
        nearest = dict(found)
        for table in (schema.reading, schema.conflict):
            for no, at in connection.execute(_neighbours(table, numbers, edge, reach, before=choose is max)):
                if at is not None:
                    key = (wanted[no].meter, wanted[no].register)
                    nearest[key] = choose(at, nearest.get(key, at))
        found = nearest
    return found


def _neighbours(table: Table, numbers: Sequence[int], edge: int, reach: int, *, before: bool) -> Select[Any]:
    """Each channel with its nearest instant before or after the edge, at most `reach` away, that can be a neighbour."""
    no, void, at = schema.channel.c.no, schema.void.c, table.c.at
    read = ~is_stored(table.c.flags)
    same = (table.c[name] == void[name] for name in ("at", "channel", "digits", "exponent"))
    counts = ~select(void.at).where(*same).correlate(table).exists()
    beyond = (at < edge, at >= max(edge - reach, -LARGEST)) if before else (at > edge, at <= min(edge + reach, LARGEST))
    order = at.desc() if before else at.asc()
    of_channel = select(at).where(table.c.channel == no, read, counts, *beyond).order_by(order).limit(1)
    return select(no, of_channel.correlate(schema.channel).scalar_subquery()).where(no.in_(numbers))
