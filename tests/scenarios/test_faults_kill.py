"""kill -9 of the daemon at any moment of its work."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.ordeal import ordeal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker

LIVES = 50
LONGEST = {"poll": 30, "settle": 120, "deliver": 60}
"""as many things of a kind happen in a life, about"""


async def test_a_daemon_killed_fifty_times_loses_and_doubles_nothing(broker: Broker, tmp_path: Path) -> None:
    chance = random.Random(50)
    async with ordeal(tmp_path, broker) as one:
        await one.life(34)
        for number, where in enumerate(["poll", "settle", "deliver"] * LIVES):
            if len(one.places) == LIVES:
                break
            if where == "settle":
                await one.tell(dearer=number % 2 == 0)
            await one.life(3, f"kill {where} {chance.randint(1, LONGEST[where])}")
        await one.tell(dearer=False)
        await one.conclude()
        await one.check()
    died = {place.partition(":")[0] for place in one.places}
    assert died >= LONGEST.keys(), "it died in the middle of each kind of work"
