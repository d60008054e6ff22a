"""The broker of a whole gateway, killed while it is delivered to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.delivery import listening
from tests.ordeal import DAY, START, consuming, ordeal, unseen

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker
    from tests.ordeal import Ordeal, Progress

KILLS = 20
CLOSED = START + 34 * DAY
"""the month is closed"""


async def kills(one: Ordeal, count: int, progress: Progress = unseen) -> None:
    """Let one life of the gateway see its broker die so many times, in the middle of what it is told."""
    async with one.living() as (daemon, clock):
        for number in range(count):
            async with listening(one.broker.host, one.broker.port) as ear:
                assert await one.step(daemon, clock)
                await ear.any_event()
                assert await one.step(daemon, clock)
                one.broker.kill()
                one.broker.start()
            progress(number + 1, count)


async def test_a_broker_killed_twenty_times_costs_the_consumer_nothing(broker: Broker, tmp_path: Path) -> None:
    async with ordeal(tmp_path, broker) as one:
        await kills(one, KILLS)
        await one.conclude()
        await one.check()


async def test_what_a_broker_had_confirmed_when_it_was_killed_reaches_a_consumer_that_never_asks(
    broker: Broker, tmp_path: Path
) -> None:
    async with ordeal(tmp_path, broker, consumed=False) as one:
        async with listening(broker.host, broker.port) as ear, one.living() as (daemon, clock):
            while one.at < CLOSED:
                assert await one.step(daemon, clock)
            polls = len(one.answered) * len(one.meters.truth.devices)
            await ear.until(lambda: len(ear.events("readings/")) >= polls and bool(ear.events("charges/")))
        broker.kill()
        broker.start()
        async with consuming(one, ASKS="no"):
            await one.conclude()
        await one.check()
