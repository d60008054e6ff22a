"""Facilities, buildings, billing points with their dated values, and the links of registers to points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gateway.core.period import ALWAYS, MIN, Period

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from gateway.core.units import Scaled

Key = Literal["percentage", "volume", "surface", "quotity", "people"]
Scope = Literal["building", "unit"]
PointKind = Literal["apartment", "villa", "commercial", "industrial", "parking", "charging", "laundry", "common"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """A value that changes on dates: (from, value) in order of time; `MIN` means since ever."""

    steps: tuple[tuple[datetime, Scaled], ...]

    def at(self, instant: datetime) -> Scaled | None:
        """The value that holds at the instant; None before the first."""
        held = [value for start, value in self.steps if start <= instant]
        return held[-1] if held else None

    @property
    def changes(self) -> tuple[datetime, ...]:
        """The instants at which it changes."""
        return tuple(start for start, _ in self.steps if start > MIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facility:
    """What is administered together: time zone, currency, billing calendar."""

    id: str
    name: str
    time_zone: str
    currency: str
    money_quantum: Scaled
    grace: timedelta
    boundary_tolerance: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """A building; its own values are the denominators of the Building scope."""

    id: str
    facility: str
    name: str
    values: Mapping[Key, Dated] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingPoint:
    """A building unit for which one statement per payer is made."""

    id: str
    building: str
    name: str
    kind: PointKind
    values: Mapping[Key, Dated] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A register attached to a billing point: direct without scope and key, else common."""

    id: str
    register: str
    point: str
    period: Period = ALWAYS
    scope: Scope | None = None
    key: Key | None = None
    value: Dated | None = None
    """overrides the point's value of the key"""
