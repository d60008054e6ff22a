"""The calendar of the box: rings bells at civil times.

It decides nothing: a worker that is rung looks at the clock for what is due, and looks without being rung, too.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

# its triggers only: its scheduler would load process pools that nobody uses, a megabyte
from apscheduler.triggers.cron import CronTrigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from zoneinfo import ZoneInfo

LOOK_S = 30.0
HOURLY = {"hour": "0-1,3-23", "minute": 7}
"""not between two and three: that hour comes twice, or not at all, when the clocks change"""
NIGHTLY = {"hour": 4, "minute": 17}
_NEXT = timedelta(microseconds=1)


class Bell(Protocol):
    """What wakes a worker."""

    def ring(self) -> None:
        """Wake it, or spare it its next wait."""


class Calendar:
    """The worker that rings."""

    def __init__(
        self,
        *,
        hourly: Bell,
        nightly: Bell,
        now: Callable[[], datetime],
        beat: Callable[[], None],
        zone: ZoneInfo | None = None,
    ) -> None:
        """`beat` is called at every sign of life; the box's own time zone holds where none is given."""
        self._now = now
        self._beat = beat
        self._bells = (
            (CronTrigger(**HOURLY, timezone=zone), hourly),
            (CronTrigger(**NIGHTLY, timezone=zone), nightly),
        )
        self._looked = now()

    async def run(self) -> None:
        """Ring until cancelled."""
        while True:
            self._beat()
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Ring each bell of which a time has come since the last look, once however many have."""
        before, self._looked = self._looked, self._now()
        for trigger, bell in self._bells:
            if trigger.get_next_fire_time(None, before + _NEXT) <= self._looked:
                bell.ring()
