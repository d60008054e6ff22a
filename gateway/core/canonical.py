"""Canonical bytes (RFC 8785) and the ids made of them.

The values that occur are text, whole numbers, booleans, null, lists and objects; numbers that are
billed travel as decimal strings, so a float here is a bug and is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring

Json = bool | int | str | Sequence["Json"] | Mapping[str, "Json"] | None

MAX_INTEGER = 2**53 - 1  # RFC 8785, 3.2.2.3: beyond it a reader in another language loses digits
ID_LENGTH = 40
# the usual types first: to ask what is any mapping takes ten times as long
_OBJECTS, _ARRAYS = (dict, Mapping), (list, Sequence)


def canonical(value: Json) -> bytes:
    """The one UTF-8 form of `value`; TypeError for a float, ValueError for an integer beyond 2**53 - 1."""
    return _text(value).encode()


def content_id(data: bytes) -> str:
    """The first 40 hex digits of the SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()[:ID_LENGTH]


def _text(value: Json) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, _OBJECTS):
        return "{" + ",".join([f"{encode_basestring(name)}:{_text(value[name])}" for name in _names(value)]) + "}"
    if isinstance(value, _ARRAYS) and not isinstance(value, bytes):
        return "[" + ",".join([_text(item) for item in value]) + "]"
    return _scalar(value)


def _names(value: Mapping[str, Json]) -> list[str]:
    """Sorted by UTF-16 code units: RFC 8785, 3.2.3."""
    names = sorted(value)
    return names if all(map(str.isascii, names)) else sorted(names, key=lambda name: name.encode("utf-16-be"))


def _scalar(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            if abs(value) > MAX_INTEGER:
                message = f"{value} has no canonical form: whole numbers end at 2**53 - 1"
                raise ValueError(message)
            return str(value)
    message = f"a {type(value).__name__} has no canonical form"
    raise TypeError(message)
