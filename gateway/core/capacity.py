"""The most that a register can count in a day, from what limits it: fuses, a water meter's size, a connected power.

Each is an upper bound: a value above it is garbage, and one below it may be right.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from gateway.core.problem import cut
from gateway.core.units import Scaled, convert

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.metering import EnergySource, Limit

_FUSE = re.compile(r"([123])x([1-9][0-9]{0,3}) A")
_PIPE = re.compile(r"Q3 ((?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,3})?)")
_POWER = re.compile(r"((?:0|[1-9][0-9]{0,5})(?:\.[0-9]{1,3})?) kW")
_HOURS = 24
_VOLT = 253
"""230 V and 10 percent: the highest mean voltage between phase and neutral (EN 50160, 4.2.2)"""
_FUSING = ((16, Fraction(16, 10)), (5, Fraction(19, 10)), (0, Fraction(21, 10)))
"""from this rated current on, in A: the multiple at which a gG fuse is sure to melt within the conventional time of an
hour and more (IEC 60269-1, table 2; below 16 A IEC 60269-2 and -3); a miniature circuit-breaker trips at 1.45"""
_OVERLOAD = Fraction(125, 100)
"""Q4 is 1.25 times Q3 (EN ISO 4064-1, 4.1.4); a connected power, which nothing switches off, is allowed the same"""
_JOULE = 3_600_000
"""in a kWh"""
_VOLUMES = frozenset({"m3", "l"})
_IN_JOULE = frozenset({"J", "MJ", "GJ"})


def per_day(limit: Limit, text: str, unit: str) -> Scaled:
    """What can flow in a day, exactly, in the unit of the register; ValueError: text of another form."""
    quantity = _DAILY[limit](text)
    if limit == "pipe":
        return convert(_decimal(quantity), "m3", unit)
    if unit in _IN_JOULE:
        return convert(_decimal(quantity * _JOULE), "J", unit)
    return convert(_decimal(quantity), "kWh", unit)


def unfit(limit: Limit, energy_source: EnergySource, unit: str) -> str | None:
    """Why this does not limit such a register, in a clause with the remedy; None where it does."""
    volume = unit in _VOLUMES
    if limit == "pipe" and not volume:
        return f"is for registers in m3 or l, not {unit}; write fuse, power or max_per_day instead"
    if limit in {"fuse", "power"} and volume:
        return f'is for registers of energy, not {unit}; write e.g. pipe = "Q3 2.5" instead'
    if limit == "fuse" and energy_source != "electricity":
        return f'is for electricity, not {energy_source}; write e.g. power = "15 kW" instead'
    return None


def _fuse(text: str) -> Fraction:
    """In kWh: what flows all day just before the fuses melt."""
    found = _FUSE.fullmatch(text)
    if found is None:
        raise ValueError(_wrong(text, "phases and rated current", "3x63 A"))
    phases, ampere = int(found[1]), int(found[2])
    factor = next(factor for least, factor in _FUSING if ampere >= least)
    return phases * ampere * factor * _VOLT * _HOURS / 1000


def _pipe(text: str) -> Fraction:
    """In m3, from the permanent flow rate Q3 in m3/h."""
    return _positive(text, _PIPE, "permanent flow rate Q3 in m3/h, as it stands on the meter", "Q3 2.5") * _HOURS


def _power(text: str) -> Fraction:
    """In kWh."""
    return _positive(text, _POWER, "connected power", "15 kW") * _HOURS


def _positive(text: str, form: re.Pattern[str], what: str, example: str) -> Fraction:
    found = form.fullmatch(text)
    if found is None or not Fraction(found[1]):
        raise ValueError(_wrong(text, what, example))
    return Fraction(found[1]) * _OVERLOAD


def _wrong(text: str, what: str, example: str) -> str:
    return f'"{cut(text)}" is no {what}; write e.g. "{example}"'


def _decimal(value: Fraction) -> Scaled:
    """Exact: all factors are decimals."""
    return Scaled.exact(value, -6)


_DAILY: dict[str, Callable[[str], Fraction]] = {"fuse": _fuse, "pipe": _pipe, "power": _power}
