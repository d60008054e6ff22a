from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.calendar import Calendar

ZURICH = ZoneInfo("Europe/Zurich")


class Counter:
    """A bell that tells when it was rung."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()

    def ring(self) -> None:
        self.rung.set()


def fires(job: str, day: datetime) -> list[datetime]:
    """The instants of a local day at which the job runs."""
    bell = Counter()
    trigger = Calendar(hourly=bell, nightly=bell, beat=lambda: None, zone=ZURICH).scheduler.get_job(job).trigger
    found, before, now = [], None, day
    while (fire := trigger.get_next_fire_time(before, now)) < day + timedelta(days=1):
        found.append(fire)
        before, now = fire, fire + timedelta(microseconds=1)
    return found


@pytest.mark.parametrize("date", ["2026-03-29", "2026-10-25", "2026-06-01"])
def test_nothing_rings_in_the_hour_that_comes_twice_or_not_at_all(date: str) -> None:
    day = datetime.fromisoformat(date).replace(tzinfo=ZURICH)
    hours = [fire.astimezone(ZURICH).hour for fire in fires("hourly", day)]
    assert hours == [hour for hour in range(24) if hour != 2]
    assert [fire.astimezone(ZURICH).hour for fire in fires("nightly", day)] == [4]


async def test_what_was_slept_through_is_rung_once() -> None:
    hourly, nightly, alive = Counter(), Counter(), asyncio.Event()
    calendar = Calendar(hourly=hourly, nightly=nightly, beat=alive.set, zone=ZURICH)
    running = asyncio.create_task(calendar.run())
    await alive.wait()
    job = calendar.scheduler.get_job("nightly")
    job.modify(next_run_time=datetime(2026, 10, 1, tzinfo=UTC))  # weeks of missed nights
    await nightly.rung.wait()
    assert not hourly.rung.is_set()
    assert calendar.scheduler.get_job("nightly").next_run_time > datetime(2026, 11, 1, tzinfo=UTC)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert not calendar.scheduler.running
