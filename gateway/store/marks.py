"""How far retention is. A correction sets it back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from gateway.service.retain import Progress
from gateway.store import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROLLED = "rolled_until/"
THINNED = "thinned_until/"
RAW = "raw_forgotten"
POLLS = "polls_forgotten"


def touched(connection: Connection, at: datetime) -> None:
    """A person has changed what counts at this instant: its day is rolled up anew."""
    table = schema.meta
    rows = connection.execute(select(table).where(table.c.key.startswith(ROLLED, autoescape=True)))
    for key, value in rows.all():
        if datetime.fromisoformat(value) > at:
            mark(connection, key, at.isoformat())


def progress(connection: Connection, facility: str) -> Progress:
    """How far the work for this facility is."""
    rolled, thinned = (marked(connection, prefix + facility) for prefix in (ROLLED, THINNED))
    return Progress(
        rolled_until=datetime.fromisoformat(rolled) if rolled else None,
        thinned_until=datetime.fromisoformat(thinned) if thinned else None,
    )


def marked(connection: Connection, key: str) -> str | None:
    """What stands under the key."""
    return connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == key))


def mark(connection: Connection, key: str, value: str) -> None:
    """Let it stand under the key, in place of what stood there."""
    table = schema.meta
    if not connection.execute(update(table).where(table.c.key == key).values(value=value)).rowcount:
        connection.execute(insert(table).values(key=key, value=value))
