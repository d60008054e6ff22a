"""How much the store holds, for those who watch the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from gateway.service.health import Holdings
from gateway.store import schema
from gateway.store.database import database
from gateway.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from gateway.store.view import StoreView


class Figures:
    """Counted anew at each question: these tables are small."""

    def __init__(self, view: StoreView) -> None:
        self._reader = view.reader

    async def holdings(self) -> Holdings:
        """How much there is by now."""
        return await self._reader.run(_holdings)


def folder(url: str) -> Path | None:
    """Where the database lies; None where that is another machine's or another program's business."""
    base = database(url)
    return base.path.absolute().parent if isinstance(base, SqliteDatabase) else None


def _holdings(connection: Connection) -> Holdings:
    tables = (schema.charge, schema.conflict)
    charges, conflicts = (connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables)
    return Holdings(charges=charges, conflicts=conflicts)
