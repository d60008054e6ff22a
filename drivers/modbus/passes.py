"""How far a search has come and what is left of it. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drivers.modbus.speeds import Speed
from gateway.ports.field import ScanRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNITS = tuple(range(1, 248))
DIRECT = 255
"""of a meter with a network socket of its own (Messaging on TCP/IP V1.0b, 4.4.2.6)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Once through all units."""

    speed: Speed
    is_patient: bool
    """as long as the slowest meters need is waited for those that nobody has heard at this speed; else briefly"""


@dataclass(slots=True, kw_only=True)
class Going:
    """How far a search has come."""

    left: list[Pass]
    """the first is under way"""
    wanted: tuple[int, ...]
    """units to ask, ascending"""
    unit: int = 0
    """the next one: those before it have been asked"""
    only: tuple[int, ...] = ()
    """where one device answers for all: as which it is asked in this pass"""
    found: list[tuple[int | None, int]] = field(default_factory=list)
    """baud rate and unit: at another parity it is the same one"""
    damaged: list[tuple[int | None, str | None, int]] = field(default_factory=list)
    """baud rate, parity and unit"""
    done: float = 0.0
    """seconds that what is done takes where nobody answers"""
    percent: int = 0
    """of the way, as it was told last: it never falls"""

    def units(self) -> Iterator[int]:
        """Who is still to be asked in this pass."""
        return (unit for unit in self.only or self.wanted if unit >= self.unit and self._is_open(unit, self.left[0]))

    def seconds_left(self, cost: Callable[[Pass], float]) -> float:
        """By what a question costs that nobody answers."""
        now = cost(self.left[0]) * sum(1 for _ in self.units())
        return now + sum(cost(later) * len(self.wanted) for later in self.left[1:])

    def progress(self, cost: Callable[[Pass], float]) -> tuple[int, float]:
        """How much of the way is done in percent, and the seconds left."""
        left = self.seconds_left(cost)
        self.percent = max(self.percent, int(100 * self.done / (self.done + left)))
        return self.percent, left

    def next_pass(self, *, heard: bool) -> None:
        """Go on to the next. Where anything was heard, slow meters are looked for as well."""
        before, *self.left = self.left
        patient = Pass(speed=before.speed, is_patient=True)
        if heard and not self.only and not before.is_patient and patient not in self.left:
            brief = [each for each in self.left if not each.is_patient]
            self.left.insert(len(brief), patient)
        self.unit, self.only = 0, ()

    def answers_for_all(self, only: tuple[int, ...]) -> None:
        """One device answers for every unit: no other is looked for at this baud rate."""
        now, *later = self.left
        self.only = only
        self.left = [now, *(each for each in later if each.speed.baud != now.speed.baud)]

    def _is_open(self, unit: int, at: Pass) -> bool:
        speed = at.speed
        return (speed.baud, unit) not in self.found and (speed.baud, speed.parity, unit) not in self.damaged

    def dump(self) -> str:
        """All but the wanted units as text, to go on from here another day."""
        left = [(each.speed.baud, each.speed.parity, each.speed.stopbits, each.is_patient) for each in self.left]
        kept = {"left": left, "unit": self.unit, "only": self.only, "found": self.found, "damaged": self.damaged}
        return json.dumps({**kept, "done": self.done, "percent": self.percent})


def begun(passes: list[Pass], wanted: tuple[int, ...], rest: str) -> Going:
    """At the beginning, or where `rest` of an earlier search says; ScanRefusedError."""
    if not rest:
        return Going(left=passes, wanted=wanted)
    try:
        return _resumed(json.loads(rest), wanted)
    except (ValueError, KeyError, TypeError) as error:
        message = "what is kept of the earlier search cannot be read; search from the beginning"
        raise ScanRefusedError(message) from error


def _resumed(kept: dict[str, Any], wanted: tuple[int, ...]) -> Going:
    return Going(
        left=[
            Pass(speed=Speed(baud=baud, parity=parity, stopbits=stopbits), is_patient=bool(is_patient))
            for baud, parity, stopbits, is_patient in kept["left"]
        ],
        wanted=wanted,
        unit=int(kept["unit"]),
        only=tuple(map(int, kept["only"])),
        found=[(baud, int(unit)) for baud, unit in kept["found"]],
        damaged=[(baud, parity, int(unit)) for baud, parity, unit in kept["damaged"]],
        done=float(kept["done"]),
        percent=int(kept["percent"]),
    )
