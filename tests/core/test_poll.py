from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gateway.clock import SteppedClock
from gateway.core.units import Scaled
from gateway.ports.field import (
    Answer,
    FieldError,
    LineDownError,
    NoAnswerError,
    RegisterValue,
    UnreadableAnswerError,
    WrongAnswerError,
)
from gateway.ports.health import LineHealth, MeterHealth
from gateway.service.battery import Budget
from gateway.service.poll import Line, Poll, Poller, following, on_grid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.core.event import Alarm

START = datetime(2026, 10, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


class Field:
    """A line whose meters answer, or fail as they are told."""

    def __init__(self) -> None:
        self.errors: dict[str, FieldError] = {}
        self.asked: list[str] = []
        self.hang: set[str] = set()

    async def read(self, meter: str) -> Answer:
        self.asked.append(meter)
        await asyncio.sleep(0)
        if meter in self.hang:
            await asyncio.Event().wait()
        if meter in self.errors:
            raise self.errors[meter]
        value = RegisterValue(register="import", index=Scaled(12345, -3), unit="kWh", obis="1-0:1.8.0")
        return Answer(meter=meter, serial=f"no-{meter}", status=4, values=(value,), raw=b"\x68")

    def reread(self, meter: str, raw: bytes) -> Answer:
        if raw == b"\xff":
            message = "it is of another meter"
            raise WrongAnswerError(message)
        value = RegisterValue(register="import", index=Scaled(raw[-1], 0), unit="kWh", obis="1-0:1.8.0")
        return Answer(meter=meter, serial=f"no-{meter}", status=2, values=(value,), raw=raw)

    async def close(self) -> None:
        pass


class Book:
    """Keeps rounds and alarms in lists."""

    def __init__(self) -> None:
        self.rounds: list[Sequence[Poll]] = []
        self.alarms: list[tuple[str, str, str]] = []

    async def keep(self, polls: Sequence[Poll]) -> None:
        await asyncio.sleep(0)
        self.rounds.append(tuple(polls))

    async def raise_alarm(self, alarm: Alarm) -> None:
        self.alarms.append(("raised", alarm.code, alarm.source))

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        self.alarms.append(("ended", code, source))
        assert at >= START


class Plant(NamedTuple):
    field: Field
    book: Book
    clock: SteppedClock
    poller: Poller
    task: asyncio.Task[None]

    def meters_of_rounds(self) -> list[list[str]]:
        return [[poll.meter for poll in polls] for polls in self.book.rounds]


@pytest.fixture
async def plant(request: pytest.FixtureRequest) -> AsyncIterator[Plant]:
    every: timedelta = getattr(request, "param", QUARTER)
    field, book, clock = Field(), Book(), SteppedClock()
    await clock.step(at(-0.5))
    line = Line(id="line", poll=every, meters=("a", "b", "c"))
    poller = Poller(line, field, clock=clock, store=book, alarms=book, boot="boot", beat=lambda: None)

    async def begin() -> None:
        await clock.until(at(0))
        await poller.run()

    task = asyncio.ensure_future(clock.enrolled(begin)())
    yield Plant(field, book, clock, poller, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_every_meter_is_read_at_multiples_of_the_poll_time_and_kept_as_one_round(plant: Plant) -> None:
    await plant.clock.step(at(31))
    assert plant.meters_of_rounds() == [["a", "b", "c"]] * 3
    assert [polls[0].at for polls in plant.book.rounds] == [at(0), at(15), at(30)]


async def test_the_first_values_are_read_at_the_start_and_not_only_after_a_poll_time_but_not_from_batteries(
    plant: Plant,
) -> None:
    plant.task.cancel()
    line = Line(id="line", poll=QUARTER, meters=("a", "battery"), budgets={"battery": Budget(reads=96, bears=96)})
    poller = Poller(
        line, plant.field, clock=plant.clock, store=plant.book, alarms=plant.book, boot="", beat=lambda: None
    )
    await plant.clock.step(at(3))
    task = asyncio.ensure_future(plant.clock.enrolled(poller.run)())
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


@pytest.fixture
async def spared(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Plant]:
    """A line that is polled each minute; the battery of meter b is made for 100 reads a day."""
    caplog.set_level(logging.INFO)
    field, book, clock = Field(), Book(), SteppedClock()
    await clock.step(at(-0.5))
    line = Line(id="line", poll=timedelta(minutes=1), meters=("a", "b"), budgets={"b": Budget(reads=100, bears=100)})
    poller = Poller(line, field, clock=clock, store=book, alarms=book, boot="boot", beat=lambda: None)

    async def begin() -> None:
        await clock.until(at(0))
        await poller.run()

    task = asyncio.ensure_future(clock.enrolled(begin)())
    yield Plant(field, book, clock, poller, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


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
        meters = tuple(
            MeterHealth(
                meter=meter, reads=0, failed=0, requests=0, repeats=repeats, damaged=0, unasked=0, ms=None, wire_ms=None
            )
            for meter, repeats in (("a", self.asked.count("a")), ("b", 2 * self.asked.count("b")))
        )
        return LineHealth(baud=2400, echo=False, meters=meters)


async def test_repeats_count_as_reads_of_the_meter_that_needed_them() -> None:
    field, book, clock = Repeating(), Book(), SteppedClock()
    await clock.step(at(0))
    line = Line(id="line", poll=QUARTER, meters=("a", "b"), budgets={"b": Budget(reads=96, bears=96)})
    poller = Poller(line, field, clock=clock, store=book, alarms=book, boot="", beat=lambda: None)
    task = asyncio.ensure_future(clock.enrolled(poller.run)())
    await clock.step(at(24 * 60 - 1))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (field.asked.count("b"), poller.counts().meters[1].today) == (32, 96)
    assert poller.counts().meters[0].bears is None


async def test_a_gateway_that_is_started_again_and_again_reads_a_meter_with_a_battery_no_more_often(
    spared: Plant,
) -> None:
    spared.task.cancel()
    line = Line(id="line", poll=QUARTER, meters=("a", "b"), budgets={"b": Budget(reads=24, bears=24)})
    for minute in range(0, 24 * 60, 7):
        poller = Poller(
            line, spared.field, clock=spared.clock, store=spared.book, alarms=spared.book, boot="", beat=lambda: None
        )
        task = asyncio.ensure_future(spared.clock.enrolled(poller.run)())
        await spared.clock.step(at(minute + 6.5))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert spared.field.asked.count("b") <= 24
    assert spared.field.asked.count("a") > 96


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
