"""Whether the poll time of a line stays what it is, whatever one of its meters or the line itself does."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from gateway.core.units import Scaled
from gateway.ports.field import Answer, LineDownError, NoAnswerError, RegisterValue
from gateway.service.poll import Line, Poller
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.event import Alarm
    from gateway.service.alarms import Ended
    from gateway.service.polled import Poll

START = datetime(2026, 10, 1, tzinfo=UTC)
METERS = tuple(f"m-{number}" for number in range(32))
READ_S, DEAD_S = 0.084, 2.0
"""of a block at 9600 Bd; of a meter that does not answer, with the silence that follows"""


class LoopClock:
    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def trusted(self) -> bool:
        return True

    async def until(self, instant: datetime) -> None:
        await asyncio.sleep(max((instant - self.now()).total_seconds(), 0))


class SlowLine:
    """A meter of it is dead, or the whole line is not there."""

    def __init__(self, dead: str = "", *, down: bool = False) -> None:
        self.dead = dead
        self.down = down
        self.asked: list[float] = []

    async def read(self, meter: str) -> Answer:
        self.asked.append(asyncio.get_running_loop().time())
        if self.down:
            message = "refused"
            raise LineDownError(message)
        await asyncio.sleep(DEAD_S if meter == self.dead else READ_S)
        if meter == self.dead:
            message = "silent"
            raise NoAnswerError(message)
        value = RegisterValue(register="import", index=Scaled(1, 0), unit="kWh", obis="1-0:1.8.0")
        return Answer(meter=meter, serial="", status=0, values=(value,), raw=b"")

    async def close(self) -> None:
        pass


class Book:
    def __init__(self) -> None:
        self.times: defaultdict[str, list[datetime]] = defaultdict(list)

    async def keep(self, polls: Sequence[Poll]) -> None:
        for poll in polls:
            self.times[poll.meter].append(poll.at)

    async def change_alarms(self, changes: Sequence[Alarm | Ended]) -> None:
        pass


def polled(line: SlowLine, every: timedelta, seconds: float, name: str = "line") -> tuple[Book, int]:
    """What a poller keeps in so much virtual time, and the deadlines that it left out."""

    async def run() -> tuple[Book, int]:
        book, clock = Book(), LoopClock()
        wired = Line(id=name, poll=every, meters=METERS)
        poller = Poller(wired, line, clock=clock, store=book, alarms=book, boot="b", beat=lambda: None)
        task = asyncio.create_task(poller.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return book, poller.counts().missed

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(run())


def test_a_dead_meter_among_32_leaves_its_neighbours_their_poll_time() -> None:
    every = timedelta(seconds=5)
    book, missed = polled(SlowLine(dead="m-7"), every, 600)
    assert missed == 0
    assert set(book.times) == {*METERS} - {"m-7"}
    for times in book.times.values():
        later = times[1:]  # it stands at the end of the line from its first silence on
        assert len(later) >= 118
        assert {after - before for before, after in pairwise(later)} == {every}


def test_where_its_time_out_does_not_fit_into_the_poll_time_a_dead_meter_costs_a_deadline_each_time_it_is_asked() -> (
    None
):
    """A round of 31 takes 2.6 s of 3: what a pause of up to five minutes leaves of it."""
    every = timedelta(seconds=3)
    book, missed = polled(SlowLine(dead="m-7"), every, 3600)
    for times in book.times.values():
        periods = Counter(after - before for before, after in pairwise(times[1:]))
        assert set(periods) == {every, 2 * every}
        assert periods[2 * every] <= missed <= 65
    last = [after - before for before, after in pairwise(book.times["m-0"][-600:])]
    assert last.count(2 * every) <= 22, "in the last half an hour"


def test_a_poll_time_that_is_nearly_full_does_not_drift_in_five_minutes() -> None:
    line = SlowLine()
    book, _ = polled(line, timedelta(seconds=3), 300)
    assert {times[-1] - times[0] for times in book.times.values()} == {timedelta(seconds=297)}


def test_a_line_that_is_down_is_not_stormed() -> None:
    line = SlowLine(down=True)
    polled(line, timedelta(seconds=1), 3600)
    assert len(line.asked) <= 2 * 60  # two calls tell it; rests of 2, 4, 6 ... seconds up to 5 minutes
    late = [at for at in line.asked if at > 1800]
    assert max(after - before for before, after in pairwise(late)) <= 301


def test_lines_that_are_lost_at_once_do_not_all_come_back_in_one_instant() -> None:
    """Thirty lines behind one switch that loses its power: how many ask it in the busiest second."""
    asked: Counter[int] = Counter()
    for number in range(30):
        line = SlowLine(down=True)
        polled(line, timedelta(seconds=1), 1800, f"bus-{number}")
        asked.update({int(at) for at in line.asked if at > 600})
        assert min(after - before for before, after in pairwise(sorted(set(line.asked)))) >= 2
    assert max(asked.values()) <= 6
