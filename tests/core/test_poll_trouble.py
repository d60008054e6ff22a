"""What a poller tells of meters and lines that do not answer, and how long it leaves them alone."""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import pairwise

import pytest

from gateway.ports.field import LineDownError, NoAnswerError, WrongAnswerError
from tests.core.polling import Plant, at, plant

__all__ = ["plant"]


async def test_a_dead_meter_is_told_once_and_recovers_once(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    await plant.clock.step(at(0))
    plant.book.alarms.clear()
    caplog.set_level(logging.INFO)
    plant.field.errors["b"] = NoAnswerError("b does not answer")
    await plant.clock.step(at(45))
    del plant.field.errors["b"]
    await plant.clock.step(at(75))
    assert plant.meters_of_rounds() == [["a", "b", "c"], *[["a", "c"]] * 3, ["a", "c", "b"], ["a", "b", "c"]]
    assert caplog.messages == ["b: unavailable: b does not answer", "b: recovered after 3 failed polls"]
    assert plant.book.alarms == [
        ("raised", "meter_silent", "b"),
        ("ended", "meter_silent", "b"),
        ("ended", "meter_wrong", "b"),
    ]


async def test_a_lying_meter_has_an_alarm_of_its_own_and_none_of_its_values_is_kept(plant: Plant) -> None:
    plant.field.errors["a"] = WrongAnswerError("a: the checksum is wrong")
    await plant.clock.step(at(0))
    assert plant.meters_of_rounds() == [["b", "c"]]
    assert ("raised", "meter_wrong", "a") in plant.book.alarms


async def test_a_meter_in_trouble_is_asked_after_those_that_answer(plant: Plant) -> None:
    plant.field.errors["a"] = NoAnswerError("silent")
    await plant.clock.step(at(15))
    assert plant.field.asked == ["a", "b", "c", "b", "c", "a"]


async def test_the_neighbours_of_a_meter_that_has_to_be_waited_for_are_read_before_it(plant: Plant) -> None:
    plant.field.owing["a"] = 2.4
    await plant.clock.step(at(0))
    assert plant.field.asked == ["a later", "b", "c", "a"]
    assert plant.meters_of_rounds() == [["b", "c", "a"]]


async def test_no_deadline_is_missed_for_a_meter_that_has_to_be_waited_for(plant: Plant) -> None:
    plant.field.owing["a"] = 15 * 60
    await plant.clock.step(at(0))
    assert plant.field.asked == ["a later", "b", "c"]
    assert plant.meters_of_rounds() == [["b", "c"]]
    assert ("raised", "meter_silent", "a") in plant.book.alarms


@pytest.mark.parametrize("plant", [timedelta(minutes=1)], indirect=True)
async def test_a_dead_meter_is_left_alone_for_longer_and_longer_up_to_five_minutes(plant: Plant) -> None:
    plant.field.errors["a"] = NoAnswerError("silent")
    asked_at = []
    for minute in range(600):
        plant.field.asked.clear()
        await plant.clock.step(at(minute))
        assert plant.field.asked[:2] == ["b", "c"] or minute == 0
        if "a" in plant.field.asked:
            asked_at.append(minute)
    rests = [after - before for before, after in pairwise(asked_at)]
    assert rests == sorted(rests)
    assert set(rests) == {1, 2, 3, 4, 5}


async def test_a_line_that_is_gone_is_one_alarm_of_the_line_and_not_one_of_each_meter(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    await plant.clock.step(at(0))
    plant.book.alarms.clear()
    plant.field.asked.clear()
    plant.field.errors = {meter: LineDownError("127.0.0.1:10001 refuses the connection") for meter in "abc"}
    await plant.clock.step(at(30))
    assert plant.field.asked == ["a", "b", "a", "b"]  # two losses in a row are enough to know
    plant.field.errors.clear()
    await plant.clock.step(at(45))
    assert plant.book.alarms == [("raised", "line_down", "line"), ("ended", "line_down", "line")]
    assert len(caplog.messages) == 2
    assert plant.meters_of_rounds() == [["a", "b", "c"]] * 2


async def test_a_meter_that_breaks_the_connection_costs_its_neighbours_nothing(plant: Plant) -> None:
    plant.field.errors["b"] = LineDownError("connection lost")
    await plant.clock.step(at(15))
    assert plant.meters_of_rounds() == [["a", "c"], ["a", "c"]]
    assert ("raised", "meter_silent", "b") in plant.book.alarms
    assert not [each for each in plant.book.alarms if each[:2] == ("raised", "line_down")]


async def test_the_first_answer_ends_alarms_that_were_open_before_the_start(plant: Plant) -> None:
    await plant.clock.step(at(15))
    assert [each for each in plant.book.alarms if each[0] == "ended"] == [
        ("ended", "line_down", "line"),
        *[("ended", code, meter) for meter in "abc" for code in ("meter_status", "meter_silent", "meter_wrong")],
    ]


async def test_what_a_round_has_to_tell_is_told_at_once_and_a_round_with_nothing_to_tell_costs_nothing(
    plant: Plant,
) -> None:
    await plant.clock.step(at(0))
    assert (len(plant.book.alarms), plant.book.told) == (1 + 4 * 3, 1)
    await plant.clock.step(at(30))
    assert plant.book.told == 1
    plant.field.errors = {meter: NoAnswerError("silent") for meter in "abc"}
    await plant.clock.step(at(45))
    plant.field.errors.clear()
    await plant.clock.step(at(60))
    assert plant.book.told == 3
    assert plant.book.alarms[13:] == [
        *[("raised", "meter_silent", meter) for meter in "abc"],
        *[("ended", code, meter) for meter in "abc" for code in ("meter_silent", "meter_wrong")],
    ]
