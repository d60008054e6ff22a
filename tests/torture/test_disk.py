"""Disks that are full, read-only or do not answer, under the whole daemon."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.delivery import listening
from tests.ordeal import DAY, START, ordeal
from tests.scenarios.test_store_refuses import said

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from datetime import datetime
    from pathlib import Path

    from simulators.clock import Clock
    from tests.broker import Broker
    from tests.delivery import Ear
    from tests.ordeal import Ordeal, Progress
    from tests.torture.disk import LoopDisk, SmallDisk

MOST = 40
"""fillings: more of them would show nothing new"""
AT_ONCE = 10
"""polls on a full disk before it is told, at most: what the log has room for, and a word that is under way"""
RESUMED = 60
"""seconds after which everything is stored again, once it can be"""
CLOSED = START + 33 * DAY
"""two days after the end of the month"""
WAITING = 10 * DAY
"""days of polls that wait in memory together"""
BALLAST = "ballast_kb = 200\n"
"""so that a small disk is soon full"""


def storing(ear: Ear) -> bool:
    """Whether the gateway has last said that it can store."""
    return bool(json.loads(ear.last("state/health") or b'{"storing": true}')["storing"])


def told(ear: Ear) -> str:
    """What the gateway has last said about its health."""
    return (ear.last("state/health") or b"").decode()


async def resumed(one: Ordeal, ear: Ear, since: int = 0) -> None:
    """Return once each poll has been delivered but so many, and the gateway says that it is well."""
    count = (len(one.answered) - since) * len(one.meters.truth.devices)
    async with asyncio.timeout(RESUMED):
        await ear.until(lambda: len({(event["stream"], event["seq"]) for event in ear.events("readings/")}) >= count)
        await ear.until(lambda: storing(ear))


def little_ballast(folder: Path) -> None:
    settings = folder / "gateway.toml"
    settings.write_text(BALLAST + settings.read_text(encoding="utf-8"), encoding="utf-8")


async def poll_beyond(until: datetime, one: Ordeal, daemon: Process, clock: Clock) -> None:
    while one.at <= until:
        assert await one.step(daemon, clock)


async def filled(small: SmallDisk, one: Ordeal, ear: Ear, daemon: Process, clock: Clock) -> None:
    """Poll on a disk that is full, and stays so, until the gateway says so."""
    with small.full():
        for _ in range(AT_ONCE):
            small.fill_up()  # what writing the log back has made free
            polling = asyncio.create_task(one.step(daemon, clock))
            hearing = asyncio.create_task(ear.until(lambda: not storing(ear)))
            await asyncio.wait({polling, hearing}, return_when=asyncio.FIRST_COMPLETED)
            hearing.cancel()
            if not storing(ear):
                break
            assert await polling
        else:
            pytest.fail("a full disk is not told")
    assert await polling  # it may have waited for room: charges and retention do


async def test_a_full_disk_is_told_at_once_and_everything_is_kept_once_there_is_room(
    broker: Broker, tmp_path: Path, small: SmallDisk, lives: int, progress: Progress
) -> None:
    fillings = min(lives // 10, MOST)
    async with ordeal(tmp_path, broker, home=small.folder) as one:
        little_ballast(tmp_path)
        async with one.living() as (daemon, clock):
            for number in range(fillings):
                async with listening(broker.host, broker.port) as ear:
                    before = len(one.answered)
                    assert await one.step(daemon, clock)
                    await filled(small, one, ear, daemon, clock)
                    await resumed(one, ear, before)
                progress(number + 1, fillings)
        await one.conclude()
        await one.check()


async def test_what_falls_due_on_a_full_disk_is_done_once_there_is_room(
    broker: Broker, tmp_path: Path, small: SmallDisk
) -> None:
    async with ordeal(tmp_path, broker, home=small.folder) as one, listening(broker.host, broker.port) as ear:
        little_ballast(tmp_path)
        async with one.living() as (daemon, clock):
            while one.at < CLOSED - WAITING:
                assert await one.step(daemon, clock)
        with ExitStack() as filled:
            filled.enter_context(small.full())
            async with one.living() as (daemon, clock):
                going = asyncio.create_task(poll_beyond(CLOSED, one, daemon, clock))
                await said(daemon, "Tried again")  # retention, or what settles
                await ear.until(lambda: not storing(ear))
                assert not going.done(), "what is due is not done before it is kept"
                filled.close()
                await going
                await resumed(one, ear)
                await ear.until(lambda: bool(ear.events("charges/")))
        await one.conclude()
        await one.check()


async def test_a_gateway_that_starts_on_a_full_disk_reads_and_keeps_everything_once_there_is_room(
    broker: Broker, tmp_path: Path, small: SmallDisk
) -> None:
    async with ordeal(tmp_path, broker, home=small.folder) as one, listening(broker.host, broker.port) as ear:
        little_ballast(tmp_path)
        async with one.living() as (daemon, clock):
            assert await one.step(daemon, clock)
        with ExitStack() as filled:
            filled.enter_context(small.full())
            async with one.living() as (daemon, clock):
                assert await one.step(daemon, clock)
                assert await one.step(daemon, clock)
                await ear.until(lambda: not storing(ear))
                filled.close()
                await resumed(one, ear)
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
            await resumed(one, ear)
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
