"""Files that a person names are read whole: never a device or a pipe that has no end, nor more than fits the box.

And whether a path is there, and whose a file is, for whoever may not read it.
"""

from __future__ import annotations

import errno
import os
import pwd
from contextlib import suppress
from io import BytesIO, TextIOWrapper
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LARGEST = 16_000_000
"""bytes: a building of a thousand points is a twentieth of it"""


def read_bytes(path: Path) -> bytes:
    """What the file holds. OSError, also for what is no regular file and for more than `LARGEST` bytes."""
    require_finite(path)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
        return opened.read(LARGEST)


def read_text(path: Path, encoding: str) -> str:
    """The same as text, its lines ended by a line feed; UnicodeDecodeError where it is none of this encoding."""
    return TextIOWrapper(BytesIO(read_bytes(path)), encoding=encoding).read()


def require_finite(path: Path) -> None:
    """OSError for what is no regular file, is too large, or cannot be seen."""
    seen = path.stat()
    if S_ISDIR(seen.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not S_ISREG(seen.st_mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe, no file", str(path))
    if seen.st_size > LARGEST:
        raise OSError(errno.EFBIG, f"it is larger than {LARGEST // 1_000_000} MB", str(path))


def may_be(is_there: Callable[[], bool]) -> bool:
    """What `Path.is_file` and the like find. Yes in a folder that may not be entered: who opens it is told so."""
    try:
        return is_there()
    except PermissionError:
        return True
    except OSError:  # a name that is too long, a disk that fails
        return False


def owner(path: Path) -> str:
    """Name of the user that it belongs to; of what cannot be seen, that of the nearest folder on the way to it."""
    for place in (path, *path.absolute().parents):
        with suppress(PermissionError, FileNotFoundError):
            return user_name(place.stat().st_uid)
    return user_name(0)  # not reached: / can be seen by everybody


def user_name(number: int) -> str:
    """The user's name, else "uid-1000"."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid-{number}"
