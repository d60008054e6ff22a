"""What is counted of the conversations with one meter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.ports.health import MeterHealth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.mbus.link import Timing

_REQUEST, _SELECTION, _CONFIRMATION = 5, 17, 1
"""octets"""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the master has counted of the one that it asked."""

    requests: int = 0
    repeats: int = 0
    damaged: int = 0
    unasked: int = 0


@dataclass(slots=True, kw_only=True)
class Reads:
    """What the reads of a meter have come to."""

    begun: int = 0
    good: int = 0
    ms: int | None = None
    wire_ms: int | None = None

    def note(self, seconds: float, wire: float) -> None:
        """A good read, and what the wire has needed for it."""
        self.good += 1
        self.ms, self.wire_ms = round(seconds * 1000), round(wire * 1000)

    def health(self, meter: str, tally: Tally) -> MeterHealth:
        """Both together."""
        return MeterHealth(
            meter=meter,
            reads=self.good,
            failed=self.begun - self.good,
            requests=tally.requests,
            repeats=tally.repeats,
            damaged=tally.damaged,
            unasked=tally.unasked,
            ms=self.ms,
            wire_ms=self.wire_ms,
        )


def wire_s(timing: Timing, answers: Sequence[int], *, selected: bool) -> float:
    """Seconds that a read is under way: answers of so many octets, each after the shortest pause of 11 bits."""
    sent = sum(_REQUEST + answer for answer in answers)
    pauses = len(answers)
    if selected:
        sent, pauses = sent + _SELECTION + _CONFIRMATION, pauses + 1
    return timing.octets(sent + pauses)
