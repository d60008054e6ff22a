from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ordeal import ordeal
from tests.scenarios.test_faults_broker import kills

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker
    from tests.ordeal import Progress


async def test_a_broker_killed_again_and_again_costs_the_consumer_nothing(
    broker: Broker, tmp_path: Path, lives: int, progress: Progress
) -> None:
    async with ordeal(tmp_path, broker) as one:
        await kills(one, lives // 2, progress)
        await one.conclude()
        await one.check()
