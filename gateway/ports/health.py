"""How the conversations on a line have gone: what a driver counts for whoever looks after the line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterHealth:
    """The conversations with one meter since the start."""

    meter: str
    reads: int
    """that gave an answer"""
    failed: int
    requests: int
    repeats: int
    """of these, how many asked once more for what had not come"""
    damaged: int
    """requests after which something came that was no answer to be believed"""
    unasked: int
    """times that something still came when its conversation was over: late, or twice"""
    ms: int | None
    """that the last good read has taken"""
    wire_ms: int | None
    """that the octets of that read are under way at the line's speed, with the shortest pause before each answer"""
    today: int | None = None
    """reads and repeats of this day; None where no battery is to be spared"""
    bears: int | None = None
    """of these, how many a day the batteries of the line are made for"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineHealth:
    """The conversations on one line since the start."""

    baud: int
    echo: bool
    """whether what is sent comes back"""
    meters: tuple[MeterHealth, ...]


@runtime_checkable
class Observed(Protocol):
    """A line that counts."""

    def health(self) -> LineHealth:
        """What has been counted so far."""

    def repeats(self, meter: str) -> int:
        """`MeterHealth.repeats` of one meter, which is asked for before and after every read."""
