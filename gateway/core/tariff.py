"""Rates: what a unit costs, for whom and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gateway.core.period import MIN, Period, local_date
from gateway.core.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from gateway.core.metering import Component, EnergySource, Register
    from gateway.core.units import Scaled

Priced = tuple["EnergySource", "Component", str]
"""what a price is for, and its unit"""
AmountIs = Literal["net", "gross"]
TaxCategory = Literal["S", "Z", "E", "O", "AE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tax:
    """EN 16931 category and rate in percent; whether prices include it."""

    category: TaxCategory
    rate: Scaled
    included: bool
    exemption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One version of a rate."""

    version: int
    period: Period
    price: Scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The price of one component of one energy source, for all points of a facility or for named ones."""

    id: str
    facility: str
    energy_source: EnergySource
    component: Component
    title: str
    unit: str
    tax: Tax
    prices: tuple[Price, ...]
    points: frozenset[str] = frozenset()
    """empty: all"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A rate and the version of its price that holds."""

    rate: Rate
    price: Price


def in_force(
    rates: Iterable[Rate], register: Register, point: str | None, period: Period
) -> list[tuple[Period, InForce | None]]:
    """The price of the register for the point (None: no point) over the period; None where there is none."""
    fitting = [rate for rate in rates if fits(rate, priced(register), point)]
    changes = [edge for rate in fitting for price in rate.prices for edge in (price.period.start, price.period.until)]
    found: list[tuple[Period, InForce | None]] = []
    for piece in period.cut(changes):
        held = _held(fitting, piece.start)
        if found and found[-1][1] == held:
            found[-1] = (Period(found[-1][0].start, piece.until), held)
        else:
            found.append((piece, held))
    return found


def price_at(rates: Iterable[Rate], kind: Priced, point: str | None, instant: datetime) -> InForce | None:
    """The price of this for the point at an instant; None where there is none."""
    return _held([rate for rate in rates if fits(rate, kind, point)], instant)


def priced(register: Register) -> Priced:
    """What a price of the register is for."""
    return register.energy_source, register.component, register.unit


def fits(rate: Rate, kind: Priced, point: str | None) -> bool:
    """Whether the rate, whenever it holds, prices this for the point."""
    return (rate.energy_source, rate.component, rate.unit) == kind and (not rate.points or point in rate.points)


def _held(rates: Sequence[Rate], instant: datetime) -> InForce | None:
    """A rate that names the point beats one for all."""
    held = [InForce(rate=rate, price=price) for rate in rates for price in rate.prices if instant in price.period]
    return max(held, key=lambda one: bool(one.rate.points), default=None)


def rate_overlaps(rates: Iterable[Rate], zone_of: Callable[[Rate], str]) -> list[Problem]:
    """A problem for every two prices of one component that hold for the same point at the same instant.

    `zone_of`: the time zone of a rate, in whose days it is told.
    """
    entries = [(rate, price) for rate in rates for price in rate.prices]
    entries.sort(key=lambda entry: (entry[1].period.start, entry[0].id))
    return [
        _overlap(first, second[0], second[1], zone_of(second[0]))
        for number, second in enumerate(entries)
        for first, price in entries[:number]
        if _same_ground(first, second[0]) and price.period.overlap(second[1].period)
    ]


def _overlap(first: Rate, second: Rate, price: Price, zone: str) -> Problem:
    start = price.period.start
    which = "the price since ever" if start == MIN else f"the price from {local_date(start, zone)} on"
    text = (
        f"{which} overlaps one of {first.id} for the same "
        f"{second.energy_source} {second.component}: end the earlier one first"
    )
    return Problem(code="rate_overlap", kind="rate", id=second.id, text=text, field="prices")


def _same_ground(one: Rate, other: Rate) -> bool:
    same = (one.facility, one.energy_source, one.component, one.unit) == (
        other.facility,
        other.energy_source,
        other.component,
        other.unit,
    )
    return same and (bool(one.points & other.points) or not (one.points or other.points))
