"""The one thread that writes, urgent work first."""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import Connection

from gateway.store.errors import DATABASE_ERRORS, StorageError

if TYPE_CHECKING:
    from sqlalchemy import Engine

_T = TypeVar("_T")
Work = Callable[[Connection], _T]
"""Changes rows through the connection and nothing else: it may run twice before it is committed once."""

GROUP = 64
"""as many queued works of one priority share a commit"""
STALLED_AFTER = 10.0
"""seconds after which a disk that does not answer is told"""
STALLED = "the disk has not answered for 10 s: look at the system's log"
FULL = "there is no room for readings and charges: make room on the disk of the store"


class Priority(IntEnum):
    """What waits for what."""

    TAP = 0
    POLL = 1
    DELIVERY = 2
    SETTLE = 3
    RETAIN = 4


class Guard(Protocol):
    """What is done about a disk that is full."""

    def admits(self, connection: Connection, priority: Priority) -> bool:
        """Whether a write of this priority may be tried now."""

    def relieve(self, connection: Connection, error: BaseException | None) -> bool:
        """Something was refused: make what room there is to make; whether it is worth to try again."""

    @property
    def full(self) -> bool:
        """Whether there is no room for everything, though something may still be written."""


class Health(Protocol):
    """Who is told how storing goes, from any thread and as often as it is tried."""

    def failing(self, reason: str) -> None:
        """Nothing can be kept just now."""

    def well(self) -> None:
        """Something was kept."""


@dataclass(order=True, slots=True)
class _Job:
    priority: Priority
    number: int
    work: Work[Any] = field(compare=False)
    future: Future[Any] = field(compare=False)


class Writer:
    """Runs each work in a transaction, one after the other, in a thread of its own.

    Works of the same priority that wait together are committed together; where one of them fails, each
    is run again in a transaction of its own, so that it takes down nobody else.
    """

    def __init__(
        self, engine: Engine, guard: Guard, trouble: Callable[[Exception], str | None], health: Health
    ) -> None:
        """`trouble` says in a sentence, or not, that an error comes from the disk and not from the work."""
        self._engine = engine
        self._guard = guard
        self._trouble = trouble
        self._health = health
        self._connection = engine.connect()
        self._jobs: list[_Job] = []
        self._submitted = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, priority: Priority, work: Work[_T]) -> _T:
        """What `work` returns, once it is durable; its exception once it is rolled back.

        StorageError where nothing can be kept just now: it may be tried again. Cancelled while it waits in the queue
        it never runs; cancelled later it may still be committed.
        """
        future: Future[_T] = Future()
        with self._changed:
            if self._closing:
                message = "the store is closed"
                raise RuntimeError(message)
            self._submitted += 1
            heapq.heappush(self._jobs, _Job(priority, self._submitted, work, future))
            self._changed.notify()
        slow = asyncio.get_running_loop().call_later(STALLED_AFTER, self._health.failing, STALLED)
        try:
            return await asyncio.wrap_future(future)
        finally:
            slow.cancel()

    def close(self) -> None:
        """Finish what is queued, then let go of the connection."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._connection.close()
        self._engine.dispose()

    def _run(self) -> None:
        while group := self._next_group():
            if len(group) == 1 or not self._commit(group):
                for job in group:
                    self._commit_alone(job)

    def _next_group(self) -> list[_Job]:
        """What to run next; nothing once closed and drained."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._jobs or self._closing)
                group = self._take()
                if group or self._closing:
                    return group

    def _take(self) -> list[_Job]:
        """The queued jobs of the most urgent priority, at most `GROUP`, without the cancelled ones."""
        group: list[_Job] = []
        while self._jobs and len(group) < GROUP and (not group or self._jobs[0].priority == group[0].priority):
            job = heapq.heappop(self._jobs)
            if job.future.set_running_or_notify_cancel():
                group.append(job)
        return group

    def _commit(self, group: list[_Job]) -> bool:
        try:
            if not self._guard.admits(self._connection, group[0].priority):
                return False
            with self._connection.begin():
                results = [job.work(self._connection) for job in group]
        except Exception:  # noqa: BLE001 - each job is run again alone and gets the error that is its own
            return False
        self._tell_kept()
        for job, result in zip(group, results, strict=True):
            job.future.set_result(result)
        return True

    def _commit_alone(self, job: _Job) -> None:
        try:
            result = self._with_relief(job)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    def _with_relief(self, job: _Job) -> Any:  # noqa: ANN401 - what the work returns
        try:
            try:
                return self._transaction(job)
            except StorageError as error:
                if not self._guard.relieve(self._connection, error.__cause__):
                    raise
            return self._transaction(job)
        except StorageError as error:
            self._health.failing(error.reason)
            raise

    def _transaction(self, job: _Job) -> Any:  # noqa: ANN401 - what the work returns
        try:
            if not self._guard.admits(self._connection, job.priority):
                raise StorageError(FULL)
            with self._connection.begin():
                result = job.work(self._connection)
        except DATABASE_ERRORS as error:
            reason = self._trouble(error)
            if reason is None:
                raise
            raise StorageError(reason) from error
        self._tell_kept()
        return result

    def _tell_kept(self) -> None:
        if not self._guard.full:
            self._health.well()
