"""The data of a record: types A to J of the M-Bus documentation 4.8, appendix 8.2, and EN 13757-3, annex A.

Every function takes the octets with the least significant first and gives kind and value.
"""

from __future__ import annotations

import struct
from datetime import date
from typing import TYPE_CHECKING, Literal

from gateway.core.units import Scaled

if TYPE_CHECKING:
    from drivers.mbus.vif import Form

Kind = Literal["number", "date", "text", "hex", "invalid"]
Value = tuple[Kind, Scaled | str]
NO_VALUE: Value = ("invalid", "")

_SMALLEST_NORMAL = 2.0**-126
_REAL = struct.Struct("<f")
_EVERY_YEAR, _EVERY_MONTH, _EVERY_DAY, _EVERY_HOUR, _EVERY_MINUTE = 127, 15, 0, 31, 63
_LEAP_YEAR = 2000
"""stands for "every year", so that 29 February passes"""


def binary(octets: bytes, form: Form, factor: int, exponent: int) -> Value:
    """Types B (signed) and C (unsigned), or a point in time."""
    if form == "point":
        return point_in_time(octets)
    if form == "octets":
        return hexadecimal(octets)
    return "number", Scaled(int.from_bytes(octets, "little", signed=form == "signed") * factor, exponent)


def bcd(octets: bytes, form: Form, factor: int, exponent: int) -> Value:
    """Type A: a first digit F is the minus sign, any other digit above 9 makes it a display code, not a number."""
    if form == "point":
        return NO_VALUE
    digits = octets[::-1].hex()
    if digits.isdecimal():
        return "number", Scaled(int(digits) * factor, exponent)
    if digits[0] == "f" and digits[1:].isdecimal():
        return "number", Scaled(-int(digits[1:]) * factor, exponent)
    return "invalid", "!" + digits


def real(octets: bytes, form: Form, factor: int, exponent: int) -> Value:
    """Type H: the shortest decimal that gives the same 32-bit float."""
    (value,) = _REAL.unpack(octets)
    if form == "point" or value - value != 0:  # not a number, infinite
        return NO_VALUE
    digits, _, power = _shortest(value).partition("e")
    whole, _, decimals = digits.partition(".")
    return "number", Scaled(int(whole + decimals) * factor, int(power) - len(decimals) + exponent)


def _shortest(value: float) -> str:
    for decimals in range(5 if abs(value) >= _SMALLEST_NORMAL else 0, 8):
        text = f"{value:.{decimals}e}"
        try:
            if _REAL.unpack(_REAL.pack(float(text)))[0] == value:
                return text
        except OverflowError:  # rounded up beyond the largest float: more digits are needed
            continue
    return f"{value:.8e}"


def nothing(_octets: bytes, _form: Form, _factor: int, _exponent: int) -> Value:
    """Data fields "no data" and "selection for readout"."""
    return NO_VALUE


def text(octets: bytes) -> Value:
    """8-bit text (ISO 8859-1), sent last character first."""
    return "text", octets[::-1].decode("latin-1")


def hexadecimal(octets: bytes) -> Value:
    """A binary number too long to be one, most significant octet first."""
    return "hex", octets[::-1].hex()


def point_in_time(octets: bytes) -> Value:
    """Types G (2 octets), J (3), F (4) and I (6) as meter-local ISO 8601; asterisks stand for "every"."""
    read = _POINTS.get(len(octets))
    stamp = read(octets) if read else None
    return ("date", stamp) if stamp else NO_VALUE


def _type_g(octets: bytes) -> str | None:
    return _date(octets[0], octets[1], century=0)


def _type_f(octets: bytes) -> str | None:
    minute, hour = octets[0] & 0x3F, octets[1] & 0x1F
    if octets[0] & 0x80:
        return None
    day = _date(octets[2], octets[3], century=octets[1] >> 5 & 3)
    clock = _clock(hour, minute)
    return f"{day}T{clock}" if day and clock else None


def _type_i(octets: bytes) -> str | None:
    if octets[1] & 0x80:
        return None
    day = _date(octets[3], octets[4], century=0)
    clock = _clock(octets[2] & 0x1F, octets[1] & 0x3F)
    second = _two(octets[0] & 0x3F, 59, _EVERY_MINUTE)
    return f"{day}T{clock}:{second}" if day and clock and second else None


def _type_j(octets: bytes) -> str | None:
    clock = _clock(octets[2] & 0x1F, octets[1] & 0x3F)
    second = _two(octets[0] & 0x3F, 59, _EVERY_MINUTE)
    return f"{clock}:{second}" if clock and second else None


_POINTS = {2: _type_g, 3: _type_j, 4: _type_f, 6: _type_i}


def _clock(hour: int, minute: int) -> str | None:
    hours, minutes = _two(hour, 23, _EVERY_HOUR), _two(minute, 59, _EVERY_MINUTE)
    return f"{hours}:{minutes}" if hours and minutes else None


def _two(number: int, last: int, every: int) -> str | None:
    if number == every:
        return "**"
    return f"{number:02d}" if number <= last else None


def _date(low: int, high: int, century: int) -> str | None:
    day, month, year = low & 0x1F, high & 0x0F, (low & 0xE0) >> 5 | (high & 0xF0) >> 1
    if (low, high) in ((0, 0), (0xFF, 0xFF)) or not (1 <= month <= 12 or month == _EVERY_MONTH):
        return None
    if year > 99 and year != _EVERY_YEAR:
        return None
    years = _LEAP_YEAR if year == _EVERY_YEAR else _year(year, century)
    if day != _EVERY_DAY:
        try:
            date(years, 1 if month == _EVERY_MONTH else month, day)
        except ValueError:
            return None
    return "-".join(
        (
            "****" if year == _EVERY_YEAR else str(years),
            "**" if month == _EVERY_MONTH else f"{month:02d}",
            "**" if day == _EVERY_DAY else f"{day:02d}",
        )
    )


def _year(year: int, century: int) -> int:
    """Meters without the century bits mean 1981 to 2080 (documentation 4.8, 8.2, type F)."""
    if century:
        return 1900 + 100 * century + year
    return (2000 if year <= 80 else 1900) + year
