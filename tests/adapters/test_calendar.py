from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway import calendar
from gateway.calendar import Calendar

ZURICH = ZoneInfo("Europe/Zurich")
NIGHT = datetime(2026, 10, 1, 2, 17, tzinfo=UTC)
"""04:17 in Zurich"""


class Bell:
    """Keeps when it was rung."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.times: list[datetime] = []
        self.rung = asyncio.Event()

    def ring(self) -> None:
        self.times.append(self.box.time)
        self.rung.set()


class Box:
    """Two bells and a clock that is set by hand."""

    def __init__(self, time: datetime) -> None:
        self.time = time
        self.hourly, self.nightly = Bell(self), Bell(self)
        self.beats = 0
        self.calendar = Calendar(
            hourly=self.hourly, nightly=self.nightly, now=lambda: self.time, beat=self.beat, zone=ZURICH
        )

    def beat(self) -> None:
        self.beats += 1

    def look_at(self, time: datetime) -> None:
        self.time = time
        self.calendar.look()


@pytest.mark.parametrize("date", ["2026-03-29", "2026-10-25", "2026-06-01"])
def test_nothing_rings_in_the_hour_that_comes_twice_or_not_at_all(date: str) -> None:
    day = datetime.fromisoformat(date).replace(tzinfo=ZURICH)
    end = (day + timedelta(days=1)).astimezone(UTC)
    box = Box(day.astimezone(UTC))
    while box.time < end:
        box.look_at(box.time + timedelta(seconds=calendar.LOOK_S))
    hourly = [at.astimezone(ZURICH) for at in box.hourly.times]
    assert [(at.hour, at.minute) for at in hourly] == [(hour, 7) for hour in range(24) if hour != 2]
    assert [(at.hour, at.minute) for at in (each.astimezone(ZURICH) for each in box.nightly.times)] == [(4, 17)]


def test_what_was_slept_through_is_rung_once() -> None:
    box = Box(NIGHT - timedelta(days=20))
    box.look_at(NIGHT)
    assert (box.hourly.times, box.nightly.times) == ([NIGHT], [NIGHT])
    box.look_at(NIGHT)
    box.look_at(NIGHT + timedelta(minutes=1))
    assert (box.hourly.times, box.nightly.times) == ([NIGHT], [NIGHT])


def test_a_clock_that_is_set_back_rings_again_when_the_time_comes() -> None:
    box = Box(NIGHT + timedelta(days=365))
    box.look_at(NIGHT - timedelta(seconds=10))
    assert box.nightly.times == []
    box.look_at(NIGHT + timedelta(seconds=20))
    assert box.nightly.times == [NIGHT + timedelta(seconds=20)]


async def test_it_looks_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "LOOK_S", 0.0)
    box = Box(NIGHT - timedelta(minutes=5))
    running = asyncio.create_task(box.calendar.run())
    await asyncio.sleep(0)
    box.time = NIGHT
    await box.nightly.rung.wait()
    assert box.beats
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()
