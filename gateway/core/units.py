"""Exact decimal numbers and the units they are counted in.

Nothing that is billed passes through a float: an index, a price and an amount are a `Scaled`,
an integer with a decimal exponent. `Fraction` appears only inside one computation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, total_ordering

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?")
MAX_TEXT = 40


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """An exact decimal number: `digits * 10**exponent`.

    Two values are equal when they are the same number, whatever their exponent; the exponent says
    how many decimals `str` prints ("0.2500" stays "0.2500").
    """

    digits: int
    exponent: int

    @classmethod
    def parse(cls, text: str) -> Scaled:
        """Read a plain decimal such as "-12.40"; ValueError for anything else (no exponent, no blanks, no sign +)."""
        match = _DECIMAL.fullmatch(text) if len(text) <= MAX_TEXT else None
        if match is None:
            shown = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
            message = f"{shown!r} is not a plain decimal number such as 12.40"
            raise ValueError(message)
        sign, whole, decimals = match.group(1), match.group(2), match.group(3) or ""
        return cls(int(sign + whole + decimals), -len(decimals))

    @classmethod
    def rounded(cls, value: Fraction, exponent: int) -> Scaled:
        """`value` rounded half away from zero to a multiple of `10**exponent`."""
        return cls(half_up(value / _power_of_ten(exponent)), exponent)

    @classmethod
    def exact(cls, value: Fraction, exponent: int) -> Scaled:
        """`value` as a multiple of `10**exponent`; ValueError where it is none."""
        scaled = value / _power_of_ten(exponent)
        if scaled.denominator != 1:
            message = f"{value} is not a whole multiple of 10^{exponent}"
            raise ValueError(message)
        return cls(scaled.numerator, exponent)

    @property
    def fraction(self) -> Fraction:
        """The same number as a fraction."""
        return self.digits * _power_of_ten(self.exponent)

    def at(self, exponent: int) -> Scaled:
        """The same number with another exponent; ValueError where digits would be lost."""
        if exponent <= self.exponent:
            return Scaled(self.digits * 10 ** (self.exponent - exponent), exponent)
        return Scaled.exact(self.fraction, exponent)

    def __add__(self, other: Scaled) -> Scaled:
        exponent = min(self.exponent, other.exponent)
        return Scaled(self.at(exponent).digits + other.at(exponent).digits, exponent)

    def __sub__(self, other: Scaled) -> Scaled:
        return self + -other

    def __neg__(self) -> Scaled:
        return Scaled(-self.digits, self.exponent)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scaled):
            return NotImplemented
        exponent = min(self.exponent, other.exponent)
        return self.at(exponent).digits == other.at(exponent).digits

    def __lt__(self, other: Scaled) -> bool:
        exponent = min(self.exponent, other.exponent)
        return self.at(exponent).digits < other.at(exponent).digits

    def __hash__(self) -> int:
        return hash(self.fraction)

    def __str__(self) -> str:
        """Plain decimal text, never with an exponent: "1200", "0.2500", "-0.05"."""
        if self.exponent >= 0:
            return str(self.digits * 10**self.exponent)
        text = str(abs(self.digits)).rjust(1 - self.exponent, "0")
        sign = "-" if self.digits < 0 else ""
        return f"{sign}{text[: self.exponent]}.{text[self.exponent :]}"


@lru_cache(maxsize=128)
def _power_of_ten(exponent: int) -> Fraction:
    """Kept, as every reading needs one."""
    return Fraction(10) ** exponent


def half_up(value: Fraction) -> int:
    """The nearest integer, halves away from zero."""
    whole = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return whole if value >= 0 else -whole


def to_quantum(value: Fraction, quantum: Scaled) -> Scaled:
    """`value` rounded half away from zero to a whole number of `quantum`, such as 0.01 or 0.05."""
    return Scaled(half_up(value / quantum.fraction) * quantum.digits, quantum.exponent)


def plain(value: Fraction) -> str:
    """Decimal text where the number has one ("84.5"), else the fraction ("1/3")."""
    rest, decimals = value.denominator, 0
    while rest % 10 == 0 or rest % 5 == 0 or rest % 2 == 0:
        rest = rest // 10 if rest % 10 == 0 else rest // 5 if rest % 5 == 0 else rest // 2
        decimals += 1
    return str(value) if rest != 1 else str(Scaled.exact(value, -decimals))


# unit -> (base unit, power of ten). J and Wh stay apart: 1 J is no finite decimal of a kWh.
_UNITS = {
    "Wh": ("Wh", 0),
    "kWh": ("Wh", 3),
    "MWh": ("Wh", 6),
    "J": ("J", 0),
    "MJ": ("J", 6),
    "GJ": ("J", 9),
    "m3": ("m3", 0),
    "l": ("m3", -3),
}
UNITS = frozenset(_UNITS)


class UnitError(ValueError):
    """A value in one unit was asked for in another that it cannot be turned into exactly."""


def convert(value: Scaled, unit: str, target: str) -> Scaled:
    """`value` counted in `target` instead of `unit`; exact, UnitError where the two do not measure the same."""
    base, power = _UNITS.get(unit, (unit, 0))
    target_base, target_power = _UNITS.get(target, (target, 0))
    if base != target_base:
        message = f"{unit} cannot be turned into {target}"
        raise UnitError(message)
    return Scaled(value.digits, value.exponent + power - target_power)
