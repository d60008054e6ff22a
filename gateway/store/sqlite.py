"""SQLite: one connection that writes, and those that only read.

SQLite before 3.51.3 can corrupt a write-ahead log when two connections write or checkpoint at once. So
exactly one connection does both; every other one is `query_only` and never checkpoints.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from gateway.files import may_be, owner
from gateway.store.ballast import DiskGuard, primary_code, room_to_open
from gateway.store.errors import StoreError
from gateway.store.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

_ALWAYS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA cache_size = -250",  # kB for each connection: what is read is read once, and the system keeps pages too
    "PRAGMA foreign_keys = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA synchronous = FULL",
)
_WRITING = (*_ALWAYS, "PRAGMA journal_mode = WAL")
_READING = (*_ALWAYS, "PRAGMA wal_autocheckpoint = 0", "PRAGMA query_only = ON")
_TROUBLE = {
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_READONLY: "the disk is read-only: look at the system's log, then mount it for writing again",
    sqlite3.SQLITE_IOERR: "the disk fails: look at the system's log",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened: look whether its disk is there",
    sqlite3.SQLITE_BUSY: "another program holds the database: end it",
}


class SqliteDatabase:
    """A database in a file."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.name = path

    def require(self) -> None:
        """StoreError unless the file is there, as SQLite would make an empty one, and for this user to read."""
        if not may_be(self.path.is_file):
            message = f"{self.path}: there is no store yet: run `submeter migrate`"
            raise StoreError(message)
        self._require_right()

    def create(self) -> None:
        """An empty file for its owner alone, unless there is one; StoreError where it cannot be made."""
        if not may_be(self.path.parent.is_dir):
            message = f"{self.path.parent}: there is no such folder: make it, owned by the user that runs the gateway"
            raise StoreError(message)
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            self._require_right()
        except OSError as error:
            message = (
                f"{self.path}: the store cannot be made ({error.strerror}): "
                "run it as the gateway's user, or let that user write to the folder"
            )
            raise StoreError(message) from error

    def _require_right(self) -> None:
        if not os.access(self.path, os.R_OK):
            message = f"{self.path}: this user may not read the store: use sudo, or sudo -u {owner(self.path)}"
            raise StoreError(message)

    @contextmanager
    def exclusive(self) -> Iterator[Engine]:
        """The engine of the one connection that writes, under the lock; its transactions begin with the write lock.

        StoreError on a disk that is too full to open it.
        """
        with Lock(self.path):
            if not room_to_open(self.path):
                message = f"{self.path.parent}: {_TROUBLE[sqlite3.SQLITE_FULL]}"
                raise StoreError(message)
            # opened where its errors can be told, used in the writer's thread
            used = {"check_same_thread": False}
            engine = create_engine(f"sqlite:///{self.path}", poolclass=NullPool, connect_args=used)
            _prepare(engine, _WRITING, "BEGIN IMMEDIATE")
            try:
                yield engine
            finally:
                engine.dispose()

    def reading(self, connections: int) -> Engine:
        """For connections that only read; each transaction sees one state of the store."""
        size = {"pool_size": connections, "max_overflow": 0}
        engine = create_engine(f"sqlite:///{self.path}", poolclass=QueuePool, **size)
        _prepare(engine, _READING, "BEGIN")
        return engine

    def guard(self, ballast: int) -> DiskGuard:
        """A file beside the database that is given up when the disk is full."""
        return DiskGuard(self.path, ballast)

    def home(self, connection: Connection) -> None:
        """A file does not show that it was copied: `submeter restore` says so."""

    def trouble(self, error: Exception, *, reading: bool = False) -> str | None:
        """One sentence where an error means that the disk refuses, None for any other error."""
        code = primary_code(error) or 0
        sentence = None if reading and code == sqlite3.SQLITE_READONLY else _TROUBLE.get(code)
        return None if sentence is None else f"{self.path.parent}: {sentence}"


def _prepare(engine: Engine, pragmas: tuple[str, ...], begin: str) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions at moments of its own
        for pragma in pragmas:
            connection.execute(pragma).close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
