"""A poller over a line that is told how to answer, on a clock that is stepped."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gateway.clock import SteppedClock
from gateway.core.units import Scaled
from gateway.ports.field import Answer, FieldError, OwingError, RegisterValue, WrongAnswerError
from gateway.service.alarms import Ended
from gateway.service.poll import Line, Poller
from gateway.service.storing import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.core.event import Alarm
    from gateway.service.polled import Poll
    from gateway.service.twice import Devices

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
        self.owing: dict[str, float] = {}
        """meters that have to be waited for, and seconds"""

    async def read_now(self, meter: str) -> Answer:
        if meter in self.owing:
            self.asked.append(f"{meter} later")
            message = f"{meter} owes an answer"
            raise OwingError(message, self.owing[meter])
        return await self.read(meter)

    async def read(self, meter: str) -> Answer:
        self.asked.append(meter)
        await asyncio.sleep(0)
        if meter in self.hang:
            await asyncio.Event().wait()
        if meter in self.errors:
            raise self.errors[meter]
        value = RegisterValue(register="import", index=Scaled(12345, -3), unit="kWh", obis="1-0:1.8.0")
        return Answer(meter=meter, serial=f"no-{meter}", status=4, values=(value,), raw=b"\x68")

    def needs_key(self, meter: str) -> bool:
        return meter == "b"

    def reread(self, meter: str, raw: bytes) -> Answer:
        if raw == b"\xff":
            message = "it is of another meter"
            raise WrongAnswerError(message)
        if raw == b"\x00":
            return Answer(meter=meter, serial=f"no-{meter}", status=2, values=(), raw=raw)
        value = RegisterValue(register="import", index=Scaled(raw[-1], 0), unit="kWh", obis="1-0:1.8.0")
        return Answer(meter=meter, serial=f"no-{meter}", status=2, values=(value,), raw=raw)

    async def close(self) -> None:
        pass


class Book:
    """Keeps rounds and alarms in lists."""

    def __init__(self) -> None:
        self.rounds: list[Sequence[Poll]] = []
        self.alarms: list[tuple[str, str, str]] = []
        self.told = 0
        """transactions of alarms"""
        self.looked: list[tuple[str, datetime]] = []
        self.unavailable = False

    async def keep(self, polls: Sequence[Poll]) -> None:
        await asyncio.sleep(0)
        self.rounds.append(tuple(polls))

    async def unread(self, meter: str, before: datetime, limit: int) -> Sequence[Poll]:
        """By the same rule as the store's, over the rounds."""
        self.looked.append((meter, before))
        await asyncio.sleep(0)
        if self.unavailable:
            message = "the disk is gone"
            raise StoreUnavailableError(message)
        polls = [poll for polls in self.rounds for poll in polls if poll.meter == meter and poll.at < before]
        read = {poll.at for poll in polls if poll.readings}
        return list(takewhile(lambda poll: poll.at not in read, reversed(polls)))[:limit][::-1]

    async def raise_alarm(self, alarm: Alarm) -> None:
        self.alarms.append(("raised", alarm.code, alarm.source))

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        self.alarms.append(("ended", code, source))
        assert at >= START

    async def change_alarms(self, changes: Sequence[Alarm | Ended]) -> None:
        self.told += 1
        for each in changes:
            if isinstance(each, Ended):
                await self.end_alarm(each.code, each.source, each.at)
            else:
                await self.raise_alarm(each)


class Plant(NamedTuple):
    field: Field
    book: Book
    clock: SteppedClock
    poller: Poller
    task: asyncio.Task[None]

    def meters_of_rounds(self) -> list[list[str]]:
        return [[poll.meter for poll in polls] for polls in self.book.rounds]

    def another(self, line: Line) -> tuple[Poller, asyncio.Task[None]]:
        """A gateway that is started now, with the same meters and store."""
        poller = poller_of(line, self.field, self.book, self.clock)
        return poller, asyncio.ensure_future(self.clock.enrolled(poller.run)())


def poller_of(line: Line, field: Field, book: Book, clock: SteppedClock, devices: Devices | None = None) -> Poller:
    return Poller(
        line,
        field,
        clock=clock,
        store=book,
        alarms=book,
        boot="boot",
        beat=lambda: None,
        kept=book,
        devices=devices,
    )


@asynccontextmanager
async def polling(line: Line, field: Field | None = None) -> AsyncIterator[Plant]:
    """The line is polled from START on; the clock stands half a minute before."""
    wired, book, clock = field or Field(), Book(), SteppedClock()
    await clock.step(at(-0.5))
    poller = poller_of(line, wired, book, clock)

    async def begin() -> None:
        await clock.until(at(0))
        await poller.run()

    task = asyncio.ensure_future(clock.enrolled(begin)())
    yield Plant(wired, book, clock, poller, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def plant(request: pytest.FixtureRequest) -> AsyncIterator[Plant]:
    """Three meters, polled each quarter of an hour or as the test's parameter says."""
    every: timedelta = getattr(request, "param", QUARTER)
    async with polling(Line(id="line", poll=every, meters=("a", "b", "c"))) as plant:
        yield plant
