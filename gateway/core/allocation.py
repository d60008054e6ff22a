"""Sharing a common register: scope x key -> coefficients, and the split that preserves the sum."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from gateway.core.units import Scaled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.building import Key, Scope

PERCENT = Fraction(100)


class KeysExceedBuildingError(ValueError):
    """The units' values of the key add up to more than the building's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Each point's numerator over the common denominator; what is left of 1 is the remainder."""

    numerators: Mapping[str, Fraction]
    denominator: Fraction

    def of(self, point: str) -> Fraction:
        """The point's share, 0 where the denominator is 0."""
        return self.numerators[point] / self.denominator if self.denominator else Fraction(0)

    @property
    def remaining(self) -> Fraction:
        """The numerator of the remainder: 0 in Unit scope, unless nothing has any weight."""
        return self.denominator - sum(self.numerators.values(), Fraction(0))

    @property
    def remainder(self) -> Fraction:
        """The share that no point takes."""
        return self.remaining / self.denominator if self.denominator else Fraction(1)


def coefficients(scope: Scope, key: Key, building: Fraction | None, weights: Mapping[str, Fraction]) -> Coefficients:
    """The coefficients of linked points with these values of the key.

    Building scope: over the building's own value (100 for percentages), KeysExceedBuildingError where the points take
    more. Unit scope: over the sum of the linked points.
    """
    total = sum(weights.values(), Fraction(0))
    if scope == "unit":
        return Coefficients(numerators=dict(weights), denominator=total)
    denominator = PERCENT if key == "percentage" else building
    if denominator is None or total > denominator:
        message = f"the units take {total} of {denominator}"
        raise KeysExceedBuildingError(message)
    return Coefficients(numerators=dict(weights), denominator=denominator)


def split(total: int, shares: Sequence[Fraction]) -> list[int]:
    """`total` whole quanta over shares that add up to 1, the sum preserved.

    Largest remainder: floors, then the spare quanta by larger fraction, ties to the earlier; a share of 0 never
    receives; a negative total mirrors the positive one.
    """
    if total < 0:
        return [-part for part in split(-total, shares)]
    exact = [share * total for share in shares]
    parts = [part.__floor__() for part in exact]
    order = sorted(range(len(shares)), key=lambda place: (parts[place] - exact[place], place))
    for place in order[: total - sum(parts)]:
        parts[place] += 1
    return parts


def split_money(amount: Scaled, quantum: Scaled, weights: Mapping[str, Fraction]) -> dict[str, Scaled]:
    """`amount` over weights in whole quanta, ties to the lower id; ValueError without any weight."""
    names = sorted(weights)
    whole = sum(weights.values(), Fraction(0))
    if not whole:
        message = "nobody has any weight: the amount cannot be split"
        raise ValueError(message)
    count = amount.fraction / quantum.fraction
    if count.denominator != 1:
        message = f"{amount} is not a whole number of {quantum}"
        raise ValueError(message)
    parts = split(count.numerator, [weights[name] / whole for name in names])
    return {name: Scaled(part * quantum.digits, quantum.exponent) for name, part in zip(names, parts, strict=True)}
