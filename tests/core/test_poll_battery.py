"""Meters with a battery are read as seldom as it bears."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.ports.field import NoAnswerError
from gateway.service.battery import Budget
from gateway.service.poll import Line
from tests.core.polling import QUARTER, Field, Plant, at, polling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.ports.health import LineHealth


@pytest.fixture
async def spared(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Plant]:
    """A line that is polled each minute; the battery of meter b is made for 100 reads a day."""
    caplog.set_level(logging.INFO)
    line = Line(id="line", poll=timedelta(minutes=1), meters=("a", "b"), budgets={"b": Budget(reads=100, bears=100)})
    async with polling(line) as plant:
        yield plant


async def test_a_meter_is_read_no_more_often_than_its_battery_is_made_for(
    spared: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    await spared.clock.step(at(24 * 60 - 1))
    assert spared.field.asked.count("a") == 24 * 60
    times = [poll.at for polls in spared.book.rounds for poll in polls if poll.meter == "b"]
    assert times == [at(15 * quarter) for quarter in range(96)]
    assert [(each.meter, each.ok, each.spared) for each in spared.poller.counts().meters] == [
        ("a", 1440, 0),
        ("b", 96, 1440 - 96),
    ]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["b: read every 0:15:00 instead of 0:01:00 to spare a battery"]


async def test_a_meter_that_fails_spends_its_battery_all_the_same(spared: Plant) -> None:
    spared.field.errors["b"] = NoAnswerError("silent")
    await spared.clock.step(at(24 * 60 - 1))
    assert spared.field.asked.count("b") <= 96


class Repeating(Field):
    """A line on which every read of meter b takes two repeats."""

    def health(self) -> LineHealth:
        message = "a look at every meter of the line for each read"
        raise AssertionError(message)

    def repeats(self, meter: str) -> int:
        return self.asked.count(meter) * (2 if meter == "b" else 1)


async def test_repeats_count_as_reads_of_the_meter_that_needed_them() -> None:
    line = Line(id="line", poll=QUARTER, meters=("a", "b"), budgets={"b": Budget(reads=96, bears=96)})
    async with polling(line, Repeating()) as plant:
        await plant.clock.step(at(24 * 60 - 1))
    assert (plant.field.asked.count("b"), plant.poller.counts().meters[1].today) == (32, 96)
    assert plant.poller.counts().meters[0].bears is None


async def test_a_gateway_that_is_started_again_and_again_reads_a_meter_with_a_battery_no_more_often(
    spared: Plant,
) -> None:
    spared.task.cancel()
    line = Line(id="line", poll=QUARTER, meters=("a", "b"), budgets={"b": Budget(reads=24, bears=24)})
    for minute in range(0, 24 * 60, 7):
        _, task = spared.another(line)
        await spared.clock.step(at(minute + 6.5))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert spared.field.asked.count("b") <= 24
    assert spared.field.asked.count("a") > 96
