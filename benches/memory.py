"""How much memory the daemon takes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from benches import house, month
from benches.figure import Figure, say
from benches.plant import QUARTER, standing
from benches.process import peak_mb
from simulators.demo import SONNENHOF
from simulators.run import GRACE, POLL

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from benches.plant import Plant

LIMIT = 80.0
AFTER = timedelta(hours=6)


async def measure(folder: Path) -> Figure:
    """The most that was ever resident, in the demo's building and in a house of 60 meters, both after a closed month.

    VmHWM and not VmRSS: a small box without swap must have room for the peak, not for what is left of it.
    """
    demo, sixty = folder / "demo", folder / "sixty"
    for place in (demo, sixty):
        place.mkdir()
    peers = {"demo": await _demo(demo), "sixty_meters": await _sixty(sixty)}
    return Figure(name="rss_mb", unit="MB", value=max(peers.values()), limit=LIMIT, peers=peers, note="VmHWM")


async def _demo(folder: Path) -> float:
    """Every hour of the month is polled by the daemon."""
    async with standing(folder, SONNENHOF, poll=POLL) as plant:
        return await _after_the_close(plant, house.START, POLL)


async def _sixty(folder: Path) -> float:
    """The quarter hours of the month are in the store when the daemon starts; it polls and closes."""
    async with standing(folder, house.write(folder / "building", laundry=True), poll=QUARTER) as plant:
        await month.fill(plant, house.START, house.UNTIL, delivered=True)
        return await _after_the_close(plant, house.UNTIL + GRACE - AFTER, QUARTER)


async def _after_the_close(plant: Plant, at: datetime, poll: timedelta) -> float:
    await plant.consume()
    daemon = await plant.start()
    while at <= house.UNTIL + GRACE + AFTER:
        await plant.step(at)
        at += poll
    found = peak_mb(daemon.pid)
    say(f"  {plant.meters.truth.name}: {found:.1f} MB")
    return found
