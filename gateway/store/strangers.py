"""Whether a register answers with another serial number than it did first, from all that is kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from gateway.core.metering import Stranger, same_serial
from gateway.core.period import Period
from gateway.store import schema
from gateway.store.instants import instant, micros
from gateway.store.readings import is_stored, is_trusted

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, Select, Table


def stranger(connection: Connection, meter: str, register: str, answered: Period, serial: str) -> Stranger | None:
    """Who answers at the end of the period, with this serial number, where another did first in it; None where none.

    The edges of the period do not count, and neither does what is voided, of an untrusted clock, or what a meter
    stored. Most registers have but one number, so that nothing is searched for them.
    """
    table = schema.channel
    own = select(table.c.no, table.c.serial).where(
        table.c.meter == meter, table.c.register == register, table.c.serial != ""
    )
    serials: dict[int, str] = {row.no: row.serial for row in connection.execute(own)}
    if all(same_serial(number, serial) for number in serials.values()):
        return None
    begun = _next(connection, serials, answered)
    if begun is None or same_serial(serials[begun[1]], serial):
        return None
    known = serials[begun[1]]
    same = [no for no, number in serials.items() if same_serial(number, known)]
    last = _next(connection, same, answered, back=True) or begun
    others = serials.keys() - set(same)
    since = _next(connection, others, Period(instant(last[0]), answered.until))
    at, told = (answered.until, serial) if since is None else (instant(since[0]), serials[since[1]])
    return Stranger(known=known, serial=told, since=at)


def _next(
    connection: Connection, channels: Collection[int], within: Period, *, back: bool = False
) -> tuple[int, int] | None:
    """Instant and channel of the first reading of these channels inside the period; of the last one with `back`."""
    found = [
        (row.at, row.channel)
        for table in (schema.reading, schema.conflict)
        for row in connection.execute(_inside(table, list(channels), within, back=back))
    ]
    return max(found, default=None) if back else min(found, default=None)


def _inside(table: Table, channels: Collection[int], within: Period, *, back: bool) -> Select[tuple[int, int]]:
    void, at = schema.void.c, table.c.at
    same = (table.c[name] == void[name] for name in ("at", "channel", "digits", "exponent"))
    voided = select(void.at).where(*same).correlate(table).exists()
    counts = (is_trusted(table.c.flags), ~is_stored(table.c.flags), ~voided)
    inside = (table.c.channel.in_(channels), at > micros(within.start), at < micros(within.until))
    return select(at, table.c.channel).where(*inside, *counts).order_by(at.desc() if back else at.asc()).limit(1)
