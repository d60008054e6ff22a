"""Answers that need another key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.units import Scaled
from gateway.ports.field import UnreadableAnswerError
from tests.core.polling import Plant, at, plant

if TYPE_CHECKING:
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
