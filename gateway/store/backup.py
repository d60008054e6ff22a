"""A copy of an SQLite store in one file, made while the gateway runs, and its way back.

The copy is made by SQLite itself in one read transaction, so it shows one state of the store; whoever copies the
files by hand may catch a database and a write-ahead log of different moments.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.files import may_be
from gateway.store import epochs
from gateway.store.database import database
from gateway.store.errors import StoreError
from gateway.store.lock import Lock
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

_GOOD = "ok"
_CONTENTS = "SELECT version_num, (SELECT count(*) FROM poll), (SELECT count(*) FROM charge) FROM alembic_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a checked copy of a store holds."""

    file: Path
    size: int
    """bytes"""
    revision: str
    polls: int
    charges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A store that was put in the place of another."""

    copy: Copied
    replaced: Path | None
    """where the store as it was lies now; None where there was none"""


def backup(url: str, file: Path) -> Copied:
    """Copy the store to a file that is not there yet and check the copy. Nobody who uses the store is disturbed.

    StoreError: no store, a file that is there or cannot be written, a copy that is not whole, or PostgreSQL, which
    has its own programs.
    """
    base = _sqlite(url, "back it up with pg_dump --format=custom")
    base.require()
    cannot = f"{file}: the backup cannot be written"
    with _told(cannot, OSError):
        _require_free(file)
    part = _beside(file, ".part")
    with _told(cannot, OSError, sqlite3.Error), ExitStack() as undone:
        undone.callback(part.unlink, missing_ok=True)
        _copy(base.path, part)
        copied = check(part, file)
        part.rename(file)
        _sync(file.parent)
    return copied


def size_of(url: str) -> int:
    """Bytes of the store's file; 0 where there is none."""
    base = database(url)
    with suppress(OSError):
        return base.path.stat().st_size if isinstance(base, SqliteDatabase) else 0
    return 0


def check(file: Path, name: Path | None = None) -> Copied:
    """What the copy holds; StoreError where it is damaged or no copy of a store. `name` is what messages call it."""
    name = name or file
    with _told(f"{name}: the backup cannot be read", OSError):
        is_file = file.is_file()
    if not is_file:
        message = f"{name}: there is no such file"
        raise StoreError(message)
    with _told(f"{name}: this is no good backup of a store", sqlite3.Error), closing(_open(file, "ro")) as connection:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != _GOOD:
            message = f"{name}: the backup is damaged ({' '.join(found.split())}): take another one"
            raise StoreError(message)
        revision, polls, charges = connection.execute(_CONTENTS).fetchone()
    return Copied(file=name, size=file.stat().st_size, revision=revision, polls=polls, charges=charges)


def restore(url: str, file: Path, at: datetime) -> Restored:
    """Put the backup in the place of the store, brought up to this release, with new epochs of all streams.

    The store as it was is kept beside it. StoreInUseError while a daemon runs, StoreError as in `check`; then nothing
    has changed.
    """
    base = _sqlite(url, "load the dump with pg_restore, then run `submeter migrate`")
    if not may_be(base.path.parent.is_dir):
        message = f"{base.path.parent}: there is no such folder: make it, owned by the user that runs the gateway"
        raise StoreError(message)
    if _is_same(file, base.path):
        message = f"{file}: this is the store itself: name a file that `submeter backup` has made"
        raise StoreError(message)
    with Lock(base.path), ExitStack() as undone:
        copied = check(file)
        new = _beside(base.path, ".restoring")
        for end in ("", "-wal", "-shm", ".lock"):
            undone.callback(_beside(new, end).unlink, missing_ok=True)
        with _told(f"{base.path}: the store cannot be written", OSError, sqlite3.Error):
            new.unlink(missing_ok=True)  # of an attempt that was cut short
            _copy(file, new)
        migrate(f"sqlite:///{new}")
        _begin_epochs(new)
        with _told(f"{base.path}: the store cannot be replaced", OSError, sqlite3.Error):
            _alone(new)
            replaced = _put_aside(base.path, at)
            new.replace(base.path)
            _sync(base.path.parent)
    return Restored(copy=copied, replaced=replaced)


def _sqlite(url: str, instead: str) -> SqliteDatabase:
    base = database(url)
    if not isinstance(base, SqliteDatabase):
        message = f"{base.name}: this store is a PostgreSQL database: {instead}"
        raise StoreError(message)
    return base


def _require_free(file: Path) -> None:
    if file.is_dir():
        message = f"{file}: this is a folder: name a file in it"
        raise StoreError(message)
    if file.exists():
        message = f"{file}: there is such a file already: name another, or delete it"
        raise StoreError(message)


def _is_same(file: Path, other: Path) -> bool:
    with suppress(OSError):  # what cannot be seen is told when it is opened
        return file.samefile(other)
    return False


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


@contextmanager
def _told(what: str, *kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        message = f"{what} ({reason})"
        raise StoreError(message) from error


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)


def _copy(source: Path, target: Path) -> None:
    """A whole database in one file, for its owner alone, on the disk when this returns."""
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(_open(source, "rw" if _writable(source) else "ro")) as old, closing(_open(target, "rw")) as new:
        old.execute("PRAGMA query_only = ON")
        old.execute("PRAGMA wal_autocheckpoint = 0")
        old.backup(new)
    _alone(target)


def _writable(path: Path) -> bool:
    """Reading beside a writer takes the right to write: the readers' marks lie in a file beside the database."""
    return os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)


def _alone(path: Path) -> None:
    """Let the file need no write-ahead log beside it, and be on the disk."""
    with closing(_open(path, "rw")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    _sync(path)


def _begin_epochs(path: Path) -> None:
    with SqliteDatabase(str(path)).exclusive() as engine, engine.connect() as connection, connection.begin():
        epochs.begin(connection)


def _put_aside(path: Path, at: datetime) -> Path | None:
    """Keep the database under another name, too. After this no log of it lies where the new one will be."""
    if not path.exists():
        return None
    aside = _beside(path, f".replaced-{at:%Y%m%dT%H%M%SZ}")
    log, marks = _beside(path, "-wal"), _beside(path, "-shm")
    with suppress(sqlite3.Error):  # it may be damaged: perhaps that is why it is replaced
        _alone(path)
    os.link(path, aside)
    if log.exists():
        log.rename(_beside(aside, "-wal"))
    marks.unlink(missing_ok=True)
    return aside


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
