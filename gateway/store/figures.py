"""How much the store holds, for those who watch the gateway."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from gateway.core.units import Scaled
from gateway.service.health import Holdings
from gateway.store import readings, schema
from gateway.store.database import database
from gateway.store.instants import instant, micros
from gateway.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection

    from gateway.store.view import StoreView

RECENT = 50_000
"""polls looked through for the last of each meter"""


class Figures:
    """Counted anew at each question: these tables are small."""

    def __init__(self, view: StoreView) -> None:
        self._reader = view.reader

    async def holdings(self) -> Holdings:
        """How much there is by now."""
        return await self._reader.run(_holdings)

    async def heard(self, since: datetime) -> dict[str, datetime]:
        """Meter -> its last poll, of those since the instant."""
        return await self._reader.run(partial(_heard, since=micros(since)))


def folder(url: str) -> Path | None:
    """Where the database lies; None where that is another machine's or another program's business."""
    base = database(url)
    return base.path.absolute().parent if isinstance(base, SqliteDatabase) else None


def _heard(connection: Connection, since: int) -> dict[str, datetime]:
    table, source = schema.poll, schema.source
    newest = connection.scalar(select(func.max(table.c.seq))) or 0
    query = select(source.c.meter, func.max(table.c.at)).join(source, source.c.no == table.c.source)
    rows = connection.execute(query.where(table.c.seq > newest - RECENT, table.c.at >= since).group_by(source.c.meter))
    return {meter: instant(at) for meter, at in rows}


def _holdings(connection: Connection) -> Holdings:
    tables = (schema.charge, schema.conflict)
    charges, beside = (connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables)
    return Holdings(charges=charges, conflicts=beside - _agreeing(connection) if beside else 0)


def _agreeing(connection: Connection) -> int:
    """How many values stand beside another one of their instant and say the same: one read, one kept by the meter."""
    one, other = schema.conflict.c, schema.reading.c
    same = (one.at == other.at) & (one.channel == other.channel)
    query = select(one.digits, one.exponent, other.digits, other.exponent).join(schema.reading, same)
    rows = connection.execute(query.where(readings.is_stored(one.flags) != readings.is_stored(other.flags)))
    return sum(Scaled(*row[:2]) == Scaled(*row[2:]) for row in rows)
