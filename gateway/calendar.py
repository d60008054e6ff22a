"""The calendar of the box: rings bells at civil times.

It decides nothing: a worker that is rung looks at the clock for what is due, and looks without being rung, too.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

SIGN_OF_LIFE = 30.0
HOURLY = {"hour": "0-1,3-23", "minute": 7}
"""not between two and three: that hour comes twice, or not at all, when the clocks change"""
NIGHTLY = {"hour": 4, "minute": 17}


class Bell(Protocol):
    """What wakes a worker."""

    def ring(self) -> None:
        """Wake it, or spare it its next wait."""


class Calendar:
    """The worker that rings."""

    def __init__(self, *, hourly: Bell, nightly: Bell, beat: Callable[[], None], zone: ZoneInfo | None = None) -> None:
        """`beat` is called at every sign of life; the box's own time zone holds where none is given."""
        self._beat = beat
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # every ring would be told
        self.scheduler = AsyncIOScheduler(
            job_defaults={"coalesce": True, "misfire_grace_time": None}, **({} if zone is None else {"timezone": zone})
        )
        self.scheduler.add_job(_ring, CronTrigger(**HOURLY, timezone=self.scheduler.timezone), [hourly], id="hourly")
        self.scheduler.add_job(_ring, CronTrigger(**NIGHTLY, timezone=self.scheduler.timezone), [nightly], id="nightly")

    async def run(self) -> None:
        """Ring until cancelled."""
        self.scheduler.start()
        try:
            while True:
                self._beat()
                await asyncio.sleep(SIGN_OF_LIFE)
        finally:
            self.scheduler.shutdown(wait=False)


async def _ring(bell: Bell) -> None:
    """In the event loop: a plain function would be run in a thread."""
    bell.ring()
