"""Room that is kept on the disk: deleting and checkpointing need some too."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from gateway.store.writer import Priority

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

SHARED = 32_768
"""bytes of the file of shared memory that SQLite makes beside an open database"""
OPENING = 2 * SHARED
"""bytes that a database needs to be opened: those and the beginning of its log"""
_PRIMARY = 0xFF
_SHARE = 4
"""room is enough again when the ballast fits and a quarter of it besides"""
_PAGES = ("freelist_count", "page_size")
_SMALL = {Priority.TAP, Priority.DELIVERY, Priority.RETAIN}


class DiskGuard:
    """Keeps a file, `gateway.db.ballast`, which is removed when the disk is full and made again when there is room.

    Between the two, what is small or makes room is written; rounds of readings and charges wait until the disk,
    or the database itself, has room for them.
    """

    def __init__(self, database: Path, size: int) -> None:
        """`size` in bytes; 0 keeps no room."""
        self._path = _ballast(database)
        self._size = size
        self._missing = self.full = not self._fill()

    def admits(self, connection: Connection, priority: Priority) -> bool:
        """Whether a write of this priority may be tried now."""
        if self._missing and _free(self._path.parent) >= self._size + self._size // _SHARE:
            self._missing = not self._fill()
            self.full = self.full and self._missing
        return not self.full or priority in _SMALL or self._spare(connection) >= self._size

    def relieve(self, connection: Connection, error: BaseException | None) -> bool:
        """On a full disk: give up the ballast and write the log back; whether there was any.

        After other trouble the connection is opened anew.
        """
        code = primary_code(error)
        if code != sqlite3.SQLITE_FULL:
            if code not in {None, sqlite3.SQLITE_BUSY}:
                connection.invalidate()
            return False
        try:
            self._path.unlink()
        except OSError:
            return False
        self._missing = self.full = True
        with suppress(sqlite3.Error):  # what could not be written back stays in the log
            _driver(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        return True

    def _fill(self) -> bool:
        """Whether the file is there, in its full size."""
        if not self._size:
            return True
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(file, 0, self._size)
        except OSError:
            self._path.unlink()
            return False
        finally:
            os.close(file)
        return True

    def _spare(self, connection: Connection) -> int:
        """Bytes of the database that hold nothing."""
        pages, size = (_driver(connection).execute(f"PRAGMA {name}").fetchone()[0] for name in _PAGES)
        return int(pages * size)


def room_to_open(database: Path) -> bool:
    """Whether the disk has room for the files that opening makes; on a full one the ballast is given up for them."""
    shared = database.with_name(database.name + "-shm")
    if (shared.exists() and shared.stat().st_size >= SHARED) or _free(database.parent) >= OPENING:
        return True
    _ballast(database).unlink(missing_ok=True)
    return _free(database.parent) >= OPENING


def primary_code(error: BaseException | None) -> int | None:
    """SQLite's result code, without what it has to add; None for an error that is not its own."""
    code = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlite_errorcode", None)
    return code & _PRIMARY if isinstance(code, int) else None


def _ballast(database: Path) -> Path:
    return database.with_name(database.name + ".ballast")


def _free(folder: Path) -> int:
    """Bytes that the disk has left."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _driver(connection: Connection) -> Any:  # noqa: ANN401 - the driver's connection has no type here
    """The connection below: what is asked of it begins no transaction."""
    return connection.connection.driver_connection
