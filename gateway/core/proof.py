"""The hash chain over a stream of charges."""

from __future__ import annotations

import hashlib

FIRST = "0" * 64
"""the `prevhash` of the first charge of a stream"""


def chain(prevhash: str, data: bytes) -> str:
    """SHA-256, in hex, over the text of the previous hash and the canonical bytes of the charge's data."""
    return hashlib.sha256(prevhash.encode() + data).hexdigest()
