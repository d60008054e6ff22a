"""The life of a process with workers, seen from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from gateway.lifetime import STALE_AFTER, Heart, Worker, beat
from tests.outbox import HANGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[[str], subprocess.Popen[str]]

HEAD = """
import asyncio, logging, signal, sys
from gateway import lifetime
from gateway.lifetime import Worker, live
logging.basicConfig(format="%(message)s")

def say(text):
    print(text, flush=True)

async def idle():
    say("idle")
    await asyncio.Event().wait()

def main(*workers):
    sys.exit(asyncio.run(live(workers, started=lambda: None, stopping=lambda: say("stopping"))))
"""


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(script: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HEAD + textwrap.dedent(script)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_work_in_flight_finish_and_ends_with_0(start: Start, number: signal.Signals) -> None:
    process = start("""
        async def work():
            try:
                await idle()
            finally:
                await asyncio.sleep(0)  # a turn of the loop, as work in flight takes
                say("kept")
        main(Worker(name="work", run=work), Worker(name="other", run=idle))
    """)
    assert [says(process), says(process)] == ["idle", "idle"]
    process.send_signal(number)
    out, err = process.communicate(timeout=HANGS)
    assert (out.splitlines(), err, process.returncode) == (["stopping", "kept"], "", 0)


def test_a_bug_in_one_worker_ends_all_with_1_and_is_told_once_with_its_name(
    start: Start,
) -> None:
    process = start("""
        async def work():
            await asyncio.sleep(0)
            raise KeyError("a bug")
        async def other():
            try:
                await idle()
            finally:
                say("kept")
        main(Worker(name="poll mbus-1", run=work), Worker(name="other", run=other))
    """)
    out, err = process.communicate(timeout=HANGS)
    assert out.splitlines() == ["idle", "stopping", "kept"]
    assert err.startswith("poll mbus-1: failed\nTraceback")
    assert err.count("KeyError: 'a bug'") == 1
    assert process.returncode == 1


def test_a_worker_that_ends_by_itself_ends_the_process_with_1(
    start: Start,
) -> None:
    process = start("""
        async def work():
            pass
        main(Worker(name="deliver", run=work), Worker(name="other", run=idle))
    """)
    _, err = process.communicate(timeout=HANGS)
    assert (err, process.returncode) == ("deliver: ended by itself\n", 1)


def test_work_that_does_not_finish_in_time_is_cut_off_and_told(start: Start) -> None:
    process = start("""
        lifetime.GRACE = 0.02
        async def work():
            try:
                await idle()
            finally:
                await asyncio.Event().wait()
        main(Worker(name="slow", run=work))
    """)
    assert says(process) == "idle"
    process.terminate()
    _, err = process.communicate(timeout=HANGS)
    assert (err, process.returncode) == ("slow: did not finish within 0.02 s\n", 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(start: Start, number: signal.Signals) -> None:
    process = start("""
        async def work():
            try:
                await idle()
            finally:
                await asyncio.Event().wait()
        main(Worker(name="slow", run=work))
    """)
    assert says(process) == "idle"
    process.send_signal(number)
    assert says(process) == "stopping"
    process.send_signal(number)
    _, err = process.communicate(timeout=HANGS)
    assert (err, process.returncode) == ("", -number)


def test_a_worker_without_a_sign_of_life_is_not_fresh() -> None:
    assert Heart().fresh()
    assert not Heart(last=time.monotonic() - STALE_AFTER - 1).fresh()


def test_a_beat_is_that_of_the_worker_it_happens_in(start: Start) -> None:
    process = start("""
        first, second = lifetime.Heart(last=0.0), lifetime.Heart(last=0.0)
        async def work():
            lifetime.beat()
            say(f"{first.fresh()} {second.last}")
            await asyncio.Event().wait()
        async def other():
            await asyncio.Event().wait()
        main(Worker(name="a", run=work, heart=first), Worker(name="b", run=other, heart=second))
    """)
    assert says(process) == "True 0.0"


async def test_a_beat_outside_of_any_worker_is_nothing() -> None:
    worker = Worker(name="w", run=_never)
    before = worker.heart.last
    beat()
    assert worker.heart.last == before


async def _never() -> None:
    raise AssertionError
