"""Machines that people start with a badge: what each wash takes, and what it must cost whom."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

CYCLES = " (cycles)"
"""behind a register's name: how often, beside how much"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A washing machine behind a reader and a relay."""

    id: str
    access_point: str
    line: str
    relay: int
    """address of its relay board on the line"""
    meter: str
    register: str
    """of its meter in the property data"""
    key: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wash:
    """Somebody holds a badge to the reader; with a green lamp, a wash follows."""

    machine: str
    register: str
    start: datetime
    until: datetime
    badge: str
    who: str
    place: str
    """whose flat the badge belongs to"""
    energy: int
    """thousandths of a kWh; 0 where the lamp shows red"""

    @property
    def lamp(self) -> str:
        """What the reader must show."""
        return "green" if self.energy else "red"

    def flown(self, at: datetime) -> int:
        """Thousandths of a kWh that it has taken by an instant."""
        if at <= self.start:
            return 0
        if at >= self.until:
            return self.energy
        return (self.energy * Fraction((at - self.start) / (self.until - self.start))).__floor__()
