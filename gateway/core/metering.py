"""Meters, registers and their readings."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from gateway.core.units import Scaled

if TYPE_CHECKING:
    from datetime import datetime

Origin = Literal["measured", "stored", "manual", "substituted"]
EnergySource = Literal["electricity", "heating", "cooling", "hot_water", "cold_water"]
Component = Literal["energy", "volume", "cycle"]
Limit = Literal["max_per_day", "fuse", "pipe", "power"]
"""the key of the property data that says how much can flow"""
_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A device with one or more registers. Its name may change, its id never does."""

    id: str
    facility: str
    name: str
    serial: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One meter ends and another starts on the same links."""

    at: datetime
    final: Scaled
    start: Scaled
    serial: str = ""
    """of the new meter"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Another meter that answers where one did, while nobody has said what happened."""

    known: str
    """serial number of the one that answered first"""
    serial: str
    since: datetime
    """of its first reading after the last one of the other"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One counter of a meter."""

    id: str
    meter: str
    key: str
    """key of the register in the meter's model"""
    energy_source: EnergySource
    unit: str
    exponent: int
    """of the smallest step: -3 where `unit` is kWh and the meter counts Wh"""
    max_per_day: Scaled | None = None
    """the largest possible flow; a jump above it is an anomaly; without it no decrease is a rollover"""
    limit: Limit = "max_per_day"
    """what `max_per_day` follows from in the property data"""
    modulus: Scaled | None = None
    """the index at which it begins again at 0, whatever its readings say; None: as they say"""
    backflow: Scaled | None = None
    """a decrease up to this much holds the maximum"""
    exchanges: tuple[Exchange, ...] = ()
    serial: str = ""
    """of the meter before the first exchange; "" where that is not known, and its first reading says it"""

    @property
    def component(self) -> Component:
        """What a rate for this register prices."""
        return "volume" if self.unit in {"m3", "l"} else "energy"

    def named(self, at: datetime) -> str:
        """The serial number that property data give the meter which is there at the instant; "" where they do not."""
        before = [exchange for exchange in self.exchanges if exchange.at <= at]
        return max(before, key=lambda exchange: exchange.at).serial if before else self.serial

    def judging(self, stranger: Stranger | None) -> Register:
        """As if property data gave the number that is known to the meter in whose place the stranger answers."""
        if stranger is None:
            return self
        exchanges = sorted(self.exchanges, key=lambda exchange: exchange.at)
        place = bisect_right(exchanges, stranger.since, key=lambda exchange: exchange.at) - 1
        if place < 0:
            return replace(self, serial=stranger.known)
        exchanges[place] = replace(exchanges[place], serial=stranger.known)
        return replace(self, exchanges=tuple(exchanges))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The index of one register at one instant."""

    meter: str
    register: str
    """key of the register in the meter's model"""
    at: datetime
    index: Scaled
    unit: str
    obis: str = ""
    serial: str = ""
    status: int = 0
    origin: Origin = "measured"
    clock_trusted: bool = True
    boot: str = ""
    modulus: Scaled | None = None
    """the index at which its meter's model has it begin again at 0; None where the model cannot know"""


def same_serial(one: str, other: str) -> bool:
    """Whether both are one serial number, as a meter says it and as its label has it: `0012 3456` is 123456."""
    return one == other or bare_serial(one) == bare_serial(other)


def bare_serial(serial: str) -> str:
    """Without case, blanks and leading zeros: what two writings of one serial number have in common."""
    bare = "".join(serial.split()).casefold()
    return bare.lstrip("0") or bare[:1]


def rollover(
    start: Scaled, until: Scaled, modulus: Scaled | None, max_per_day: Scaled | None, passed: timedelta
) -> Scaled | None:
    """The modulus, where a counter passed it between two indexes; None where it did not, or could not in that time."""
    if modulus is None or max_per_day is None or not Scaled(0, 0) <= until < start < modulus:
        return None
    most = max_per_day.fraction * Fraction(passed // _MICROSECOND, _DAY // _MICROSECOND)
    return modulus if (until - start + modulus).fraction <= most else None


def counted(
    start: Scaled, until: Scaled, modulus: Scaled | None, max_per_day: Scaled | None, passed: timedelta
) -> Scaled:
    """What a counter counted between two indexes; negative where it fell and that was no rollover."""
    turned = rollover(start, until, modulus, max_per_day, passed)
    return until - start if turned is None else until - start + turned
