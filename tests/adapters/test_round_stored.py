"""What the rounds of a line with very many meters cost the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from gateway.clock import SteppedClock
from gateway.core.event import Alarm
from gateway.ports.field import NoAnswerError
from gateway.service.poll import Line, Poller
from gateway.store import Store
from gateway.store.writer import Priority
from tests.adapters.test_store_writer import PATIENCE, Gate
from tests.core.polling import QUARTER, Field, at

if TYPE_CHECKING:
    from sqlalchemy import Connection

METERS = tuple(f"m-{number:03}" for number in range(100))
SILENT = Alarm(code="meter_silent", source="m-042", severity="warning", since=at(-60), text="x")


async def test_a_hundred_meters_tell_what_is_over_and_what_begins_in_one_transaction_each_round(store_url: str) -> None:
    field, clock = Field(), SteppedClock()
    async with Store(store_url) as store:
        await store.raise_alarm(SILENT)
        commits: list[Connection] = []
        event.listen(store.writer._engine, "commit", commits.append)  # noqa: SLF001 - counted where it happens
        line = Line(id="line", poll=QUARTER, meters=METERS)
        poller = Poller(line, field, clock=clock, store=store, alarms=store, boot="boot", beat=lambda: None)
        spent = []
        for minutes in (0, 15, 30):
            await clock.step(at(minutes))
            await poller._round(at(minutes))  # noqa: SLF001 - one round, without its deadline
            spent.append(len(commits))
            commits.clear()
            field.errors = {meter: NoAnswerError("silent") for meter in METERS if minutes == 15}
        told = await store.open_alarms()
    assert spent == [2, 1, 1]
    assert {(alarm.code, alarm.source) for alarm in told} == {
        *(("meter_status", meter) for meter in METERS),
        *(("meter_silent", meter) for meter in METERS),
    }


async def test_a_round_that_waits_to_be_kept_at_the_stop_is_kept(store_url: str) -> None:
    """The disk is busy with another write when the gateway is told to end."""
    field, clock, gate = Field(), SteppedClock(), Gate()
    async with Store(store_url) as store:
        line = Line(id="line", poll=QUARTER, meters=("a", "b"))
        poller = Poller(line, field, clock=clock, store=store, alarms=store, boot="boot", beat=lambda: None)
        await clock.step(at(0))
        busy = asyncio.ensure_future(store.writer.submit(Priority.TAP, gate))
        await asyncio.to_thread(gate.reached.wait)
        task = asyncio.ensure_future(poller.run())
        async with asyncio.timeout(PATIENCE):
            while not store.writer._jobs:  # noqa: ASYNC110, SLF001 - turns of the event loop, until the round waits
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await busy
        assert sorted(await store.readings(["a", "b"], at(0), at(0))) == [("a", "import"), ("b", "import")]
