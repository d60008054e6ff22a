"""Power cuts: the store's file system drops all that was not flushed, at any moment of the daemon's work."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.ordeal import ordeal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker
    from tests.ordeal import Ordeal, Progress
    from tests.torture.disk import LoopDisk


async def test_power_cuts_lose_and_double_nothing(
    broker: Broker, tmp_path: Path, disk: LoopDisk, lives: int, progress: Progress
) -> None:
    async with ordeal(tmp_path, broker, disk) as one:
        await one.lives(lives, seed=1, how="cut", progress=progress)
        one.disk = None  # the last life ends in peace
        await one.conclude()
        await one.check()


async def test_the_control_of_the_power_cuts_a_store_that_does_not_flush_loses_polls(
    broker: Broker, tmp_path: Path, disk: LoopDisk
) -> None:
    async with ordeal(tmp_path, broker, disk) as one:
        await one.life(3, CARELESS="1")
        assert len(one.answered) == 3
        assert polls_kept(one) < 3 * len(one.meters.truth.devices), "the cut takes nothing: the other test is void"


def polls_kept(one: Ordeal) -> int:
    """The rows of the table; none where the cut has left no whole database."""
    try:
        with closing(sqlite3.connect(one.store / "gateway.db")) as connection:
            return int(connection.execute("SELECT count(*) FROM poll").fetchone()[0])
    except sqlite3.DatabaseError:
        return 0
