"""A disk that refuses: what is still written, what waits, and what happens when there is room again."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, text

from gateway.core.event import Alarm
from gateway.service import storing
from gateway.service.alarms import Ended
from gateway.service.storing import Backlog, StoreUnavailableError, enduring
from gateway.store import StorageError, Store, StoreError, writer
from gateway.store.ballast import DiskGuard
from gateway.store.writer import Priority
from tests.adapters.stores import QUARTER, START, charge, new_store, poll, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from gateway.service.polled import Poll

BALLAST = 200_000
TOO_MUCH = [replace(charge(no), data="x" * 4000) for no in range(1, 101)]
FULL = os.statvfs_result((4096, 4096, 1000, 0, 0, 100, 100, 100, 0, 255))
ROOM = os.statvfs_result((4096, 4096, 1000, 20, 20, 100, 100, 100, 0, 255))
"""for the database to be opened, not for the ballast"""
ALARM = Alarm(code="meter_silent", source="heat-01", severity="warning", since=START, text="x")


def no_room(*_: object) -> None:
    raise OSError


class Said:
    """What a store has told who watches it."""

    def __init__(self, store: Store) -> None:
        self.words: asyncio.Queue[str] = asyncio.Queue()
        store.watch(self.words.put_nowait, lambda: self.words.put_nowait("well"))


def limit(pages: int) -> Callable[[Connection], None]:
    """Let the database grow no further, as a full disk would: SQLite answers alike."""

    def work(connection: Connection) -> None:
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    return work


async def fill(store: Store) -> None:
    await store.writer.submit(Priority.TAP, limit(1))  # to what it has now
    with pytest.raises(StorageError, match="make room"):
        await store.publish(TOO_MUCH, START)


async def test_a_full_disk_is_an_error_that_says_so_and_leaves_the_store_usable(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)) as store:
        said = Said(store)
        await fill(store)
        assert await said.words.get() == f"{tmp_path}: the disk is full: make room"
        assert (await store.streams())[0].head == 0
        await store.writer.submit(Priority.TAP, limit(100_000))
        await store.publish(TOO_MUCH, START)
        assert (await store.streams())[0].head == len(TOO_MUCH)
        assert await said.words.get() == "well"


async def test_a_disk_that_stays_full_is_told_once(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)) as store:
        said = Said(store)
        await fill(store)
        for _ in range(2):
            with pytest.raises(StorageError):
                await store.publish(TOO_MUCH, START)
        await store.writer.submit(Priority.TAP, limit(100_000))
        assert [await said.words.get(), await said.words.get()] == [f"{tmp_path}: the disk is full: make room", "well"]


async def test_who_watches_later_is_told_at_once(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)) as store:
        await fill(store)
        assert Said(store).words.qsize() == 1


async def test_the_ballast_lies_beside_the_database_and_goes_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballast = tmp_path / "gateway.db.ballast"
    async with Store(new_store(tmp_path), ballast=BALLAST) as store:
        assert ballast.stat().st_blocks * 512 >= BALLAST
        monkeypatch.setattr(os, "statvfs", lambda _: FULL)
        await fill(store)
        assert not ballast.exists()


async def test_ballast_comes_back_with_room(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path), ballast=BALLAST) as store:
        await fill(store)
        await store.writer.submit(Priority.TAP, limit(100_000))
        assert (await store.keep([poll(reading())])).stored == 1
        assert (tmp_path / "gateway.db.ballast").stat().st_size == BALLAST


async def test_the_ballast_is_given_up_where_the_disk_has_no_room_to_open_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, ballast = new_store(tmp_path), tmp_path / "gateway.db.ballast"
    async with Store(url, ballast=BALLAST):
        pass
    monkeypatch.setattr(os, "statvfs", lambda _: FULL if ballast.exists() else ROOM)
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    async with Store(url, ballast=BALLAST) as store:
        assert not ballast.exists()
        with pytest.raises(StorageError, match="no room for readings and charges"):
            await store.keep([poll(reading())])
        await store.raise_alarm(ALARM)  # what is small has the room that the ballast has left


def test_a_disk_without_room_to_open_the_database_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_store(tmp_path)
    (tmp_path / "gateway.db-shm").write_bytes(b"\0\0\0")  # as an attempt to open it leaves it on a full disk
    monkeypatch.setattr(os, "statvfs", lambda _: FULL)
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert str(caught.value) == f"{tmp_path}: the disk is full: make room"


async def test_nobody_is_told_of_a_disk_on_which_giving_up_the_ballast_was_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store(new_store(tmp_path), ballast=BALLAST) as store:
        said = Said(store)

        def relieve(guard: DiskGuard, connection: Connection, error: BaseException | None) -> bool:
            done = given_up(guard, connection, error)
            limit(100_000)(connection)
            connection.rollback()
            return done

        given_up = DiskGuard.relieve
        monkeypatch.setattr(DiskGuard, "relieve", relieve)
        await store.writer.submit(Priority.TAP, limit(1))
        assert await store.publish(TOO_MUCH, START) == len(TOO_MUCH)
        await store.keep([poll(reading())])
        assert said.words.empty()


async def test_no_ballast_is_kept_where_none_is_wanted(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)):
        assert not (tmp_path / "gateway.db.ballast").exists()


async def test_without_ballast_taps_are_written_and_rounds_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store(new_store(tmp_path), ballast=BALLAST) as store:
        monkeypatch.setattr(os, "statvfs", lambda _: FULL)
        await fill(store)
        await store.writer.submit(Priority.TAP, limit(100_000))  # what the ballast has left
        with pytest.raises(StorageError, match="no room for readings and charges"):
            await store.keep([poll(reading())])
        await store.raise_alarm(Alarm(code="disk_full", source="gateway", severity="error", since=START, text="x"))
        monkeypatch.undo()
        await store.keep([poll(reading())])
        assert len(await store.open_alarms()) == 1


async def test_room_in_the_database_itself_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(connection: Connection) -> None:
        connection.execute(text("DELETE FROM event"))
        connection.execute(text("DELETE FROM charge"))

    async with Store(new_store(tmp_path), ballast=BALLAST) as store:
        await store.publish(TOO_MUCH, START)
        monkeypatch.setattr(os, "statvfs", lambda _: FULL)
        await store.writer.submit(Priority.TAP, limit(1))
        with pytest.raises(StorageError):
            await store.publish([replace(one, charge_id=one.charge_id[1:]) for one in TOO_MUCH], START)
        await store.writer.submit(Priority.RETAIN, forget)
        await store.keep([poll(reading())])


async def test_a_database_that_another_program_holds_is_tried_again(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    async with Store(url) as store:
        await store.writer.submit(Priority.TAP, lambda one: one.execute(text("PRAGMA busy_timeout = 1")).close())
        other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another program holds the database: end it"):
            await store.keep([poll(reading())])
        other.execute("ROLLBACK")
        other.close()
        assert (await store.keep([poll(reading())])).stored == 1


async def test_a_disk_that_does_not_answer_is_told_while_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "STALLED_AFTER", 0.01)
    answers = threading.Event()
    async with Store(new_store(tmp_path)) as store:
        said = Said(store)
        waiting = asyncio.create_task(store.writer.submit(Priority.POLL, lambda _: answers.wait()))
        assert "has not answered" in await said.words.get()
        answers.set()
        await waiting
        assert await said.words.get() == "well"


async def test_a_write_by_mistake_is_no_trouble_of_the_disk(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)) as store:
        said = Said(store)
        for runner in (store.reader.run, lambda work: store.writer.submit(Priority.TAP, work)):
            with pytest.raises(Exception, match="no such table") as caught:
                await runner(lambda connection: connection.execute(text("DELETE FROM unknown")))
            assert not isinstance(caught.value, StorageError)
        assert said.words.empty()


class Disk:
    """A sink that refuses while it is full."""

    def __init__(self) -> None:
        self.full = False
        self.kept: list[object] = []
        self.refused = asyncio.Event()
        self.took = asyncio.Event()

    async def keep(self, polls: Sequence[Poll]) -> None:
        self._take(polls[0].at)

    async def raise_alarm(self, alarm: Alarm) -> None:
        self._take(alarm.code)

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        del source, at
        self._take(f"no {code}")

    async def change_alarms(self, changes: Sequence[Alarm | Ended]) -> None:
        self._take([each.code for each in changes])

    def _take(self, what: object) -> None:
        if self.full:
            self.refused.set()
            message = "the disk is full: make room"
            raise StoreUnavailableError(message)
        self.kept.append(what)
        self.took.set()


async def hand_over(backlog: Backlog, first: int, last: int) -> None:
    for no in range(first, last):
        await backlog.keep([poll(reading(START + no * QUARTER))])


async def test_rounds_and_alarms_wait_in_memory_and_are_kept_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "AGAIN", 0.0)
    disk = Disk()
    backlog = Backlog(disk, lambda: None)
    await hand_over(backlog, 0, 1)
    disk.full = True
    await hand_over(backlog, 1, 3)
    await backlog.raise_alarm(ALARM)
    await backlog.end_alarm("meter_silent", "heat-01", START)
    await backlog.change_alarms([ALARM, Ended(code="line_down", source="m-1", at=START)])
    assert len(backlog) == 5
    running = asyncio.create_task(backlog.run())
    disk.refused.clear()
    await disk.refused.wait()  # it is tried again
    disk.full = False
    await hand_over(backlog, 3, 4)
    while len(backlog):
        disk.took.clear()
        await disk.took.wait()
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    times = [START + no * QUARTER for no in range(4)]
    assert disk.kept == [*times[:3], "meter_silent", "no meter_silent", ["meter_silent", "line_down"], times[3]]


async def test_what_waits_is_bounded_and_the_oldest_goes_first_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    disk.full = True
    backlog = Backlog(disk, lambda: None)
    await hand_over(backlog, 0, storing.ROUNDS + 3)
    assert (len(backlog), backlog.given_up) == (storing.ROUNDS, 3)
    lost = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert lost == [f"More than 100 writes wait: the oldest was given up, the {no}. so far" for no in (1, 2, 3)]


async def test_what_waits_is_tried_once_more_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    backlog = Backlog(disk, lambda: None)
    for still_full in (False, True):
        disk.full = True
        await hand_over(backlog, 0, 2)
        running = asyncio.create_task(backlog.run())
        await asyncio.sleep(0)
        disk.full = still_full
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert len(backlog) == (2 if still_full else 0)
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "2 writes could not be stored and are lost"
    ]


async def test_a_worker_that_the_store_lets_down_begins_anew_and_a_bug_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "AGAIN", 0.0)
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        async with asyncio.TaskGroup():
            if runs < 3:
                message = "the disk is full"
                raise StoreUnavailableError(message)
            raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        await enduring(work, lambda: None)()
    assert caught.group_contains(LookupError)
    assert runs == 3
