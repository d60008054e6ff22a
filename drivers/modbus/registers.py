"""Register words <-> exact numbers. No I/O.

A register is a 16-bit word, its high byte first on the wire (Modbus Application Protocol V1.1b3, 4.2). How words
make up a number is no part of that standard: order and type are facts of each meter's model.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from gateway.core.units import Scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

NumberType = Literal["u16", "i16", "u32", "i32", "u64", "i64", "float32", "float64"]
WordOrder = Literal["big", "little"]

WORDS: dict[NumberType, int] = {
    "u16": 1,
    "i16": 1,
    "u32": 2,
    "i32": 2,
    "u64": 4,
    "i64": 4,
    "float32": 2,
    "float64": 4,
}
# IEEE 754 binary interchange formats: bits of the exponent, bits of the significand behind the point
_FLOATS: dict[str, tuple[int, int]] = {"float32": (8, 23), "float64": (11, 52)}
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_LEAST_POWER, _MOST_POWER = -12, 12
"""no counter of a meter shows less than 10**-12 of what it counts in, but 0, or 10**12 and more of its unit"""
_NO_SCALE = 0x8000
"""SunSpec's sunssf of what is not implemented"""


class RegisterError(ValueError):
    """Words that hold no value; the text says why."""


class NoValueError(RegisterError):
    """Words with which the meter says that there is no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberForm:
    """How the words of one register make up a number."""

    type: NumberType
    order: WordOrder
    """"big": the most significant word comes first; "little": it comes last"""
    scale: Scaled
    """what the raw number is multiplied by to count in the register's unit"""
    exponent: int
    """the value is a multiple of 10**exponent"""
    not_available: frozenset[int] = frozenset()
    """unsigned bit patterns, most significant word first, that mean "no value" """

    @property
    def is_float(self) -> bool:
        """Whether the raw number is an IEEE 754 float."""
        return self.type in _FLOATS


def number(words: Sequence[int], form: NumberForm, power: int | None = None) -> Scaled:
    """The value that the words hold, at the form's exponent.

    An integer must be a multiple of 10**exponent. A float is taken as the exact binary number that it is and
    rounded half-up once; so is an integer whose power of ten the meter says itself. NoValueError for a pattern that
    means "not available", NaN and infinity; RegisterError for a wrong number of words, an integer that does not fit
    the exponent, and what no counter shows: 10**12 of its unit or more, and a float that is next to nothing. Words of
    another map look like that: as a float32, the integers below 730 million are between 0 and 10**-12.
    """
    bits = _bits(words, form)
    if bits in form.not_available:
        message = f"not available ({_hex(bits, form)})"
        raise NoValueError(message)
    value = _value(bits, form, power)
    if abs(value.digits) >= _ratio(_MOST_POWER - value.exponent)[0]:
        message = f"{_hex(bits, form)} as {form.type} is more than any counter shows; another model may be right"
        raise RegisterError(message)
    return value


def _value(bits: int, form: NumberForm, power: int | None) -> Scaled:
    if form.is_float:
        significand, twos = _binary(bits, form.type)
        if significand and abs(significand) * 10**-_LEAST_POWER < 1 << max(-twos, 0):
            message = f"{_hex(bits, form)} as {form.type} is next to nothing and not 0; another model may be right"
            raise RegisterError(message)
        return _rounded(significand, twos, 0, form)
    raw = _signed(bits, 16 * WORDS[form.type]) if form.type.startswith("i") else bits
    if power is not None:
        return _rounded(raw, 0, power, form)
    times, per = _ratio(form.scale.exponent - form.exponent)
    digits, rest = divmod(raw * form.scale.digits * times, per)
    if rest:
        message = f"{raw * form.scale.fraction} is not a whole multiple of 10^{form.exponent}"
        raise RegisterError(message)
    return Scaled(digits, form.exponent)


