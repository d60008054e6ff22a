"""Encrypted telegrams: security modes 5 and 7 (EN 13757-7:2018, OMS volume 2, 9.2 and 9.3), mode 7 with the key itself.

The AES is PyCryptodome's, which nothing else here uses. It comes with what the tests need.
"""

from __future__ import annotations

from typing import Literal

from simulators.mbus.frames import long_frame
from simulators.mbus.telegrams import ADDRESS, CI, NUMBER, RECORDS, SIGNATURE

Mode = Literal[5, 7]
_BLOCK = 16
_FILLER, _CHECK = b"\x2f", b"\x2f\x2f"
_MOST_BLOCKS = 15
_RSP_UD = 0x08


def encrypted(telegram: bytes, key: bytes, mode: Mode) -> bytes:
    """A telegram with the long header, its records encrypted as far as 15 blocks go; the rest stays readable.

    ValueError where the frame becomes too long.
    """
    from Crypto.Cipher import AES  # noqa: PLC0415 - only who plays encrypted meters needs it

    records = _CHECK + telegram[RECORDS:-2]
    size = min(-(-len(records) // _BLOCK), _MOST_BLOCKS) * _BLOCK
    records = records.ljust(size, _FILLER)
    start = initial_vector(telegram) if mode == 5 else bytes(_BLOCK)
    hidden = AES.new(key, AES.MODE_CBC, start).encrypt(records[:size])
    field = bytes((size // _BLOCK << 4, mode))
    extension = b"" if mode == 5 else b"\x00"
    data = telegram[CI:SIGNATURE] + field + extension + hidden + records[size:]
    return long_frame(_RSP_UD, telegram[ADDRESS], data)


def initial_vector(telegram: bytes) -> bytes:
    """Of mode 5: manufacturer, number, version, medium, then the access number eight times."""
    number, rest = telegram[NUMBER : NUMBER + 4], telegram[NUMBER + 4 : NUMBER + 8]
    return rest[:2] + number + rest[2:] + telegram[NUMBER + 8 : NUMBER + 9] * 8
