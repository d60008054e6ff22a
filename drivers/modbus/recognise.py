"""Which model's meter it is that gives these words, and how surely. No I/O.

A Modbus answer does not say what it means. Words that a maker fixed (`identify` of a model file) are an identity.
Otherwise there is a fingerprint: all registers of a model answer, each value can be a counter's, and none falls or
leaps at a second read. How much that says depends on how unlikely such values are among random words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from drivers.modbus.registers import natural_modulus, whole
from drivers.modbus.sunspec import NAME as SUNSPEC
from gateway.core.units import Scaled
from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drivers.modbus.model import FixedWords, ModbusRegister, RegisterMap
    from drivers.modbus.talk import Words

Sure = Literal["certain", "likely", "possible"]

_MOST = Scaled(1, 7)
"""10 GWh, 10 TJ or 10 million m3: more than a meter of one payer counts in its life"""
_MOST_AT_ONCE = Scaled(1, 2)
"""between two reads a few seconds apart"""
_MEANWHILE, _MEANWHILE_PART = 1, Fraction(1, 20)
"""what a counter goes on by while a meter is looked at, in its unit, and as a part of it: scales differ by more"""
_IDENTITY_BITS = 12
"""fixed words that hold at least so much cannot be met by chance"""
_LIKELY_BITS = 4.0
_FLOAT_BITS, _TARIFF_BITS = 4.0, 8.0
"""how unlikely a float from 0.01 to 10 million is among random words; tariffs that add up to their total"""
_CLOSE = 2.0
"""two readings of one place are not told apart by fewer bits"""
_LOW_WORD = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A model whose meter it may be."""

    name: str
    values: Mapping[str, Scaled]
    """by register"""
    missing: tuple[str, ...]
    """registers that hold the model's pattern for "no value" """
    identity: str
    """the fixed words in the maker's terms; "" for none, or for too few to tell it from others"""
    bits: float
    """how unlikely it is by chance"""
    told: str
    """the values in words"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a unit is."""

    model: str | None
    """None where several readings are possible, or none is"""
    sure: Sure | None
    why: str
    alike: tuple[str, ...] = ()
    """models that read the same where the model does: what stands on the meter tells which it is"""


def fit(name: str, map_: RegisterMap, first: Words, second: Words) -> Fit | None:
    """Whether a meter of this model can have said this at two reads; None where it cannot."""
    try:
        map_.check_identity(first)
    except WrongAnswerError:
        return None
    values: dict[str, Scaled] = {}
    bits, missing, told = sum(map(_fixed_bits, map_.identify)), [], []
    for register in map_.registers:
        if _is_missing(register, first[register.span]):
            missing.append(register.key)
            continue
        judged = _judged(register, first, second)
        if judged is None:
            return None
        values[register.key] = judged
        bits += _bits(register, judged)
        told.append(f"{register.key} {judged} {register.unit}")
    if not values:
        return None
    return Fit(
        name=name,
        values=values,
        missing=tuple(missing),
        identity=_identity(map_.identify, first),
        bits=bits + (_TARIFF_BITS if _tariffs_add_up(values) else 0.0),
        told=", ".join(told),
    )


def verdict(fits: Sequence[Fit]) -> Verdict:
    """What the unit is, by all models that fit: of those that fit equally well, the one with most registers."""
    if not fits:
        return Verdict(model=None, sure=None, why="no model fits what it says")
    likeliest = max(fits, key=lambda each: (bool(each.identity), each.bits))
    close = [each for each in fits if bool(each.identity) == bool(likeliest.identity) and _is_close(each, likeliest)]
    best = max(close, key=lambda each: (len(each.values), -len(each.missing), each.bits))
    others = [each.name for each in close if each is not best and _contradict(each, best)]
    alike = tuple(each.name for each in close if each is not best and each.name not in others)
    seen = f"{best.told}; none fell or leapt at a second read"
    if best.missing:
        seen += f"; no value in {', '.join(best.missing)}"
    if others:
        names = ", ".join([best.name, *alike, *others])
        return Verdict(model=None, sure="possible", why=f"fits {names}, which read it differently; {best.name}: {seen}")
    if best.identity and not best.missing:
        return Verdict(model=best.name, sure="certain", why=f"{best.identity}; {seen}", alike=alike)
    if best.bits >= _LIKELY_BITS and not best.missing:
        return Verdict(model=best.name, sure="likely", why=seen, alike=alike)
    names = ", ".join([best.name, *alike])
    return Verdict(model=None, sure="possible", why=f"fits {names}, but says too little to tell; {seen}")


def sunspec(instance: int) -> Verdict:
    """A meter that describes itself."""
    return Verdict(model=SUNSPEC, sure="certain", why=f"it describes itself: meter {instance} of a SunSpec device")


def _is_missing(register: ModbusRegister, words: tuple[int, ...]) -> bool:
    return whole(words if register.form.order == "big" else words[::-1]) in register.form.not_available


def _judged(register: ModbusRegister, first: Words, second: Words) -> Scaled | None:
    """Its value; None for what no counter says."""
    try:
        before, after = register.value(first).index, register.value(second).index
    except WrongAnswerError:
        return None
    if before.digits < 0 or before > _MOST or not before <= after or after - before > _MOST_AT_ONCE:
        return None
    return None if _is_shifted(register, before, first[register.span]) else before


def _is_shifted(register: ModbusRegister, value: Scaled, words: tuple[int, ...]) -> bool:
    """Whether it looks like words in the wrong order: nothing in the low ones, or a float that is nearly nothing."""
    if register.form.is_float:
        return value.digits == 0 and any(words)
    ordered = words if register.form.order == "big" else words[::-1]
    return len(words) > 1 and not ordered[-1] & _LOW_WORD and any(ordered)


def _bits(register: ModbusRegister, value: Scaled) -> float:
    if value.digits == 0:
        return 0.0
    most = natural_modulus(register.form)
    if most is None:
        return _FLOAT_BITS
    return max(0.0, math.log2(most.fraction / _MOST.fraction))


def _identity(fixed: Sequence[FixedWords], words: Words) -> str:
    """The fixed words, where they hold enough."""
    bits = sum(_fixed_bits(each) for each in fixed)
    if bits < _IDENTITY_BITS:
        return ""
    return ", ".join(
        f"{each.says} at {each.address} is {''.join(f'{word:04x}' for word in words[each.span])}" for each in fixed
    )


def _fixed_bits(fixed: FixedWords) -> float:
    counting = 4 * len(fixed.one_of[0]) if fixed.mask is None else int(fixed.mask, 16).bit_count()
    return counting - math.log2(len(fixed.one_of))


def _tariffs_add_up(values: Mapping[str, Scaled]) -> bool:
    total = values.get("import")
    tariffs = [value for key, value in values.items() if key.startswith("import-t")]
    if total is None or not total.digits or len(tariffs) < 2:
        return False
    return sum((each.fraction for each in tariffs), start=-total.fraction) == 0


def _is_close(other: Fit, best: Fit) -> bool:
    return bool(best.identity) or best.bits - other.bits < _CLOSE


def _contradict(one: Fit, other: Fit) -> bool:
    """Whether the two read a register differently."""
    shared = one.values.keys() & other.values.keys()
    return not shared or any(_differ(one.values[key], other.values[key]) for key in shared)


def _differ(one: Scaled, other: Scaled) -> bool:
    """Whether it is more than a counter may have gone on between the two reads."""
    gap = abs(one.fraction - other.fraction)
    return gap > _MEANWHILE or gap > max(one.fraction, other.fraction) * _MEANWHILE_PART
