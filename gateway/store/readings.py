"""Polls and their readings: kept, and read back by the month."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from sqlalchemy import func, insert, select

from gateway.core.metering import Origin, Reading
from gateway.core.units import Scaled
from gateway.store import schema, streams
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select, Table

    from gateway.service.poll import Poll

_ORIGINS: tuple[Origin, ...] = get_args(Origin)
_TRUSTED = 1
_ORIGIN_SHIFT = 1
_LARGEST = 2**63 - 1

RegisterKey = tuple[str, str]
"""meter, register key"""
_COLUMNS = ("at", "channel", "digits", "exponent", "flags", "status")


class Source(NamedTuple):
    """What all polls of a row number have in common."""

    boot: str
    meter: str
    serial: str


class Channel(NamedTuple):
    """What all readings of a row number have in common."""

    meter: str
    serial: str
    register: str
    unit: str
    obis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of the readings handed over."""

    stored: int
    repeated: int
    """known before with the same value: nothing changed"""
    conflicts: int
    """a second, different value for a register and instant: both are kept"""
    too_large: int
    """beyond 63 bits: only the poll's raw answer has them"""


@dataclass(slots=True)
class _Rows:
    poll: list[dict[str, Any]] = field(default_factory=list)
    reading: list[dict[str, Any]] = field(default_factory=list)
    conflict: list[dict[str, Any]] = field(default_factory=list)
    too_large: int = 0


def keep(connection: Connection, polls: Sequence[Poll]) -> Kept:
    """Add the polls. One whose readings were all known already gets no number and makes no event."""
    numbers = _numbers(connection, polls)
    held = _held(connection, {micros(reading.at) for poll in polls for reading in poll.readings}, numbers)
    sources = _sources(connection, polls)
    seq = streams.last_poll(connection, streams.current(connection, "reading"))
    rows = _Rows()
    for poll in polls:
        if _sort(poll, seq + 1, numbers, held, rows):
            seq += 1
            rows.poll.append(_poll_row(poll, seq, sources[_source(poll)]))
    for table, values in ((schema.poll, rows.poll), (schema.reading, rows.reading), (schema.conflict, rows.conflict)):
        if values:
            connection.execute(insert(table), values)
    new = len(rows.reading) + len(rows.conflict)
    repeated = sum(len(poll.readings) for poll in polls) - new - rows.too_large
    return Kept(stored=len(rows.reading), repeated=repeated, conflicts=len(rows.conflict), too_large=rows.too_large)


_Held = defaultdict[tuple[str, str, int], list[tuple[int, Scaled]]]


def _sort(poll: Poll, seq: int, numbers: Mapping[Channel, int], held: _Held, rows: _Rows) -> bool:
    """Whether the poll has anything new; its readings go to the rows, conflicting ones apart."""
    new = not poll.readings
    for reading in poll.readings:
        channel = numbers[_channel(reading)]
        values = held[reading.meter, reading.register, micros(reading.at)]
        if (channel, reading.index) in values:
            continue
        new = True
        if abs(reading.index.digits) > _LARGEST:  # a mad meter must not cost the others their readings
            rows.too_large += 1
            continue
        row = _reading_row(reading, channel)
        if values:
            rows.conflict.append({**row, "poll": seq})
        else:
            rows.reading.append(row)
        values.append((channel, reading.index))
    return new


def _channel(reading: Reading) -> Channel:
    return Channel(reading.meter, reading.serial, reading.register, reading.unit, reading.obis)


