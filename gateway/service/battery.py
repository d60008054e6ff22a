"""Reads that the batteries of a line are made for: never more in a day, and spread evenly over it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from gateway.ports.field import Selector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from gateway.ports.field import Driver

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
HOURLY = 24
"""reads a day of a meter with a battery, where its line is polled more often"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one meter may be read in a day."""

    reads: int
    """that are planned, at most"""
    bears: int
    """reads and repeats together"""


class Battery:
    """What one meter may still be read. A day begins at midnight UTC by the gateway's clock.

    Which deadlines are used follows from the time of day alone, so that a restart reads nothing again. The count of
    the day is kept in memory: it holds against repeats, and against a clock that is set back within the day.
    """

    def __init__(self, every: timedelta, budget: Budget | None) -> None:
        """`every`: the poll time of the line; `budget`: None where there is no battery to spare."""
        self.every = every if budget is None else spaced(every, budget.reads)
        """between two reads"""
        self.spared = 0
        """deadlines left out"""
        self.bears = None if budget is None else budget.bears
        self.today = 0
        """reads and repeats; what a day had too many is carried over"""
        self._day: date | None = None

    def spend(self, due: datetime) -> bool:
        """Whether the meter is read at this deadline; if so, that counts as one read."""
        if self.bears is None:
            return True
        midnight = due.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if midnight.date() != self._day:
            self._day, self.today = midnight.date(), max(0, self.today - self.bears)
        planned = -(-(DAY - (due - midnight)) // self.every)
        if self.today + planned > self.bears or (due - midnight) % self.every:
            self.spared += 1  # repeats are paid for at once: the last hours of the day are as good as the first
            return False
        self.today += 1
        return True

    def repeated(self, times: int) -> None:
        """So many repeats were needed beside the read itself."""
        self.today += times


@dataclass(frozen=True, slots=True, kw_only=True)
class Waking:
    """Selections on a line with batteries: each wakes every meter."""

    battery: str
    """the meter whose battery bears the fewest"""
    bears: int
    """selections a day"""
    wanted: Mapping[str, int]
    """meter that is selected -> reads a day, if no neighbour were to be spared"""

    @property
    def total(self) -> int:
        """Selections a day, if no neighbour were to be spared."""
        return sum(self.wanted.values())

    def share(self, meter: str) -> Budget:
        """What this meter may be read so that all selections together fit; at least once a day."""
        wanted, spare = self.wanted[meter], self.bears - self.total
        if spare >= 0:
            return Budget(reads=wanted, bears=wanted + spare // len(self.wanted))
        each = max(1, self.bears // len(self.wanted))
        return Budget(reads=min(wanted, each), bears=each)


def budgets(driver: Driver, poll: timedelta, meters: Mapping[str, BaseModel]) -> dict[str, Budget]:
    """Of the meters on one line that need to spare a battery, their own or a neighbour's."""
    found = {meter: Budget(reads=min(reads, HOURLY), bears=reads) for meter, reads in _own(driver, meters).items()}
    selections = waking(driver, poll, meters)
    if selections is not None:
        found |= {meter: selections.share(meter) for meter in selections.wanted}
    return found


def waking(driver: Driver, poll: timedelta, meters: Mapping[str, BaseModel]) -> Waking | None:
    """The selections on one line; None where there are none, or no battery that they wake."""
    if not isinstance(driver, Selector):
        return None
    bears = {meter: driver.selections_per_day(wiring) for meter, wiring in meters.items()}
    batteries = {meter: times for meter, times in bears.items() if times is not None}
    selected = [meter for meter, wiring in meters.items() if driver.selects(wiring)]
    if not batteries or not selected:
        return None
    own, polls = _own(driver, meters), -(-DAY // poll)
    wanted = {meter: -(-DAY // spaced(poll, min(own[meter], HOURLY))) if meter in own else polls for meter in selected}
    least = min(batteries, key=lambda meter: batteries[meter])
    return Waking(battery=least, bears=batteries[least], wanted=wanted)


def _own(driver: Driver, meters: Mapping[str, BaseModel]) -> dict[str, int]:
    reads = {meter: driver.reads_per_day(wiring) for meter, wiring in meters.items()}
    return {meter: each for meter, each in reads.items() if each is not None}


def spaced(every: timedelta, reads_per_day: int) -> timedelta:
    """The shortest multiple of `every` that fits so many times into a day.

    One that also divides an hour is preferred: months and prices begin at full hours of local time.
    """
    polls = -(-DAY // every)
    least = -(-polls // reads_per_day)
    aligned = (count * every for count in range(least, HOUR // every + 1) if not HOUR % (count * every))
    return next(aligned, least * every)
