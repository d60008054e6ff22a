"""Polls and their readings as they are kept, and what their rows say."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from sqlalchemy import bindparam, func, insert, select

from gateway.core.metering import Origin, Reading
from gateway.core.units import Scaled
from gateway.store import schema, streams
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select, Table

    from gateway.service.polled import Poll

_ORIGINS: tuple[Origin, ...] = get_args(Origin)
_TRUSTED = 1
_ORIGIN_SHIFT = 1
_STORED = _ORIGINS.index("stored") << _ORIGIN_SHIFT
LARGEST = 2**63 - 1
"""that a column can hold"""

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
    modulus: str = ""
    """decimal; "" where it is not known"""

    @property
    def counter(self) -> tuple[str, ...]:
        """All but what its model says of it, which a later release may say otherwise."""
        return self[:-1]


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
    fresh: Sequence[Reading] = field(default=(), compare=False, repr=False)
    """those that were stored"""


@dataclass(slots=True)
class _Rows:
    """By table, each row in the order of the table's columns."""

    poll: list[tuple[Any, ...]] = field(default_factory=list)
    reading: list[tuple[Any, ...]] = field(default_factory=list)
    beside: list[tuple[Any, ...]] = field(default_factory=list)
    """readings of an instant that has one already, be it one that was voided"""
    fresh: list[Reading] = field(default_factory=list)
    conflicts: int = 0
    too_large: int = 0


def keep(connection: Connection, polls: Sequence[Poll]) -> Kept:
    """Add the polls. One whose readings were all known already gets no number and makes no event."""
    placed = [
        [_Placed(reading, channel_of(reading), micros(reading.at)) for reading in poll.readings] for poll in polls
    ]
    numbers = _numbers(connection, (one.channel for every in placed for one in every))
    held = _held(connection, {one.at for every in placed for one in every}, numbers)
    sources = _sources(connection, polls)
    seq = streams.last_poll(connection, streams.current(connection, "reading"))
    rows = _Rows()
    for poll, every in zip(polls, placed, strict=True):
        if _sort(every, seq + 1, numbers, held, rows) or not every:
            seq += 1
            rows.poll.append(_poll_row(poll, seq, sources[_source(poll)]))
    for table, values in ((schema.poll, rows.poll), (schema.reading, rows.reading), (schema.conflict, rows.beside)):
        _add(connection, table, values)
    new = len(rows.reading) + len(rows.beside)
    repeated = sum(len(poll.readings) for poll in polls) - new - rows.too_large
    stored = new - rows.conflicts
    return Kept(stored=stored, repeated=repeated, conflicts=rows.conflicts, too_large=rows.too_large, fresh=rows.fresh)


def _add(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    if connection.dialect.positional:  # as SQLite's: spared the copies that SQLAlchemy makes of each row, it takes half
        connection.exec_driver_sql(str(insert(table).compile(dialect=connection.dialect)), rows)
    else:
        connection.execute(insert(table), [dict(zip(table.columns.keys(), row, strict=True)) for row in rows])


class _Placed(NamedTuple):
    """A reading, and what its row says otherwise."""

    reading: Reading
    channel: Channel
    at: int


class _Value(NamedTuple):
    """A value that is known for an instant."""

    counter: tuple[str, ...]
    number: Scaled
    voided: bool = False


_Held = dict[tuple[str, str, int, bool], list[_Value]]
"""by meter, register and instant; what a meter stored for an instant stands beside what was read then"""


def _sort(placed: Iterable[_Placed], seq: int, numbers: Mapping[Channel, int], held: _Held, rows: _Rows) -> bool:
    """Whether a poll has anything new; its readings go to the rows, conflicting ones apart."""
    new = False
    for reading, channel, at in placed:
        key = (reading.meter, reading.register, at, reading.origin == "stored")
        known, counter = held.get(key), channel.counter
        if known and any(value.counter == counter and value.number == reading.index for value in known):
            continue
        new = True
        if abs(reading.index.digits) > LARGEST:  # a mad meter must not cost the others their readings
            rows.too_large += 1
            continue
        rows.fresh.append(reading)
        row = _reading_row(reading, at, numbers[channel])
        if known or _has(held, (*key[:3], not key[3]), counter):
            rows.beside.append((*row[:2], seq, *row[2:]))
        else:
            rows.reading.append(row)
        rows.conflicts += any(not value.voided for value in known or ())
        held[key] = [*(known or ()), _Value(counter, reading.index)]
    return new


def _has(held: _Held, key: tuple[str, str, int, bool], counter: tuple[str, ...]) -> bool:
    """Whether the channel has a row of that instant: what was read then, or what was stored for it."""
    return any(value.counter == counter for value in held.get(key, ()))


def channel_of(reading: Reading) -> Channel:
    """What it has in common with the other readings of its channel."""
    modulus = "" if reading.modulus is None else _written(reading.modulus.digits, reading.modulus.exponent)
    return Channel(reading.meter, reading.serial, reading.register, reading.unit, reading.obis, modulus)


@lru_cache(maxsize=256)
def _written(digits: int, exponent: int) -> str:
    """A modulus as text: kept, as every reading of a register says the same."""
    return str(Scaled(digits, exponent))


@lru_cache(maxsize=256)
def _read(modulus: str) -> Scaled | None:
    return Scaled.parse(modulus) if modulus else None


def _reading_row(reading: Reading, at: int, channel: int) -> tuple[int, ...]:
    flags = _ORIGINS.index(reading.origin) << _ORIGIN_SHIFT | (_TRUSTED if reading.clock_trusted else 0)
    return at, channel, reading.index.digits, reading.index.exponent, flags, reading.status


def _source(poll: Poll) -> Source:
    return Source(poll.boot, poll.meter, poll.serial)


def _poll_row(poll: Poll, seq: int, source: int) -> tuple[Any, ...]:
    return seq, micros(poll.at), source, poll.status, int(poll.clock_trusted), poll.raw


def channels(connection: Connection) -> dict[int, Channel]:
    """Every channel by its number."""
    return {no: Channel(*rest) for no, *rest in connection.execute(_CHANNELS).all()}


def _numbers(connection: Connection, wanted: Iterable[Channel]) -> dict[Channel, int]:
    """Every channel's number; those that are missing are added."""
    numbers = {channel: no for no, channel in channels(connection).items()}
    added = [channel for channel in dict.fromkeys(wanted) if channel not in numbers]
    for channel in added:
        numbers[channel] = len(numbers) + 1
    _add(connection, schema.channel, [(numbers[new], *new) for new in added])
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
    rows = [row for query in AT_INSTANTS for row in connection.execute(query, {"instants": list(instants)}).all()]
    if not rows:
        return {}
    held: _Held = {}
    by_number = {no: channel for channel, no in numbers.items()}
    gone = voids(connection, schema.void.c.at.in_(instants))
    for row in rows:
        at, no, digits, exponent, flags, _ = row
        channel = by_number[no]
        value = _Value(channel.counter, Scaled(digits, exponent), voided=tuple(row[:4]) in gone)
        key = (channel.meter, channel.register, at, origin_of(flags) == "stored")
        held.setdefault(key, []).append(value)
    return held


def voids(connection: Connection, which: ColumnElement[bool]) -> set[tuple[int, ...]]:
    """Instant, channel, digits and exponent of what was voided."""
    return {tuple(row) for row in connection.execute(_values(schema.void).where(which))}


def _values(table: Table) -> Select[Any]:
    return select(table.c.at, table.c.channel, table.c.digits, table.c.exponent)


def rows_of(
    connection: Connection, table: Table, wanted: Mapping[int, Channel], when: ColumnElement[bool]
) -> Iterable[Sequence[Any]]:
    """The rows of these channels, by time."""
    return connection.execute(selected(table).where(when, table.c.channel.in_(wanted)).order_by(table.c.at))


def reading_of(row: Sequence[Any], channel: Channel) -> Reading:
    """The reading of a row of `selected`."""
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
        origin=origin_of(flags),
        clock_trusted=bool(flags & _TRUSTED),
        modulus=_read(channel.modulus),
    )


