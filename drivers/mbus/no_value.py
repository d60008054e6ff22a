"""Records that a meter sends in the place of a value to say that it has none of that quantity.

EN 13757-3, clause 6 and annex A; M-Bus documentation 4.8, 6.3, 8.2 and 8.4.7. The meter changes the DIB or the VIB for
it (function "value during error state", data field "no data", a record error behind the VIB), or sends data that are no
number (a display code in BCD, the smallest binary number, NaN).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.core.units import Scaled

if TYPE_CHECKING:
    from drivers.mbus.records import Record

_FUNCTION, _DATA_FIELD, _VARIABLE_LENGTH = 0x30, 0x0F, 0x0D
_BINARY_FIELDS = frozenset({1, 2, 3, 4, 6, 7})
_RECORD_ERRORS = {0x15: "no data available", 0x16: "data overflow", 0x17: "data underflow", 0x18: "data error"}
"""the errors of a value; the others say that the meter does not know such a record"""


def stands_for(name: bytes, record: Record) -> bool:
    """Whether the record has this DIB and VIB, or is what the meter sends in its place for want of a value."""
    own = record.meaning.dib_vib
    return own == name or _in_place_of(name, own, empty=not record.data, error=record.meaning.record_error)


@lru_cache(maxsize=2048)
def _in_place_of(name: bytes, own: bytes, *, empty: bool, error: bool) -> bool:
    if name[0] & _DATA_FIELD == _VARIABLE_LENGTH:
        return False  # the length is a part of the name
    dif, rest = own[0], own[1:]
    if dif & _FUNCTION == _FUNCTION:
        dif ^= _FUNCTION
    if empty and dif & _DATA_FIELD == 0:
        dif |= name[0] & _DATA_FIELD
    if error and rest[-1] in _RECORD_ERRORS:
        rest = rest[:-2] + bytes([rest[-2] & 0x7F])
    return bytes([dif]) + rest == name


def why_none(name: bytes, record: Record) -> str | None:
    """What a record that stands for this DIB and VIB says instead of a value; None where it says nothing such."""
    own = record.meaning.dib_vib
    if (own[0] ^ name[0]) & _FUNCTION:
        return "a value during an error state"
    if own != name and record.meaning.record_error:
        return _RECORD_ERRORS[own[-1]]
    if not record.data:
        return "no data"
    if record.kind == "invalid":
        return f"the display code {str(record.value)[1:]}" if record.value else "no valid number"
    return "the smallest number of its size" if _is_smallest(record) else None


def _is_smallest(record: Record) -> bool:
    """With it a meter says that there is none (EN 13757-3, type B)."""
    meaning = record.meaning
    if not isinstance(record.value, Scaled) or meaning.dib_vib[0] & _DATA_FIELD not in _BINARY_FIELDS:
        return False
    raw = record.value if meaning.offset is None else record.value - meaning.offset
    return raw == Scaled(-(meaning.factor << 8 * len(record.data) - 1), meaning.exponent)
