"""The secret that badge identifiers are sealed with. It lies outside the database: a copy of that tells no badge."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""names the folder of the secrets that systemd hands over: systemd.exec(5)"""
NAME = "pepper"
SIZE = 32
"""bytes of a new one; a shorter one is refused"""


class PepperError(Exception):
    """There is no secret to seal identifiers with. The text is one sentence."""


def place(config: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Where it lies: systemd's credential `pepper` where there is one, else `pepper` beside the settings file."""
    credential = Path(environment.get(CREDENTIALS, "")) / NAME
    if environment.get(CREDENTIALS) and credential.exists():
        return credential
    return config.resolve().with_name(NAME)


def load(config: Path, environment: Mapping[str, str] = os.environ) -> bytes:
    """The secret; PepperError where there is none that can be used."""
    path = place(config, environment)
    try:
        found = read_bytes(path)
    except OSError as error:
        message = f"{path}: the secret for badges cannot be read ({error.strerror}): run `submeter migrate`"
        raise PepperError(message) from error
    if len(found) < SIZE:
        message = f"{path}: the secret for badges is too short: bring back the one that the badges were sealed with"
        raise PepperError(message)
    return found


def create(config: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Make one, readable by its owner only, where there is none. PepperError where it cannot be made."""
    path = place(config, environment)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        message = f"{path}: the secret for badges cannot be made ({error.strerror}): the folder must be writable"
        raise PepperError(message) from error
    with os.fdopen(file, "wb") as opened:
        opened.write(secrets.token_bytes(SIZE))
        opened.flush()
        os.fsync(opened.fileno())