def origin_of(flags: int) -> Origin:
    """Of a reading with these flags."""
    return _ORIGINS[flags >> _ORIGIN_SHIFT]


def is_trusted(flags: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a row's time is trusted."""
    return flags.bitwise_and(_TRUSTED) != 0


def is_measured(flags: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a reading with these flags was read off the meter, at a time that is trusted."""
    return flags == (_ORIGINS.index("measured") << _ORIGIN_SHIFT | _TRUSTED)


def is_stored(flags: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a row's reading is what the meter had kept for its instant."""
    return flags.bitwise_and(~_TRUSTED) == _STORED


def told_by_meter(table: Table) -> ColumnElement[bool]:
    """Whether a row's reading came from the meter: it was read then, or the meter had kept it."""
    ours = [number << _ORIGIN_SHIFT for number, origin in enumerate(_ORIGINS) if origin in {"measured", "stored"}]
    return table.c.flags.bitwise_and(~_TRUSTED).in_(ours)


def selected(table: Table) -> Select[Any]:
    """The readings of a table, as `at`, `channel`, `digits`, `exponent`, `flags` and `status`."""
    return select(*(table.c[name] for name in _COLUMNS))


# made once: to name a hundred instants one by one takes as long as to find them
_CHANNELS = select(schema.channel)
AT_INSTANTS = [
    selected(table).where(table.c.at.in_(bindparam("instants", expanding=True)))
    for table in (schema.reading, schema.conflict)
]


def counting(connection: Connection, meter: str, register: str, at: int) -> list[tuple[dict[str, int], Reading]]:
    """The readings of a register at one instant that are not voided, each with the key of its row in `void`."""
    wanted = {
        no: channel
        for no, channel in channels(connection).items()
        if (channel.meter, channel.register) == (meter, register)
    }
    gone = voids(connection, schema.void.c.at == at)
    rows = (rows_of(connection, table, wanted, table.c.at == at) for table in (schema.reading, schema.conflict))
    return [
        (dict(zip(_COLUMNS[:4], row[:4], strict=True)), reading_of(row, wanted[row[1]]))
        for row in chain.from_iterable(rows)
        if tuple(row[:4]) not in gone
    ]


def voided(connection: Connection, reading: Reading) -> list[dict[str, int]]:
    """The keys of the rows in `void` that leave exactly this reading out."""
    channel = next((no for no, known in channels(connection).items() if known == channel_of(reading)), None)
    gone = voids(connection, schema.void.c.at == micros(reading.at))
    return [
        dict(zip(_COLUMNS[:4], row, strict=True))
        for row in gone
        if row[1] == channel and Scaled(row[2], row[3]) == reading.index
    ]
