"""Answers heard before the clock was right are placed in time once it is.

A box without a battery boots in 1970, or at the moment at which it was switched off. What it reads then is kept at
once, under the time that the clock shows and marked as untrusted: nothing of that is ever billed. When the clock has
become right, the same answers are kept again, at the instants to which the monotonic clock counts back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.units import Scaled

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.core.metering import Reading
    from gateway.ports.clock import WallClock
    from gateway.service.polled import Poll

LIMIT = 9000
"""as many readings of a line are remembered, at most 4 MB: two days of fifteen meters at every quarter of an hour"""
_same = attrgetter("register", "index.exponent", "unit", "obis", "serial", "status", "origin", "boot", "modulus")
"""of a meter's reading, what is the same from answer to answer"""


class _Heard(NamedTuple):
    """An answer without its readings: of those only the digits are its own, as a line may be polled each second."""

    at: float
    """on the monotonic clock"""
    poll: Poll
    like: tuple[Reading, ...]
    """those of an earlier answer of the meter, which differ in time and digits only"""
    digits: tuple[int, ...]


class Placing:
    """The answers of one line that have no right time yet. They are forgotten with the process."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._heard: deque[_Heard] = deque()
        self._like: dict[str, tuple[Reading, ...]] = {}
        self._readings = 0

    def note(self, poll: Poll) -> None:
        """Remember an answer of this moment if its time is not trusted."""
        if not poll.clock_trusted:
            digits = tuple(reading.index.digits for reading in poll.readings)
            without = replace(poll, readings=())
            self._heard.append(_Heard(self._clock.monotonic(), without, self._alike(poll), digits))
            self._readings += len(digits)
        while self._readings > LIMIT:
            self._readings -= len(self._heard.popleft().digits)

    def placed(self) -> list[Poll]:
        """What was remembered, at its right instants, each once; nothing as long as the clock is not trusted."""
        if not self._heard or not self._clock.trusted():
            return []
        now, elapsed = self._clock.now(), self._clock.monotonic()
        placed = [_at(heard, now - timedelta(seconds=elapsed - heard.at)) for heard in self._heard]
        self._heard.clear()
        self._like.clear()
        self._readings = 0
        return placed

    def _alike(self, poll: Poll) -> tuple[Reading, ...]:
        like = self._like.get(poll.meter, ())
        if [*map(_same, like)] != [*map(_same, poll.readings)]:
            like = self._like[poll.meter] = poll.readings
        return like


def _at(heard: _Heard, instant: datetime) -> Poll:
    readings = tuple(
        replace(one, at=instant, index=Scaled(digits, one.index.exponent), clock_trusted=True)
        for one, digits in zip(heard.like, heard.digits, strict=True)
    )
    return replace(heard.poll, at=instant, clock_trusted=True, readings=readings)
