"""Time as the daemon sees it. `datetime.now` is banned everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """The present instant, timezone-aware, UTC. May be stepped from outside in simulations."""

    def monotonic(self) -> float:
        """Seconds that never jump and are never accelerated: for bus, relay and network time-outs."""


class WallClock(Clock, Protocol):
    """The clock of the day, which may be wrong: nothing is billed by a time that is not trusted."""

    def trusted(self) -> bool:
        """Whether the wall clock is known to be right."""


class Waiter(Protocol):
    """Waiting for an instant of the same clock."""

    async def until(self, instant: datetime) -> None:
        """Return once `Clock.now()` has reached `instant` (at once if it has), or the clock was set back."""
