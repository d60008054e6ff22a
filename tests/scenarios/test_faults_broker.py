"""The broker of a whole gateway, killed while it is delivered to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.delivery import listening
from tests.ordeal import ordeal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker

KILLS = 20


async def test_a_broker_killed_twenty_times_costs_the_consumer_nothing(broker: Broker, tmp_path: Path) -> None:
    async with ordeal(tmp_path, broker) as one:
        async with one.living() as (daemon, clock):
            for _ in range(KILLS):
                async with listening(broker.host, broker.port) as ear:
                    assert await one.step(daemon, clock)
                    await ear.until(lambda ear=ear: ear.events())  # type: ignore[misc]
                    assert await one.step(daemon, clock)
                    broker.kill()  # in the middle of what it is told
                    broker.start()
        await one.conclude()
        await one.check()
