"""Where the key of an encrypted meter comes from: a file of its own, never the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.mbus.security import KEY_LENGTH
from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIAL = "credential:"
"""begins the name of a systemd credential"""
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
        return parse_key(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"key {path} cannot be read ({error.strerror}); put it there, readable for the gateway's user"
        raise WrongAnswerError(message) from error
    except ValueError as error:  # not UTF-8 either
        message = f"key {path} holds no key: {FORM}; correct the file"
        raise WrongAnswerError(message) from error
