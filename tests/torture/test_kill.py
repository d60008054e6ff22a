from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ordeal import ordeal
from tests.scenarios.test_faults_tap import killed_during_washes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker
    from tests.ordeal import Progress

MOST = 30
"""washes, one a day, in the month"""


async def test_a_daemon_killed_again_and_again_loses_and_doubles_nothing(
    broker: Broker, tmp_path: Path, lives: int, progress: Progress
) -> None:
    async with ordeal(tmp_path, broker) as one:
        await one.lives(lives, seed=200, progress=progress)
        await one.conclude()
        await one.check()


async def test_a_daemon_killed_again_and_again_during_taps_bills_each_wash_once(
    broker: Broker, tmp_path: Path, lives: int, progress: Progress
) -> None:
    await killed_during_washes(tmp_path, broker, min(lives // 10, MOST), seed=30, progress=progress)
