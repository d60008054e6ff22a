"""Answers heard before the clock was right are placed in time once it is.

A box without a battery boots in 1970, or at the moment at which it was switched off. What it reads then is kept at
once, under the time that the clock shows and marked as untrusted: nothing of that is ever billed. When the clock has
become right, the same answers are kept again, at the instants to which the monotonic clock counts back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from gateway.ports.clock import Clock

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.service.poll import Poll

LIMIT = 9000
"""as many readings of a line are remembered, about 4 MB: two days of fifteen meters at every quarter of an hour"""


class PlacingClock(Clock, Protocol):
    """The clock that becomes right."""

    def trusted(self) -> bool:
        """Whether the wall clock is known to be right."""


class Placing:
    """The answers of one line that have no right time yet. They are forgotten with the process."""

    def __init__(self, clock: PlacingClock) -> None:
        self._clock = clock
        self._heard: deque[tuple[float, Poll]] = deque()
        self._readings = 0

    def note(self, poll: Poll) -> None:
        """Remember an answer of this moment if its time is not trusted."""
        if not poll.clock_trusted:
            self._heard.append((self._clock.monotonic(), poll))
            self._readings += len(poll.readings)
        while self._readings > LIMIT:
            self._readings -= len(self._heard.popleft()[1].readings)

    def placed(self) -> list[Poll]:
        """What was remembered, at its right instants, each once; nothing as long as the clock is not trusted."""
        if not self._heard or not self._clock.trusted():
            return []
        now, elapsed = self._clock.now(), self._clock.monotonic()
        placed = [_at(poll, now - timedelta(seconds=elapsed - heard)) for heard, poll in self._heard]
        self._heard.clear()
        self._readings = 0
        return placed


def _at(poll: Poll, instant: datetime) -> Poll:
    readings = tuple(replace(reading, at=instant, clock_trusted=True) for reading in poll.readings)
    return replace(poll, at=instant, clock_trusted=True, readings=readings)
