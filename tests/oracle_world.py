"""A building as plain data for tests/oracle.py: numbers are `Fraction`, instants UTC, dates mean 00:00 local."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction as F  # noqa: N817 - as in the oracle

Dated = list[tuple[date | None, F]]
"""Values from a day on, the first since ever, in order of time."""


@dataclass(kw_only=True)
class Reading:
    at: datetime
    value: F
    quality: str = "measured"
    """Or stored, manual, substituted."""
    trusted: bool = True
    serial: str = ""
    """What the meter calls itself."""


@dataclass(kw_only=True)
class Exchange:
    at: datetime
    final: F
    start: F
    serial: str = ""
    """Of the new meter, where it was written down."""


@dataclass(kw_only=True)
class Register:
    id: str
    resolution: F
    max_per_day: F
    modulus: F | None = None
    backflow: F = F(0)
    serial: str = ""
    """Of its meter before any exchange, where it is known."""
    readings: list[Reading] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)


@dataclass(kw_only=True)
class Point:
    id: str
    building: str
    badges: bool = False
    """Its use belongs to badges: what nobody pays is unattributed instead of vacant."""
    values: dict[str, Dated] = field(default_factory=dict)


@dataclass(kw_only=True)
class Stay:
    point: str
    user: str
    entry: date
    exit: date | None = None
    """The last day that is paid."""


@dataclass(kw_only=True)
class Owner:
    of: str
    """A point, a building or the facility (`""`)."""
    user: str
    since: date | None = None
    """Until the next owner of the same."""


@dataclass(kw_only=True)
class Link:
    id: str
    register: str
    point: str
    since: date | None = None
    until: date | None = None
    scope: str | None = None
    key: str | None = None
    values: Dated = field(default_factory=list)
    """Instead of the point's own."""


@dataclass(kw_only=True)
class Price:
    points: tuple[str, ...]
    """Empty: all."""
    price: F
    since: date | None = None
    until: date | None = None


@dataclass(kw_only=True)
class World:
    zone: str
    quantum: F
    buildings: dict[str, dict[str, Dated]]
    points: list[Point]
    stays: list[Stay]
    owners: list[Owner]
    registers: list[Register]
    links: list[Link]
    prices: list[Price]
