"""When a line is read, and what is kept of it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from gateway.core.units import Scaled
from gateway.ports.field import Answer, NoAnswerError
from gateway.service.battery import Budget
from gateway.service.poll import Line, Poller, following, on_grid
from tests.core.polling import QUARTER, Book, Field, Plant, at, plant

__all__ = ["plant"]


async def test_every_meter_is_read_at_multiples_of_the_poll_time_and_kept_as_one_round(plant: Plant) -> None:
    await plant.clock.step(at(31))
    assert plant.meters_of_rounds() == [["a", "b", "c"]] * 3
    assert [polls[0].at for polls in plant.book.rounds] == [at(0), at(15), at(30)]


async def test_the_first_values_are_read_at_the_start_and_not_only_after_a_poll_time_but_not_from_batteries(
    plant: Plant,
) -> None:
    plant.task.cancel()
    await plant.clock.step(at(3))
    line = Line(id="line", poll=QUARTER, meters=("a", "battery"), budgets={"battery": Budget(reads=96, bears=96)})
    _, task = plant.another(line)
    await plant.clock.step(at(16))
    assert [[(poll.meter, poll.at) for poll in polls] for polls in plant.book.rounds] == [
        [("a", at(3))],
        [("a", at(15)), ("battery", at(15))],
    ]
    task.cancel()


async def test_a_poll_carries_what_the_answer_said_and_when_and_whether_the_clock_was_right(plant: Plant) -> None:
    await plant.clock.step(at(0))
    poll = plant.book.rounds[0][0]
    assert (poll.meter, poll.serial, poll.status, poll.raw, poll.boot) == ("a", "no-a", 4, b"\x68", "boot")
    (reading,) = poll.readings
    assert (reading.meter, reading.register, reading.index, reading.unit) == ("a", "import", Scaled(12345, -3), "kWh")
    assert (reading.at, reading.serial, reading.status, reading.origin) == (at(0), "no-a", 4, "measured")
    assert (poll.clock_trusted, reading.clock_trusted, reading.boot) == (True, True, "boot")


async def test_what_was_read_before_the_stop_is_kept(plant: Plant) -> None:
    plant.field.hang.add("c")
    step = asyncio.ensure_future(plant.clock.step(at(0)))
    while plant.field.asked[-1:] != ["c"]:  # noqa: ASYNC110 - turns of the event loop, until the meter is asked
        await asyncio.sleep(0)
    plant.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await plant.task
    await step
    assert plant.meters_of_rounds() == [["a", "b"]]


async def test_polls_are_counted_by_meter(plant: Plant) -> None:
    plant.field.errors["b"] = NoAnswerError("silent")
    await plant.clock.step(at(30))
    counts = plant.poller.counts()
    assert (counts.line, counts.rounds, counts.missed) == ("line", 3, 0)
    assert [(each.meter, each.ok, each.failed) for each in counts.meters] == [("a", 3, 0), ("b", 0, 3), ("c", 3, 0)]


class SlowLine(Field):
    """A line that needs half an hour for each meter, and the clock that shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.time = at(0)
        self.started: list[datetime] = []
        self.end = asyncio.Event()

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0

    def trusted(self) -> bool:
        return False

    async def until(self, instant: datetime) -> None:
        if instant >= at(120):
            self.end.set()
            await asyncio.Event().wait()
        self.time = max(self.time, instant)

    async def read(self, meter: str) -> Answer:
        self.started.append(self.time)
        self.time += timedelta(minutes=31)
        return await super().read(meter)


async def test_a_round_that_takes_too_long_is_not_made_up_for_in_a_burst() -> None:
    slow, book = SlowLine(), Book()
    line = Line(id="line", poll=QUARTER, meters=("a",))
    poller = Poller(line, slow, clock=slow, store=book, alarms=book, boot="boot", beat=lambda: None)
    task = asyncio.ensure_future(poller.run())
    await slow.end.wait()
    task.cancel()
    assert slow.started == [at(0), at(45), at(90)]
    assert poller.counts().missed == 2 + 2 + 2
    assert [polls[0].at for polls in book.rounds] == [at(31), at(76), at(121)]
    assert not any(polls[0].clock_trusted or polls[0].readings[0].clock_trusted for polls in book.rounds)


@pytest.mark.parametrize(
    ("minutes", "every", "expected"),
    [(0, 15, 0), (0.01, 15, 15), (15, 15, 15), (14.9, 15, 15), (1439.5, 15, 1440), (7, 7, 7), (1435, 7, 1435)],
)
def test_deadlines_lie_on_multiples_since_midnight(minutes: float, every: int, expected: int) -> None:
    assert on_grid(at(minutes), timedelta(minutes=every)) == at(expected)


def test_midnight_starts_the_multiples_anew() -> None:
    assert on_grid(at(1436), timedelta(minutes=7)) == at(1440)


@pytest.mark.parametrize(
    ("due", "now", "expected"),
    [
        (0, 0, (15, 0)),
        (0, 14, (15, 0)),
        (0, 15, (15, 0)),
        (0, 16, (30, 1)),
        (0, 61, (75, 4)),
        (60, 7, (15, 0)),
    ],
)
def test_a_missed_deadline_is_counted_and_left_out_and_a_clock_set_back_starts_anew(
    due: float, now: float, expected: tuple[int, int]
) -> None:
    coming, missed = following(at(due), at(now), QUARTER)
    assert (coming, missed) == (at(expected[0]), expected[1])
