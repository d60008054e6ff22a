"""kill -9 of the daemon at any moment of its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ordeal import ordeal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker


async def test_a_daemon_killed_fifty_times_loses_and_doubles_nothing(broker: Broker, tmp_path: Path) -> None:
    async with ordeal(tmp_path, broker) as one:
        await one.lives(50, seed=50)
        await one.conclude()
        await one.check()
