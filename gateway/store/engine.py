"""Connections: one that writes, and those that only read.

SQLite before 3.51.3 can corrupt a write-ahead log when two connections write or checkpoint at once. So
exactly one connection does both; every other one is `query_only` and never checkpoints.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.pool import NullPool, QueuePool

from gateway.store.errors import StoreError
from gateway.store.schema import REVISION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

_ALWAYS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA synchronous = FULL",
)
_WRITING = (*_ALWAYS, "PRAGMA journal_mode = WAL")
_READING = (*_ALWAYS, "PRAGMA wal_autocheckpoint = 0", "PRAGMA query_only = ON")


def database_path(url: str) -> Path:
    """The file of an SQLite URL; StoreError for any other URL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        message = f"{url!r} names no store: write sqlite:////folder/gateway.db"
        raise StoreError(message)
    return Path(str(parsed.database))


def writing_engine(path: Path) -> Engine:
    """For the one connection that writes; its transactions take the write lock when they begin."""
    # opened where its errors can be told, used in the writer's thread
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"check_same_thread": False})
    _prepare(engine, _WRITING, "BEGIN IMMEDIATE")
    return engine


def reading_engine(path: Path, connections: int) -> Engine:
    """For connections that only read; each transaction sees one state of the store."""
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=connections, max_overflow=0)
    _prepare(engine, _READING, "BEGIN")
    return engine


def _prepare(engine: Engine, pragmas: tuple[str, ...], begin: str) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions at moments of its own
        for pragma in pragmas:
            connection.execute(pragma).close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def require_file(path: Path) -> None:
    """StoreError unless the database file is there: SQLite would make an empty one."""
    if not path.is_file():
        message = f"{path}: there is no store yet: run `submeter migrate`"
        raise StoreError(message)


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Says in one sentence, as a StoreError, why the database cannot be used."""
    try:
        yield
    except (sqlite3.DatabaseError, DatabaseError) as error:
        reason = error.orig if isinstance(error, DatabaseError) else error
        message = f"{path}: {reason}: the store must be a database of the gateway's that can be written"
        raise StoreError(message) from error


def require_revision(connection: Connection, path: Path) -> None:
    """StoreError unless the tables are those of this release."""
    found = revision(connection)
    if found != REVISION:
        held = f"is of revision {found}" if found else "has no tables"
        message = f"{path}: the store {held}, this release needs {REVISION}: run `submeter migrate`"
        raise StoreError(message)


def revision(connection: Connection) -> str | None:
    """The last migration that was applied, None in an empty file."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
