"""Answers that need another key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.core.units import Scaled
from gateway.ports.field import UnreadableAnswerError
from gateway.service.poll import Line
from tests.core.polling import QUARTER, Plant, at, plant

if TYPE_CHECKING:
    from datetime import datetime

    import pytest

__all__ = ["plant"]


async def test_an_answer_that_needs_another_key_is_kept_as_it_came(plant: Plant) -> None:
    plant.field.errors["b"] = UnreadableAnswerError("the key does not fit", serial="17", status=2, raw=b"\x68\x01")
    await plant.clock.step(at(0))
    (polls,) = plant.book.rounds
    assert [(poll.meter, len(poll.readings), poll.raw) for poll in polls] == [
        ("a", 1, b"\x68"),
        ("b", 0, b"\x68\x01"),
        ("c", 1, b"\x68"),
    ]
    assert (polls[1].serial, polls[1].status, polls[1].at) == ("17", 2, at(0))
    assert ("raised", "meter_wrong", "b") in plant.book.alarms
    assert ("ended", "meter_wrong", "b") not in plant.book.alarms
    assert [(count.meter, count.ok, count.failed) for count in plant.poller.counts().meters] == [
        ("a", 1, 0),
        ("b", 0, 1),
        ("c", 1, 0),
    ]


async def test_answers_that_needed_another_key_are_read_at_their_own_time_once_it_fits(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    for minutes, raw in ((0, b"\x68\x01"), (15, b"\xff"), (30, b"\x68\x03")):
        plant.field.errors["b"] = UnreadableAnswerError("the key does not fit", serial="17", status=2, raw=raw)
        await plant.clock.step(at(minutes))
    plant.book.rounds.clear()
    del plant.field.errors["b"]
    await plant.clock.step(at(60))

    found = [(poll.meter, poll.at, poll.readings[0].index) for poll in plant.book.rounds[0] if poll.meter == "b"]
    assert found == [("b", at(0), Scaled(1, 0)), ("b", at(30), Scaled(3, 0)), ("b", at(45), Scaled(12345, -3))]
    assert all(reading.at == poll.at for poll in plant.book.rounds[0] for reading in poll.readings)
    assert "b: the answer of 2026-10-01T00:15:00+00:00 stays unread: it is of another meter" in caplog.messages
    assert [poll.meter for poll in plant.book.rounds[1]] == ["a", "b", "c"]
    (count,) = (count for count in plant.poller.counts().meters if count.meter == "b")
    assert (count.ok, count.failed) == (2, 3)


LINE = Line(id="line", poll=QUARTER, meters=("a", "b"))
OTHER_KEY = UnreadableAnswerError("the key does not fit", serial="17", status=2, raw=b"\x68\x01")


async def stopped(plant: Plant, task: asyncio.Task[None], minutes: float) -> None:
    """The gateway ends, and is off until then."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await plant.clock.step(at(minutes))


def read_of_b(plant: Plant) -> list[list[datetime]]:
    """The instants of its readings, by round."""
    rounds = ([poll.at for poll in polls if poll.meter == "b" and poll.readings] for polls in plant.book.rounds)
    return [times for times in rounds if times]


async def test_answers_from_before_the_start_are_read_with_the_first_that_the_key_fits(plant: Plant) -> None:
    await plant.clock.step(at(0))
    plant.field.errors["b"] = OTHER_KEY
    await plant.clock.step(at(30))
    await stopped(plant, plant.task, 59)
    _, task = plant.another(LINE)
    await plant.clock.step(at(60))
    del plant.field.errors["b"]
    await plant.clock.step(at(90))
    task.cancel()
    assert read_of_b(plant) == [[at(0)], [at(15), at(30), at(59), at(60), at(75)], [at(90)]]
    assert plant.book.looked == [("b", at(0)), ("b", at(75))], "once after each start, and for who needs a key"


async def test_an_answer_that_holds_no_register_is_not_kept_once_more(plant: Plant) -> None:
    plant.field.errors["b"] = UnreadableAnswerError("the key does not fit", serial="17", status=2, raw=b"\x00")
    await plant.clock.step(at(0))
    del plant.field.errors["b"]
    await plant.clock.step(at(15))
    assert [poll.at for polls in plant.book.rounds for poll in polls if poll.meter == "b"] == [at(0), at(15)]


async def test_a_store_that_cannot_be_asked_is_asked_again(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    plant.field.errors["b"] = OTHER_KEY
    await plant.clock.step(at(15))
    await stopped(plant, plant.task, 29)
    del plant.field.errors["b"]
    plant.book.unavailable = True
    _, task = plant.another(LINE)
    await plant.clock.step(at(29))
    plant.book.unavailable = False
    await plant.clock.step(at(30))
    task.cancel()
    assert read_of_b(plant) == [[at(29)], [at(0), at(15), at(30)]]
    assert [message for message in caplog.messages if "is not known: the disk is gone" in message]


async def test_whoever_stops_the_gateway_in_the_middle_leaves_all_of_them_for_the_next_start(plant: Plant) -> None:
    plant.field.errors["b"] = OTHER_KEY
    await plant.clock.step(at(15))
    await stopped(plant, plant.task, 29)
    del plant.field.errors["b"]
    _, task = plant.another(LINE)
    while not plant.book.looked:  # noqa: ASYNC110 - turns of the event loop, until the store is asked
        await asyncio.sleep(0)
    await stopped(plant, task, 44)
    assert read_of_b(plant) == []
    _, task = plant.another(LINE)
    await plant.clock.step(at(44))
    task.cancel()
    assert read_of_b(plant) == [[at(0), at(15), at(44)]]
