"""An event loop that jumps to the next timer, so that hours of time-outs pass in a moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class VirtualTime(asyncio.SelectorEventLoop):
    """Never waits: where nothing is ready, it is at once as late as the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select: Callable[[float | None], object] = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None) -> object:
            self._now += timeout or 0.0
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now
