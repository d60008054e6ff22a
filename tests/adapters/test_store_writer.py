from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, create_engine, event, insert, text

from gateway.store import Store, schema
from gateway.store.writer import GROUP, Priority

if TYPE_CHECKING:
    from collections.abc import Callable

CYCLES = 5
PATIENCE = 120.0
"""seconds after which something that never comes fails a test instead of hanging it"""
WRITER = """
import asyncio, sys
from datetime import timedelta
from gateway.store import Store
from tests.adapters.stores import START, charge, poll, reading
async def write(url, first):
    async with Store(url) as store:
        for no in range(first, 10**9):
            at = START + timedelta(seconds=no)
            await asyncio.gather(store.keep([poll(reading(at))]), store.publish([charge(no)], at))
            print(no, flush=True)
asyncio.run(write(sys.argv[1], int(sys.argv[2])))
"""


def put(key: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(insert(schema.meta).values(key=key, value=""))

    return work


def rows(url: str, query: str) -> list[Any]:
    """What another connection sees."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def kept(url: str) -> list[str]:
    return [key for (key,) in rows(url, "SELECT key FROM meta WHERE value = '' ORDER BY key")]


class Gate:
    """Keeps the writer busy until it is opened, so that others queue up behind."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, _: Connection) -> None:
        self.reached.set()
        self.open.wait()


async def queue(store: Store, *works: tuple[Priority, Callable[[Connection], object]]) -> list[object]:
    """Hand over all works while the writer is busy; their results or errors."""
    gate = Gate()
    first = asyncio.create_task(store.writer.submit(Priority.TAP, gate))
    await asyncio.to_thread(gate.reached.wait)
    tasks = [asyncio.create_task(store.writer.submit(priority, work)) for priority, work in works]
    await asyncio.sleep(0)  # each task has submitted
    gate.open.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_was_awaited_is_committed(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.writer.submit(Priority.POLL, put("a"))
        assert kept(store_url) == ["a"]


async def test_an_exception_in_the_middle_leaves_nothing_and_reaches_the_caller(store_url: str) -> None:
    def fail(connection: Connection) -> None:
        put("half")(connection)
        message = "the second half"
        raise LookupError(message)

    async with Store(store_url) as store:
        with pytest.raises(LookupError, match="the second half"):
            await store.writer.submit(Priority.POLL, fail)
        await store.writer.submit(Priority.POLL, put("next"))
    assert kept(store_url) == ["next"]


async def test_one_that_fails_in_a_shared_commit_takes_down_nobody_else(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.writer.submit(Priority.POLL, put("b"))
        results = await queue(store, *((Priority.POLL, put(key)) for key in "abc"))
    assert [type(result).__name__ for result in results] == ["NoneType", "IntegrityError", "NoneType"]
    assert kept(store_url) == ["a", "b", "c"]


@pytest.mark.parametrize(("writes", "commits"), [(30, 1), (GROUP, 1), (GROUP + 1, 2)])
async def test_small_writes_that_wait_together_share_a_commit(store_url: str, writes: int, commits: int) -> None:
    seen: list[object] = []
    async with Store(store_url) as store:
        event.listen(store.writer._engine, "commit", seen.append)  # noqa: SLF001 - counted where it happens
        await queue(store, *((Priority.POLL, put(f"{no:03}")) for no in range(writes)))
    assert len(seen) == 1 + commits  # the gate before them has its own
    assert len(kept(store_url)) == writes


async def test_the_urgent_goes_first_and_equals_in_order(store_url: str) -> None:
    order: list[str] = []

    def note(name: str) -> Callable[[Connection], None]:
        return lambda _: order.append(name)

    async with Store(store_url) as store:
        await queue(
            store,
            (Priority.SETTLE, note("settle")),
            (Priority.POLL, note("poll 1")),
            (Priority.DELIVERY, note("ack")),
            (Priority.TAP, note("tap")),
            (Priority.POLL, note("poll 2")),
        )
    assert order == ["tap", "poll 1", "poll 2", "ack", "settle"]


async def test_closing_writes_what_is_queued_and_then_refuses(store_url: str) -> None:
    store = Store(store_url)
    gate = Gate()
    tasks = [asyncio.create_task(store.writer.submit(Priority.TAP, gate))]
    await asyncio.to_thread(gate.reached.wait)
    tasks += [asyncio.create_task(store.writer.submit(Priority.SETTLE, put(key))) for key in "ab"]
    await asyncio.sleep(0)
    closing_store = asyncio.create_task(store.close())
    gate.open.set()
    await closing_store
    await asyncio.gather(*tasks)
    assert kept(store_url) == ["a", "b"]
    with pytest.raises(RuntimeError, match="closed"):
        await store.writer.submit(Priority.TAP, put("c"))


async def test_what_is_cancelled_in_the_queue_is_not_written(store_url: str) -> None:
    async with Store(store_url) as store:
        gate = Gate()
        first = asyncio.create_task(store.writer.submit(Priority.TAP, gate))
        await asyncio.to_thread(gate.reached.wait)
        second = asyncio.create_task(store.writer.submit(Priority.POLL, put("never")))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        gate.open.set()
        await first
        await store.writer.submit(Priority.SETTLE, put("after"))
    assert kept(store_url) == ["after"]


def test_kill_9_of_the_writing_process_loses_nothing_that_was_acknowledged(store_url: str) -> None:
    last = 0
    for _ in range(CYCLES):
        command = [sys.executable, "-c", WRITER, store_url, str(last + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                last = int(line)
                if last % 20 == 0:
                    child.send_signal(signal.SIGKILL)
                    break
            last = max([last, *(int(line) for line in child.stdout)])  # acknowledged while the signal was on its way
        last = check_kept(store_url, last)


def check_kept(url: str, acknowledged: int) -> int:
    """Up to which number both a poll and a charge are kept: at least all acknowledged ones, numbered without a gap."""
    if url.startswith("sqlite"):
        assert rows(url, "PRAGMA integrity_check") == [("ok",)]
    numbers = [seq for (seq,) in rows(url, "SELECT seq FROM event ORDER BY seq")]
    polls = [seq for (seq,) in rows(url, "SELECT seq FROM poll ORDER BY seq")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert polls == list(range(1, len(polls) + 1))
    assert rows(url, "SELECT count(*) FROM reading") == [(len(polls),)]
    both = min(len(numbers), len(polls))
    assert both >= acknowledged
    return both


async def test_a_guard_that_cannot_look_at_the_database_ends_no_writing(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk that fails then: the connection cannot be opened anew to see what room there is in it."""

    class Blind:
        full = True

        def admits(self, _: object, priority: Priority) -> bool:
            if priority is not Priority.TAP:
                raise sqlite3.OperationalError
            return True

        def relieve(self, *_: object) -> bool:
            return False

    async with Store(store_url) as store:
        guard = store.writer._guard  # noqa: SLF001 - a disk that fails, in the tests of the disk as root
        monkeypatch.setattr(store.writer, "_guard", Blind())
        async with asyncio.timeout(PATIENCE):
            results = await queue(store, *((Priority.POLL, put(key)) for key in "ab"))
            assert [type(result).__name__ for result in results] == ["OperationalError", "OperationalError"]
            monkeypatch.setattr(store.writer, "_guard", guard)
            await store.writer.submit(Priority.POLL, put("c"))
    assert kept(store_url) == ["c"]
