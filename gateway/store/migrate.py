"""Brings a store to the tables of this release.

Only `submeter migrate` imports this: Alembic stays out of the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

from gateway.store import epochs
from gateway.store.database import database, revision, usable
from gateway.store.errors import StoreError
from gateway.store.schema import REVISION
from gateway.store.streams import establish

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store.database import Database

_MIGRATIONS = Path(__file__).with_name("migrations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What was done."""

    name: str
    """of the database: its file, or its URL without the password"""
    before: str | None
    """None: the store is new"""
    now: str
    new_epoch: bool
    """the database lies elsewhere than it did: all streams begin anew"""


def migrate(url: str) -> Migrated:
    """Create the store or bring it up to this release, in one transaction. Again changes nothing.

    StoreError: the folder is missing, the file is no database, the store is of a newer release or in use.
    """
    base = database(url)
    base.create()
    with base.exclusive() as engine, usable(base), engine.connect() as connection:
        return _upgrade(connection, base)


def _upgrade(connection: Connection, base: Database) -> Migrated:
    with connection.begin():
        before = revision(connection)
        if before is not None and before > REVISION:
            message = (
                f"{base.name}: the store is of revision {before}, this release knows {REVISION}: install the newer one"
            )
            raise StoreError(message)
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        establish(connection)
        moved = epochs.settle_in(connection, base.home(connection))
    return Migrated(name=base.name, before=before, now=REVISION, new_epoch=moved)
