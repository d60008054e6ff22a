"""Brings a store to the tables of this release.

Only `submeter migrate` imports this: Alembic stays out of the daemon.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

from gateway.store.engine import database_path, revision, usable, writing_engine
from gateway.store.errors import StoreError
from gateway.store.lock import Lock
from gateway.store.schema import REVISION
from gateway.store.streams import establish

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MIGRATIONS = Path(__file__).with_name("migrations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What was done."""

    path: Path
    before: str | None
    """None: the store is new"""
    now: str


def migrate(url: str) -> Migrated:
    """Create the store or bring it up to this release, in one transaction. Again changes nothing.

    StoreError: the folder is missing, the file is no database, the store is of a newer release or in use.
    """
    path = database_path(url)
    if not path.parent.is_dir():
        message = f"{path.parent}: there is no such folder: make it, owned by the user that runs the gateway"
        raise StoreError(message)
    with Lock(path):
        _create(path)
        engine = writing_engine(path)
        try:
            with usable(path), engine.connect() as connection:
                before = _upgrade(connection, path)
        finally:
            engine.dispose()
    return Migrated(path=path, before=before, now=REVISION)


def _create(path: Path) -> None:
    """An empty file for its owner alone, unless there is one."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _upgrade(connection: Connection, path: Path) -> str | None:
    with connection.begin():
        before = revision(connection)
        if before is not None and before > REVISION:
            message = f"{path}: the store is of revision {before}, this release knows {REVISION}: install the newer one"
            raise StoreError(message)
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        establish(connection)
    return before
