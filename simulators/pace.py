"""Delivers octets at their time, by the event loop's clock and without drift: each group has a deadline of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Arrival = tuple[float, int]
"""when an octet is whole, and the octet"""

GRAIN = 0.002
"""seconds: octets that are due within it are handed over together, when the last of them is due"""


class Source(Protocol):
    """Where octets come from. Pure: it is told the time."""

    def due(self, grain: float) -> float | None:
        """When the next group is whole; None while nothing is under way."""

    def take(self, now: float) -> bytes:
        """What is due."""


class Arrivals:
    """Octets under way, in the order in which they arrive."""

    def __init__(self) -> None:
        self._octets: deque[Arrival] = deque()

    def add(self, arrivals: Iterable[Arrival]) -> None:
        """More of them, those that come later than what is there or in between."""
        self._octets.extend(arrivals)
        self._octets = deque(sorted(self._octets, key=lambda arrival: arrival[0]))

    def cut(self, start: float) -> None:
        """Forget what comes later than that."""
        while self._octets and self._octets[-1][0] > start:
            self._octets.pop()

    def due(self, grain: float) -> float | None:
        """See `Source`."""
        if not self._octets:
            return None
        group = self._octets[0][0] + grain
        last = self._octets[0][0]
        for at, _ in self._octets:
            if at > group:
                break
            last = at
        return last

    def take(self, now: float) -> bytes:
        """See `Source`."""
        taken = bytearray()
        while self._octets and self._octets[0][0] <= now:
            taken.append(self._octets.popleft()[1])
        return bytes(taken)

    def clear(self) -> None:
        """Forget all of them."""
        self._octets.clear()


class Pacer:
    """Hands a source's octets to `put`. To be told by `look` whenever the source has got something."""

    def __init__(self, source: Source, put: Callable[[bytes], None], *, grain: float = GRAIN) -> None:
        self._source = source
        self._put = put
        self._grain = grain
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def look(self) -> None:
        """Set the timer to what is due next."""
        self.stop()
        due = self._source.due(self._grain)
        if due is not None:
            self._idle.clear()
            self._timer = asyncio.get_running_loop().call_at(due, self._deliver)

    def stop(self) -> None:
        """Deliver no more until the next `look`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._idle.set()

    def _deliver(self) -> None:
        timer = self._timer
        now = asyncio.get_running_loop().time()
        octets = self._source.take(max(now, timer.when() if timer is not None else now))
        if octets:
            self._put(octets)
        self.look()

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        await self._idle.wait()
