"""Where the key of an encrypted meter comes from: a file of its own, never the settings."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from drivers.mbus.security import KEY_LENGTH
from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIAL = "credential:"
"""begins the name of a systemd credential"""
LARGEST = 4000
"""bytes of a key file: blanks and line ends beside the digits are nobody's mistake"""
FORM = f"the key is {2 * KEY_LENGTH} hex digits ({KEY_LENGTH} octets)"


def parse_key(text: str) -> bytes:
    """The key in a key file; ValueError where it holds none. The text never shows what the file holds."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_LENGTH:
        message = f"{FORM}; correct the key file"
        raise ValueError(message)
    return key


def read_key(named: str, environment: Mapping[str, str] = os.environ) -> bytes:
    """The key in the file, an absolute path or credential:<name>; WrongAnswerError where there is none.

    Read anew for each read of the meter, so that a file put right counts at once.
    """
    name = named.removeprefix(CREDENTIAL)
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if name != named and folder is None:
        message = f"key is the credential {name}, but systemd gives none here; LoadCredential={name}:/path does"
        raise WrongAnswerError(message)
    path = Path(folder or "", name) if name != named else Path(named)
    try:
        return parse_key(_content(path).decode("utf-8"))
    except OSError as error:
        message = f"key {path} cannot be read ({error.strerror}); put it there, readable for the gateway's user"
        raise WrongAnswerError(message) from error
    except ValueError as error:  # not UTF-8 either
        message = f"key {path} holds no key: {FORM}; correct the file"
        raise WrongAnswerError(message) from error


def _content(path: Path) -> bytes:
    """What the file holds; OSError where it is no regular file, ValueError for more than `LARGEST` bytes."""
    kind = path.stat().st_mode
    if S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not S_ISREG(kind):
        raise OSError(errno.EINVAL, "it is a device or a pipe, no file")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        message = f"more than {LARGEST} bytes"
        raise ValueError(message)
    return content
