"""Disks that are full, read-only or do not answer, under the whole daemon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.delivery import listening
from tests.ordeal import DAY, START, ordeal

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

    from simulators.clock import Clock
    from tests.broker import Broker
    from tests.delivery import Ear
    from tests.ordeal import Ordeal
    from tests.torture.disk import LoopDisk, SmallDisk

FILLINGS = 3


def told(ear: Ear) -> str:
    """The last that the gateway has said about its health."""
    return (ear.last("state/health") or b"").decode()


async def all_read(one: Ordeal, ear: Ear) -> None:
    """Return once each poll so far has been delivered."""
    count = len(one.answered) * len(one.meters.truth.devices)
    await ear.until(lambda: len({(event["stream"], event["seq"]) for event in ear.events("readings/")}) >= count)


async def poll_until(enough: asyncio.Event, one: Ordeal, daemon: Process, clock: Clock) -> None:
    while not enough.is_set():
        assert await one.step(daemon, clock)


async def test_a_full_disk_is_told_at_once_and_everything_is_kept_once_there_is_room(
    broker: Broker, tmp_path: Path, small: SmallDisk
) -> None:
    async with ordeal(tmp_path, broker, home=small.folder) as one, listening(broker.host, broker.port) as ear:
        settings = tmp_path / "gateway.toml"
        settings.write_text(f"ballast_kb = 200\n{settings.read_text(encoding='utf-8')}", encoding="utf-8")
        async with one.living() as (daemon, clock):
            for _ in range(FILLINGS):
                assert await one.step(daemon, clock)
                with small.full():
                    enough = asyncio.Event()
                    polling = asyncio.create_task(poll_until(enough, one, daemon, clock))
                    await ear.until(lambda: "full" in told(ear))
                    enough.set()
                await polling  # the last of them may have waited for room: charges and retention do
                await all_read(one, ear)
                await ear.until(lambda: "full" not in told(ear))
        await one.conclude()
        await one.check()


async def test_a_disk_that_does_not_answer_is_told_and_waited_for(
    broker: Broker, tmp_path: Path, disk: LoopDisk
) -> None:
    async with ordeal(tmp_path, broker, disk) as one, listening(broker.host, broker.port) as ear:
        async with one.living() as (daemon, clock):
            assert await one.step(daemon, clock)
            with disk.stalled():
                stepping = asyncio.create_task(one.step(daemon, clock))
                await ear.until(lambda: "not answered" in told(ear))
                assert not stepping.done(), "a poll is not done before it is kept"
            assert await stepping
            await all_read(one, ear)
        await one.conclude()
        await one.check()


async def test_a_disk_that_becomes_read_only_is_told_at_once_and_takes_nothing_that_was_kept(
    broker: Broker, tmp_path: Path, disk: LoopDisk
) -> None:
    async with ordeal(tmp_path, broker, disk) as one, listening(broker.host, broker.port) as ear:
        async with one.living() as (daemon, clock):
            for _ in range(3):
                assert await one.step(daemon, clock)
            disk.abort()
            stepping = asyncio.create_task(one.step(daemon, clock))
            await ear.until(lambda: "read-only" in told(ear) or "disk fails" in told(ear))
        await stepping
        disk.repair()
        one.at = START + 3 * DAY  # what was read then waited in memory only
        one.answered = one.answered[:3]
        await one.conclude()
        await one.check()
