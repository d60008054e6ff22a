"""What a person says about readings: values added by hand, and values that do not count."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from gateway.service.polled import alone
from gateway.service.records import Correction
from gateway.store import marks, months, readings, schema
from gateway.store.errors import StoreError
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from gateway.core.metering import Reading
    from gateway.service.records import DirtyMonth


def add(connection: Connection, correction: Correction, reading: Reading, dirty: Sequence[DirtyMonth]) -> bool:
    """Keep a reading that no meter gave; False, and nothing kept, where its value is known and not voided.

    A voided value that is added again counts again. StoreError for a value beyond 63 bits.
    """
    if not _lift(connection, reading):
        kept = readings.keep(connection, [alone(reading)])
        if kept.too_large:
            message = f"{reading.meter} {reading.register}: {reading.index} is too large to be kept: correct the value"
            raise StoreError(message)
        if kept.repeated:
            return False
    _record(connection, correction, [reading])
    marks.touched(connection, correction.at)
    months.mark(connection, dirty)
    return True


def void(connection: Connection, correction: Correction, dirty: Sequence[DirtyMonth]) -> list[Reading]:
    """Leave every value of the register and instant that still counts out for good; what was voided."""
    found = readings.counting(connection, correction.meter, correction.register, micros(correction.at))
    if found:
        number = _record(connection, correction, [reading for _, reading in found])
        rows = [{**row, "correction": number} for row, _ in found]
        connection.execute(insert(schema.void), rows)
        marks.touched(connection, correction.at)
        months.mark(connection, dirty)
    return [reading for _, reading in found]


def voided(connection: Connection, meter: str, register: str, start: datetime, until: datetime) -> set[datetime]:
    """The instants in [start, until] at which a reading of the register (key) is voided."""
    own = [
        no
        for no, channel in readings.channels(connection).items()
        if (channel.meter, channel.register) == (meter, register)
    ]
    table = schema.void
    within = (table.c.at.between(micros(start), micros(until)), table.c.channel.in_(own))
    return {instant(at) for at in connection.scalars(select(table.c.at).where(*within))}


def recorded(connection: Connection) -> list[Correction]:
    """Every correction, in the order in which they were recorded."""
    return [
        Correction(
            kind=row.kind,
            meter=row.meter,
            register=row.register,
            at=instant(row.at),
            values=tuple(json.loads(row.indexes)),
            reason=row.reason,
            recorded_at=instant(row.recorded_at),
            recorded_by=row.recorded_by,
        )
        for row in connection.execute(select(schema.correction).order_by(schema.correction.c.no))
    ]


def _lift(connection: Connection, reading: Reading) -> bool:
    """Whether the value was voided; it is not any more."""
    table = schema.void
    rows = readings.voided(connection, reading)
    for row in rows:
        connection.execute(delete(table).where(*(table.c[name] == value for name, value in row.items())))
    return bool(rows)


def _record(connection: Connection, correction: Correction, about: Sequence[Reading]) -> int:
    table = schema.correction
    number = (connection.scalar(select(func.max(table.c.no))) or 0) + 1
    connection.execute(
        insert(table).values(
            no=number,
            kind=correction.kind,
            meter=correction.meter,
            register=correction.register,
            at=micros(correction.at),
            indexes=json.dumps([f"{reading.index} {reading.unit}" for reading in about]),
            reason=correction.reason,
            recorded_at=micros(correction.recorded_at),
            recorded_by=correction.recorded_by,
        )
    )
    return number
