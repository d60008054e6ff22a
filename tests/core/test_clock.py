from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.clock import RELEASED, SteppedClock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2026, 10, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


async def slow_work(turns: int = 5) -> None:
    """Work that takes several turns of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_a_step_goes_through_everything_due_in_order_and_ends_when_all_of_it_is_done() -> None:
    clock, done = SteppedClock(), list[tuple[str, int]]()

    async def every(name: str, minutes: int) -> None:
        due = clock.now()
        while True:
            await clock.until(due)
            await slow_work()
            done.append((name, (clock.now() - START) // timedelta(minutes=1)))
            due += timedelta(minutes=minutes)

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(clock.enrolled(lambda: every("ten", 10))()),
            group.create_task(clock.enrolled(lambda: every("four", 4))()),
        ]
        await clock.step(START)
        assert sorted(done) == [("four", 0), ("ten", 0)]
        await clock.step(at(12))
        assert done[2:] == [("four", 4), ("four", 8), ("ten", 10), ("four", 12)]
        assert clock.now() == at(12)
        await clock.step(at(15))
        assert len(done) == 6
        assert clock.now() == at(15)
        for task in tasks:
            task.cancel()


async def test_a_worker_whose_task_has_not_begun_holds_the_first_step() -> None:
    clock, begun = SteppedClock(), list[datetime]()

    async def worker() -> None:
        await slow_work()
        begun.append(clock.now())
        await clock.until(FAR)

    run = clock.enrolled(worker)
    step = asyncio.ensure_future(clock.step(START))
    await slow_work(20)
    assert not step.done()
    task = asyncio.ensure_future(run())
    await step
    assert begun == [START]
    task.cancel()


async def test_work_handed_to_another_task_holds_the_step_until_it_is_done() -> None:
    clock, done = SteppedClock(), list[str]()

    async def other() -> None:
        with clock.busy():
            await slow_work(50)
            done.append("other")

    async def worker() -> None:
        await clock.until(at(1))
        done.append("worker")
        task = asyncio.ensure_future(other())
        await slow_work(1)
        await clock.until(FAR)
        await task

    task = asyncio.ensure_future(clock.enrolled(worker)())
    await clock.step(START)
    await clock.step(at(1))
    assert done == ["worker", "other"]
    task.cancel()


async def test_a_worker_woken_by_a_bell_holds_the_step_from_the_ring_on() -> None:
    clock, done = SteppedClock(), list[int]()
    bell = clock.bell()

    async def settler() -> None:
        while True:
            await bell.wait(FAR)
            await slow_work(50)
            done.append((clock.now() - START) // timedelta(minutes=1))

    async def poller() -> None:
        for minute in range(1, 4):
            await clock.until(at(minute))
            bell.ring()
        await clock.until(FAR)

    tasks = [asyncio.ensure_future(clock.enrolled(run)()) for run in (settler, poller)]
    await clock.step(START)
    await clock.step(at(10))
    assert done == [1, 2, 3]
    for task in tasks:
        task.cancel()


async def test_who_waits_for_a_bell_comes_after_the_others_of_the_same_instant() -> None:
    clock, done = SteppedClock(), list[str]()
    bell = clock.bell()

    async def settler() -> None:
        await bell.wait(at(1))
        done.append("settled")

    async def poller() -> None:
        await clock.until(at(1))
        await slow_work(50)
        done.append("polled")

    tasks = [asyncio.ensure_future(clock.enrolled(run)()) for run in (settler, poller)]
    await clock.step(START)
    await clock.step(at(1))
    assert done == ["polled", "settled"]
    await asyncio.gather(*tasks)


async def test_a_bell_rung_while_nobody_waits_spares_the_next_wait_only() -> None:
    clock = SteppedClock()
    await clock.step(START)
    bell = clock.bell()
    bell.ring()
    await bell.wait(FAR)
    second = asyncio.ensure_future(bell.wait(FAR))
    await slow_work()
    assert not second.done()
    second.cancel()


async def test_a_worker_that_ends_or_fails_holds_nothing() -> None:
    clock = SteppedClock()

    async def ends() -> None:
        await clock.until(at(1))

    async def fails() -> None:
        await clock.until(at(1))
        raise ValueError

    tasks = [asyncio.ensure_future(clock.enrolled(run)()) for run in (ends, fails)]
    await clock.step(START)
    await clock.step(at(2))
    assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [type(None), ValueError]


async def test_what_a_cancelled_worker_does_last_is_waited_for() -> None:
    clock, done = SteppedClock(), list[str]()

    async def worker() -> None:
        try:
            await clock.until(FAR)
        finally:
            await slow_work(20)
            done.append("kept")

    task = asyncio.ensure_future(clock.enrolled(worker)())
    await clock.step(START)
    task.cancel()
    await slow_work(1)
    await clock.step(at(1))
    assert done == ["kept"]


async def test_the_clock_never_goes_back() -> None:
    clock = SteppedClock()
    await clock.step(at(5))
    with pytest.raises(ValueError, match="goes forward"):
        await clock.step(at(4))
    assert clock.now() == at(5)


async def test_the_system_clock_waits_until_the_instant_and_beats_meanwhile() -> None:
    beats = list[int]()
    clock = SystemClock(beat=lambda: beats.append(1))
    due = clock.now() + timedelta(milliseconds=20)
    await clock.until(due)
    assert clock.now() >= due
    assert beats
    await clock.until(due)  # at once


async def test_a_wait_ends_when_the_wall_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.clock.SLICE", timedelta(0))

    class SetBack(SystemClock):
        hours = 0

        def now(self) -> datetime:
            self.hours -= 1
            return super().now() + timedelta(hours=self.hours)

    clock = SetBack()
    await clock.until(datetime.max.replace(tzinfo=UTC) - timedelta(days=1))


async def test_a_bell_of_the_system_clock_wakes_at_the_ring_or_at_the_instant() -> None:
    clock = SystemClock()
    bell = clock.bell()
    waiting = asyncio.ensure_future(bell.wait(FAR))
    await slow_work()
    assert not waiting.done()
    bell.ring()
    await waiting
    await bell.wait(clock.now() + timedelta(milliseconds=5))


def test_a_clock_before_the_release_is_not_trusted_where_nothing_else_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class Boot1970(SystemClock):
        def now(self) -> datetime:
            return datetime(1970, 1, 1, tzinfo=UTC)

    class Later(SystemClock):
        def now(self) -> datetime:
            return RELEASED

    monkeypatch.setattr("gateway.clock._kernel_synchronised", lambda: None)
    assert not Boot1970().trusted()
    assert Later().trusted()
    monkeypatch.setattr("gateway.clock._kernel_synchronised", lambda: False)
    assert not Later().trusted()


@pytest.mark.parametrize(
    ("answers", "trusted"), [(lambda _: 0, True), (lambda _: 5, False), (lambda _: -1, True), (None, True)]
)
def test_the_kernel_says_whether_its_clock_is_synchronised_or_nothing(
    answers: Callable[[object], int] | None, *, trusted: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gateway.clock.TIMESYNC", tmp_path / "nothing")
    monkeypatch.setattr("gateway.clock._adjtimex", answers)
    assert SystemClock().trusted() is trusted


def test_a_synchronised_clock_that_jumps_is_not_trusted_until_it_is_back_or_a_new_process_believes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Jumping(SystemClock):
        error = timedelta(0)

        def now(self) -> datetime:
            return super().now() + self.error

    monkeypatch.setattr("gateway.clock._kernel_synchronised", lambda: True)
    clock = Jumping()
    for error, trusted in (
        (timedelta(0), True),
        (timedelta(hours=1), True),
        (timedelta(days=365), False),
        (timedelta(days=-365), False),
        (timedelta(days=365), False),  # it does not get used to it
        (timedelta(hours=-1), True),
    ):
        clock.error = error
        assert clock.trusted() is trusted
    Jumping.error = timedelta(days=365)  # it was switched off for a year
    assert Jumping().trusted()


def test_the_kernel_can_be_asked_without_rights() -> None:
    assert SystemClock().trusted() in (True, False)
