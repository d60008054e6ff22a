"""Canonical bytes (RFC 8785) and the ids made of them.

The values that occur are text, whole numbers, booleans, null, lists and objects; numbers that are
billed travel as decimal strings, so a float here is a bug and is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

Json = bool | int | str | Sequence["Json"] | Mapping[str, "Json"] | None

MAX_INTEGER = 2**53 - 1  # RFC 8785, 3.2.2.3: beyond it a reader in another language loses digits
ID_LENGTH = 40
_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes a new encoder for each text


def canonical(value: Json) -> bytes:
    """The one UTF-8 form of `value`; TypeError for a float, ValueError for an integer beyond 2**53 - 1."""
    return _text(value).encode()


def content_id(data: bytes) -> str:
    """The first 40 hex digits of the SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()[:ID_LENGTH]


def _text(value: Json) -> str:
    match value:
        case None | bool() | str():
            return _encode(value)
        case int():
            if abs(value) > MAX_INTEGER:
                message = f"{value} has no canonical form: whole numbers end at 2**53 - 1"
                raise ValueError(message)
            return str(value)
        case Mapping():
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            return "{" + ",".join(f"{_text(name)}:{_text(value[name])}" for name in names) + "}"
        case Sequence() if not isinstance(value, bytes):
            return "[" + ",".join(_text(item) for item in value) + "]"
    message = f"a {type(value).__name__} has no canonical form"
    raise TypeError(message)
