"""Delivers octets at their time, by the event loop's clock and without drift: each group has a deadline of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

GRAIN = 0.002
"""seconds: octets that are due within it are handed over together, when the last of them is due"""


class Source(Protocol):
    """Where octets come from. Pure: it is told the time."""

    def due(self, grain: float) -> float | None:
        """When the next group is whole; None while nothing is under way."""

    def take(self, now: float) -> bytes:
        """What is due."""


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
