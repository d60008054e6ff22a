"""One process at a time writes to a store."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Self

from gateway.store.errors import StoreError, StoreInUseError

_PID_LENGTH = 20


LOCKS = Path("/proc/locks")


def holder(database: Path) -> int | None:
    """The process that holds the lock of a database, None where nobody does. The lock itself is not touched."""
    path = database.with_name(database.name + ".lock")
    try:
        process, inode = path.read_text(encoding="ascii").strip(), path.stat().st_ino
        mark = re.compile(rf": FLOCK +ADVISORY +WRITE +{int(process)} +\S+:{inode} ")
        return int(process) if mark.search(LOCKS.read_text(encoding="ascii")) else None
    except (OSError, ValueError):  # no lock was ever taken, or its holder has not said who it is
        return None


class Lock:
    """The exclusive lock beside a database: `gateway.db.lock`, with the holder's process id inside.

    The kernel lets go of it when the process ends, however it ends. The file stays: removing it would
    let two processes lock two different files of the same name.
    """

    def __init__(self, database: Path) -> None:
        """StoreInUseError where another process holds it, StoreError where the file cannot be made."""
        path = database.with_name(database.name + ".lock")
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"{path}: {error.strerror}: the store's folder must exist and be writable"
            raise StoreError(message) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(file, _PID_LENGTH, 0).decode("ascii", "replace").strip()
            os.close(file)
            message = (
                f"{database}: process {holder or '?'} is using the store: stop it first (is `submeter run` active?)"
            )
            raise StoreInUseError(message) from error
        with suppress(OSError):  # on a full disk nobody is told who holds it; held it is
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file: int | None = file

    def release(self) -> None:
        """Let go of it; again has no effect."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