def _reading_row(reading: Reading, channel: int) -> dict[str, Any]:
    flags = _ORIGINS.index(reading.origin) << _ORIGIN_SHIFT | (_TRUSTED if reading.clock_trusted else 0)
    values = (
        micros(reading.at),
        channel,
        reading.index.digits,
        reading.index.exponent,
        flags,
        reading.status,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _source(poll: Poll) -> Source:
    return Source(poll.boot, poll.meter, poll.serial)


def _poll_row(poll: Poll, seq: int, source: int) -> dict[str, Any]:
    return {
        "seq": seq,
        "at": micros(poll.at),
        "source": source,
        "status": poll.status,
        "clock_trusted": int(poll.clock_trusted),
        "raw": poll.raw,
    }


def channels(connection: Connection) -> dict[int, Channel]:
    """Every channel by its number."""
    return {row.no: Channel(*row[1:]) for row in connection.execute(select(schema.channel))}


def _numbers(connection: Connection, polls: Iterable[Poll]) -> dict[Channel, int]:
    """Every channel's number; those that are missing are added."""
    numbers = {channel: no for no, channel in channels(connection).items()}
    missing = dict.fromkeys(_channel(reading) for poll in polls for reading in poll.readings)
    added = [channel for channel in missing if channel not in numbers]
    for channel in added:
        numbers[channel] = len(numbers) + 1
    if added:
        connection.execute(insert(schema.channel), [{"no": numbers[new], **new._asdict()} for new in added])
    return numbers


def _sources(connection: Connection, polls: Iterable[Poll]) -> dict[Source, int]:
    """The numbers of the polls' sources; those that are missing are added."""
    table = schema.source
    wanted = dict.fromkeys(_source(poll) for poll in polls)
    query = select(table).where(table.c.boot.in_({source.boot for source in wanted}))
    numbers = {Source(*row[1:]): row.no for row in connection.execute(query)}
    last = connection.scalar(select(func.max(table.c.no))) or 0
    added = {source: no for no, source in enumerate((one for one in wanted if one not in numbers), last + 1)}
    if added:
        connection.execute(insert(table), [{"no": no, **source._asdict()} for source, no in added.items()])
    return numbers | added


def _held(connection: Connection, instants: Collection[int], numbers: Mapping[Channel, int]) -> _Held:
    """What is known for these instants, by meter, register and instant."""
    by_number = {no: channel for channel, no in numbers.items()}
    held: _Held = defaultdict(list)
    for table in (schema.reading, schema.conflict):
        query = select(table.c.at, table.c.channel, table.c.digits, table.c.exponent)
        for at, no, digits, exponent in connection.execute(query.where(table.c.at.in_(instants))):
            channel = by_number[no]
            held[channel.meter, channel.register, at].append((no, Scaled(digits, exponent)))
    return held


def span(
    connection: Connection, meters: Collection[str], start: datetime, until: datetime
) -> dict[RegisterKey, tuple[Reading, ...]]:
    """Per register, by time: the readings in [start, until], the last before and the first after.

    Conflicting values for one instant are all there. Registers without any reading are left out.
    """
    wanted = {no: channel for no, channel in channels(connection).items() if channel.meter in meters}
    low, high = micros(start), micros(until)
    edges = _edges(connection, wanted, low, high)
    beside = {at for _, at in edges}
    found: defaultdict[RegisterKey, list[Reading]] = defaultdict(list)
    for table in (schema.reading, schema.conflict):
        inside = _rows(connection, table, wanted, table.c.at.between(low, high))
        outside = _rows(connection, table, wanted, table.c.at.in_(beside))
        for row in chain(inside, outside):
            channel = wanted[row[1]]
            key = (channel.meter, channel.register)
            if low <= row[0] <= high or (key, row[0]) in edges:
                found[key].append(_reading(row, channel))
    return {key: tuple(sorted(readings, key=lambda reading: reading.at)) for key, readings in found.items()}


def first(connection: Connection) -> datetime | None:
    """The instant of the oldest reading."""
    oldest = connection.scalar(select(func.min(schema.reading.c.at)))
    return None if oldest is None else instant(oldest)


def _edges(connection: Connection, wanted: Mapping[int, Channel], low: int, high: int) -> set[tuple[RegisterKey, int]]:
    """Each register with the instants of its last reading before `low` and its first after `high`."""
    reading, no = schema.reading.c, schema.channel.c.no
    of_channel = select(reading.at).where(reading.channel == no).limit(1).correlate(schema.channel)
    before = of_channel.where(reading.at < low).order_by(reading.at.desc()).scalar_subquery()
    after = of_channel.where(reading.at > high).order_by(reading.at).scalar_subquery()
    last: dict[RegisterKey, int] = {}
    first: dict[RegisterKey, int] = {}
    for number, earlier, later in connection.execute(select(no, before, after).where(no.in_(wanted))):
        channel = wanted[number]
        key = (channel.meter, channel.register)
        if earlier is not None:
            last[key] = max(earlier, last.get(key, earlier))
        if later is not None:
            first[key] = min(later, first.get(key, later))
    return {*last.items(), *first.items()}


def _rows(
    connection: Connection, table: Table, wanted: Mapping[int, Channel], when: ColumnElement[bool]
) -> Iterable[Sequence[Any]]:
    return connection.execute(_select(table).where(when, table.c.channel.in_(wanted)).order_by(table.c.at))


def _reading(row: Sequence[Any], channel: Channel) -> Reading:
    at, _, digits, exponent, flags, status = row
    return Reading(
        meter=channel.meter,
        register=channel.register,
        at=instant(at),
        index=Scaled(digits, exponent),
        unit=channel.unit,
        obis=channel.obis,
        serial=channel.serial,
        status=status,
        origin=_ORIGINS[flags >> _ORIGIN_SHIFT],
        clock_trusted=bool(flags & _TRUSTED),
    )


def kept_at(connection: Connection, instants: Collection[int]) -> list[Reading]:
    """The first value known per register at these instants, in the order of the channels."""
    known, table = channels(connection), schema.reading
    query = _select(table).where(table.c.at.in_(instants)).order_by(table.c.at, table.c.channel)
    return [_reading(row, known[row.channel]) for row in connection.execute(query)]


def conflicts_of(connection: Connection, polls: Collection[int]) -> list[tuple[int, Reading]]:
    """Readings that these polls gave against a value already known, each with its poll's number."""
    known, table = channels(connection), schema.conflict
    query = _select(table).add_columns(table.c.poll).where(table.c.poll.in_(polls))
    return [(row.poll, _reading(row[: len(_COLUMNS)], known[row.channel])) for row in connection.execute(query)]


def _select(table: Table) -> Select[Any]:
    return select(*(table.c[name] for name in _COLUMNS))
