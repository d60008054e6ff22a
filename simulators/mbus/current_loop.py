"""What the master's receiver makes of the slaves' currents. Pure: times are seconds of whatever clock.

A slave sends by drawing current: about 1.5 mA for a mark (1), 11 to 20 mA more for a space (0) (M-Bus documentation
4.8, 4.2). Currents add up and the master only compares with a threshold, so a bus on which several slaves talk shows
a space wherever any of them sends one: the wired AND of their marks, bit by bit, each shifted by its own delay. The
receiver is a UART as in every adapter: it starts at an edge from mark to space and samples in the middle of the bits
(start, eight data bits with the lowest first, even parity, stop). So two E5 within half a bit of each other are
one good E5, and other collisions are octets that nobody sent, or octets lost to a wrong parity or stop bit.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulators.pace import Arrival

BITS = 11
"""of an octet: start, eight of data, parity, stop"""
_STOP_SAMPLE = 10.5
"""bits after the edge: from then on the receiver looks for the next edge"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Octets that one talker sends without a pause."""

    start: float
    octets: bytes
    bit: float
    """seconds"""

    @property
    def end(self) -> float:
        """When its last stop bit is over."""
        return self.start + len(self.octets) * BITS * self.bit

    def arrivals(self) -> list[Arrival]:
        """As a receiver at the same speed gets it when nobody else talks."""
        whole = BITS * self.bit
        return [(self.start + (i + 1) * whole, octet) for i, octet in enumerate(self.octets)]

    def spaces(self) -> list[tuple[float, float]]:
        """From when to when it draws the higher current."""
        found = []
        for i, octet in enumerate(self.octets):
            levels = (0, *((octet >> n) & 1 for n in range(8)), octet.bit_count() & 1, 1)
            edges = [n for n, (one, other) in enumerate(pairwise((1, *levels))) if one != other]
            base = self.start + i * BITS * self.bit
            found += [
                (base + low * self.bit, base + high * self.bit)
                for low, high in zip(edges[::2], edges[1::2], strict=True)
            ]
        return found


def overlay(talks: list[Talk], bit: float) -> list[Arrival]:
    """The octets that a receiver with this bit time gets; what its parity or stop bit shows to be wrong is lost."""
    spaces = _united(sorted(space for talk in talks for space in talk.spaces()))
    starts = [start for start, _ in spaces]
    found: list[Arrival] = []
    at = 0
    while at < len(starts):
        edge = starts[at]
        octet = _octet(spaces, starts, edge, bit)
        if octet is not None:
            found.append((edge + BITS * bit, octet))
        at = bisect_right(starts, edge + _STOP_SAMPLE * bit, lo=at + 1)
    return found


def _octet(spaces: list[tuple[float, float]], starts: list[float], edge: float, bit: float) -> int | None:
    levels = []
    for n in range(BITS):
        sample = edge + (n + 0.5) * bit
        space = bisect_right(starts, sample) - 1
        levels.append(0 if sample < spaces[space][1] else 1)
    start, *data, parity, stop = levels
    if start or not stop or sum(data) % 2 != parity:
        return None
    return sum(level << n for n, level in enumerate(data))


def _united(spaces: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Sorted intervals, those that touch made one; an overlap shorter than a thousandth of nothing is none."""
    found: list[tuple[float, float]] = []
    for start, end in spaces:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
