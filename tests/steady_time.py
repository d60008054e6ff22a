"""An event loop whose time stands still while the machine does: what has arrived comes before the time-out for it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectors import BaseSelector, SelectorKey

STEP = 0.01
"""seconds: a turn of the loop counts as no more, and a wait that took so much too long is looked at again"""


class SteadyTime(asyncio.SelectorEventLoop):
    """Only a wait that nothing ends takes its whole time; all else takes a moment, however busy the machine is.

    For both ends of a conversation in one process: a process that gets no turn for a second is late on both of them,
    and a reply that was under way beats its time-out nevertheless. What has to come from another process has no such
    shelter.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now, last = 0.0, time.monotonic()
        selector: BaseSelector = vars(self)["_selector"]  # asyncio has no public way to it
        select = selector.select

        def wait(timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
            nonlocal last
            begun = time.monotonic()
            ready = select(timeout)
            if not ready and timeout and time.monotonic() - begun > timeout + STEP:
                ready = select(STEP)  # the machine stood still: what came meanwhile is under way
            waited = 0.0 if ready or timeout is None else max(timeout, 0.0)
            now = time.monotonic()
            self._now += waited or min(now - last, STEP)
            last = now
            return ready

        vars(selector)["select"] = wait

    def time(self) -> float:
        return self._now


class LoopClock:
    """The first of October, and the seconds of the running event loop."""

    def now(self) -> datetime:
        return datetime(2026, 10, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