def _rounded(significand: int, twos: int, tens: int, form: NumberForm) -> Scaled:
    """`significand * 2**twos * 10**tens` as a value, by integers alone: fractions take three times as long."""
    times, per = _ratio(form.scale.exponent + tens - form.exponent)
    exact = significand * form.scale.digits * times << max(twos, 0)
    whole_step = per << max(-twos, 0)
    digits = (2 * abs(exact) + whole_step) // (2 * whole_step)
    return Scaled(digits if exact >= 0 else -digits, form.exponent)


def _ratio(power: int) -> tuple[int, int]:
    """10**power as numerator and denominator."""
    return (10**power, 1) if power >= 0 else (1, 10**-power)


def _hex(bits: int, form: NumberForm) -> str:
    return f"0x{bits:0{4 * WORDS[form.type]}x}"


def power_of_ten(words: Sequence[int]) -> int:
    """The power of ten that a scale register holds; RegisterError outside of -10 to 10, NoValueError for 8000h."""
    power = _signed(words[0], 16)
    if not -10 <= power <= 10:
        message = f"its scale register holds 0x{words[0]:04x}, which is no power of ten from -10 to 10"
        raise (NoValueError if words[0] == _NO_SCALE else RegisterError)(message)
    return power


def natural_modulus(form: NumberForm) -> Scaled | None:
    """The index that an integer of this width no longer holds: the sign bit never counts. None for floats."""
    if form.is_float:
        return None
    bits = 16 * WORDS[form.type] - form.type.startswith("i")
    return Scaled(form.scale.digits << bits, form.scale.exponent)


def whole(words: Sequence[int]) -> int:
    """Words as one whole number, the most significant first."""
    return int.from_bytes(_octets(words), "big")


def text(words: Sequence[int]) -> str:
    """Text in UTF-8, two bytes a word, the first in the high byte; blanks around it and every NUL removed.

    Meters of one maker differ in where they put NULs: behind the text, or before each letter. RegisterError where it
    is no printable text.
    """
    return _printable(_octets(words).replace(b"\x00", b""))


def letters(words: Sequence[int]) -> str:
    """Text with one byte in the low half of each word, the high one unused; blanks around it removed.

    RegisterError where it is no printable text.
    """
    return _printable(bytes(word & 0xFF for word in words))


def _octets(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(2, "big") for word in words)


def _printable(octets: bytes) -> str:
    octets = octets.strip(b"\x00 ")
    found = octets.decode("utf-8", "replace")
    if not found.isprintable() or _REPLACED in found:
        message = f"no text (0x{octets.hex()})"
        raise RegisterError(message)
    return found


def _bits(words: Sequence[int], form: NumberForm) -> int:
    if len(words) != WORDS[form.type]:
        message = f"{len(words)} words where {form.type} needs {WORDS[form.type]}"
        raise RegisterError(message)
    bits = 0
    for word in words if form.order == "big" else reversed(words):
        bits = bits << 16 | word
    return bits


def _signed(bits: int, width: int) -> int:
    return bits - (1 << width) if bits >> (width - 1) else bits


def _binary(bits: int, type_: str) -> tuple[int, int]:
    """The exact number of an IEEE 754 pattern: significand and power of two."""
    exponent_bits, fraction_bits = _FLOATS[type_]
    exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1)
    significand = bits & ((1 << fraction_bits) - 1)
    if exponent == (1 << exponent_bits) - 1:
        message = "not a number (NaN)" if significand else "infinite"
        raise NoValueError(message)
    if exponent:  # normal numbers have a hidden leading 1, subnormal ones the smallest exponent
        significand |= 1 << fraction_bits
    power = max(exponent, 1) - ((1 << (exponent_bits - 1)) - 1) - fraction_bits
    return (-significand if bits >> (exponent_bits + fraction_bits) else significand), power


def float_resolves_below(form: NumberForm) -> int:
    """The power of two (in the register's unit, rounded down) from which a float's steps exceed 10**exponent."""
    significant = _FLOATS[form.type][1]
    step = Fraction(10) ** form.exponent / form.scale.fraction
    power = 0
    while Fraction(2) ** (power - significant) <= step:
        power += 1
    return (Fraction(2) ** power * form.scale.fraction).__floor__()
