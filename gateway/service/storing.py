"""What becomes of work while nothing can be kept: the disk is full, read-only, or the database is gone."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gateway.service.alarms import AlarmLog, AlarmSink
from gateway.service.polled import ReadingStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from datetime import datetime

    from gateway.core.event import Alarm
    from gateway.service.alarms import Ended
    from gateway.service.polled import Poll

AGAIN = 5.0
"""seconds until it is tried again"""
SIGN_OF_LIFE = 30.0
ROUNDS = 100
"""as many writes wait in memory: a day of one line that is polled every quarter of an hour, about 6 MB for 60 meters"""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class StoreUnavailableError(Exception):
    """Nothing can be kept just now, and it may get better by itself or by a person's help."""

    @property
    def reason(self) -> str:
        """One sentence: what is wrong, and what to do."""
        return str(self)


class Sink(ReadingStore, AlarmSink, AlarmLog, Protocol):
    """Where readings and alarms are kept."""


class Backlog:
    """Hands readings and alarms to the store; what it cannot keep waits here, in order, and is tried again.

    The oldest is given up where more than `ROUNDS` wait: a reading that is not stored was never acknowledged.
    """

    def __init__(self, sink: Sink, beat: Callable[[], None]) -> None:
        """`beat` is called at every sign of life."""
        self._sink = sink
        self._beat = beat
        self._waiting: deque[Callable[[], Awaitable[object]]] = deque(maxlen=ROUNDS)
        self._filled = asyncio.Event()
        self.given_up = 0
        """writes that were lost"""

    def __len__(self) -> int:
        """How many writes wait."""
        return len(self._waiting)

    async def keep(self, polls: Sequence[Poll]) -> None:
        """Keep the polls of one round, now or later."""
        await self._do(partial(self._sink.keep, tuple(polls)))

    async def raise_alarm(self, alarm: Alarm) -> None:
        """Open the alarm, now or later."""
        await self._do(partial(self._sink.raise_alarm, alarm))

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        """End the alarm, now or later."""
        await self._do(partial(self._sink.end_alarm, code, source, at))

    async def change_alarms(self, changes: Sequence[Alarm | Ended]) -> None:
        """Raise and end alarms, now or later."""
        await self._do(partial(self._sink.change_alarms, tuple(changes)))

    async def run(self) -> None:
        """Try again what waits, until cancelled; then once more."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SIGN_OF_LIFE):
                        await self._filled.wait()
                self._beat()
                if not await self._catch_up():
                    await asyncio.sleep(AGAIN)
        finally:
            if not await self._catch_up():
                _log.error("%d writes could not be stored and are lost", len(self._waiting))

    async def _do(self, write: Callable[[], Awaitable[object]]) -> None:
        if not self._waiting:  # what waits goes first
            try:
                await write()
            except StoreUnavailableError as error:
                _log.warning("Readings and alarms wait in memory: %s", error.reason)
            else:
                return
        if len(self._waiting) == ROUNDS:
            self.given_up += 1
            _log.error("More than %d writes wait: the oldest was given up, the %d. so far", ROUNDS, self.given_up)
        self._waiting.append(write)
        self._filled.set()

    async def _catch_up(self) -> bool:
        """Whether nothing waits any more."""
        count = len(self._waiting)
        while self._waiting:
            write = self._waiting[0]
            try:
                await write()
            except StoreUnavailableError:
                return False
            if self._waiting[0] is write:  # else it was given up meanwhile, and kept after all
                self._waiting.popleft()
            self._beat()
        self._filled.clear()
        if count:
            _log.warning("Stored what had waited: %d writes", count)
        return True


async def to_the_end(work: Coroutine[Any, Any, _T]) -> _T:
    """What the work returns. Who is cancelled meanwhile waits until it is done, and is cancelled then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        task.result()  # what went wrong with it is told
        raise


def enduring(run: Callable[[], Awaitable[None]], beat: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    """The worker, begun anew whenever the store let it down: what it had not done it finds again in the store."""

    async def endure() -> None:
        while True:
            try:
                await run()
            except* StoreUnavailableError as group:
                _log.warning("Tried again in %g s: %s", AGAIN, _first(group))
            else:
                return
            beat()
            await asyncio.sleep(AGAIN)

    return endure


def _first(group: BaseExceptionGroup[StoreUnavailableError]) -> StoreUnavailableError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
