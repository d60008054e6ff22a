"""Many readings at once that a person says are none: what a stranger's meter told for weeks."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from gateway.core.units import Scaled
from gateway.service.records import SpanRead
from gateway.store import marks, months, readings, schema
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Table

    from gateway.service.records import DirtyMonth, VoidedSpan
    from gateway.store.readings import Channel

_TABLES = (schema.reading, schema.conflict)
_ROW = ("at", "channel", "digits", "exponent")


def read(
    connection: Connection, meter: str, registers: Collection[str], start: datetime, until: datetime
) -> list[SpanRead]:
    """What the meter told in [start, until) of each of these registers (keys) and counts; those without are left out.

    What a person added is not told by the meter.
    """
    own = _own(connection, meter, registers)
    found: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for table in _TABLES:
        edges = (func.count(), func.min(table.c.at), func.max(table.c.at))
        query = select(table.c.channel, *edges).where(*_counting(table, own, start, until)).group_by(table.c.channel)
        for no, *rest in connection.execute(query):
            found[own[no].register].append((rest[0], rest[1], rest[2]))
    return [
        SpanRead(
            register=register,
            readings=sum(count for count, _, _ in parts),
            first=instant(min(first for _, first, _ in parts)),
            last=instant(max(last for _, _, last in parts)),
        )
        for register, parts in sorted(found.items())
    ]


def void(connection: Connection, span: VoidedSpan, dirty: Sequence[DirtyMonth]) -> int:
    """Leave out for good what `read` has found, each instant of a register with a correction of its own; how many."""
    own = _own(connection, span.meter, span.registers)
    gone: defaultdict[tuple[int, str], list[Sequence[Any]]] = defaultdict(list)
    for table in _TABLES:
        columns = (table.c[name] for name in _ROW)
        for row in connection.execute(select(*columns).where(*_counting(table, own, span.start, span.until))):
            gone[row.at, own[row.channel].register].append(row)
    if not gone:
        return 0
    first = (connection.scalar(select(func.max(schema.correction.c.no))) or 0) + 1
    corrections, voids = [], []
    for number, ((at, register), rows) in enumerate(sorted(gone.items()), first):
        corrections.append(_correction(span, number, at, register, (_shown(row, own[row[1]]) for row in rows)))
        voids += [{**dict(zip(_ROW, row, strict=True)), "correction": number} for row in rows]
    connection.execute(insert(schema.correction), corrections)
    connection.execute(insert(schema.void), voids)
    marks.touched(connection, instant(min(at for at, _ in gone)))
    months.mark(connection, dirty)
    return len(voids)


def _own(connection: Connection, meter: str, registers: Collection[str]) -> dict[int, Channel]:
    known = readings.channels(connection)
    return {no: each for no, each in known.items() if each.meter == meter and each.register in registers}


def _counting(table: Table, own: Collection[int], start: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    """Rows of these channels in [start, until) that the meter told and nobody has voided."""
    void = schema.void.c
    same = (table.c[name] == void[name] for name in _ROW)
    voided = select(void.at).where(*same).correlate(table).exists()
    within = (table.c.channel.in_(own), table.c.at >= micros(start), table.c.at < micros(until))
    return (*within, readings.told_by_meter(table), ~voided)


def _shown(row: Sequence[Any], channel: Channel) -> str:
    return f"{Scaled(row[2], row[3])} {channel.unit}"


def _correction(span: VoidedSpan, number: int, at: int, register: str, values: Iterable[str]) -> dict[str, Any]:
    return {
        "no": number,
        "kind": "voided",
        "meter": span.meter,
        "register": register,
        "at": at,
        "indexes": json.dumps(list(values)),
        "reason": span.reason,
        "recorded_at": micros(span.recorded_at),
        "recorded_by": span.recorded_by,
    }
