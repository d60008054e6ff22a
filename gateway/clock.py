"""Time: the system's clock, and one that a simulation steps. The only place that asks what time it is."""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import time
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gateway.ports.clock import Waiter, WallClock

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from contextlib import AbstractContextManager

    Run = Callable[[], Coroutine[Any, Any, None]]

RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
"""no wall clock that is right shows less"""
JUMP = timedelta(days=1)
"""a clock that is right is not corrected by more at once"""
SLICE = timedelta(seconds=2)
"""a waiter looks at the wall clock this often, because somebody may set it"""
TIMESYNC = Path("/run/systemd/timesync/synchronized")


class Bell(Protocol):
    """What one worker rings to wake another."""

    def ring(self) -> None:
        """Wake the worker that waits, or spare it its next wait."""

    async def wait(self, instant: datetime) -> None:
        """Return once it was rung or the clock has reached the instant."""


class DaemonClock(WallClock, Waiter, Protocol):
    """What the daemon's workers share."""

    async def started(self) -> None:
        """Return once there is a time: `now` may not be asked before."""

    def bell(self) -> Bell:
        """A new bell of this clock."""

    def busy(self) -> AbstractContextManager[None]:
        """Work of no enrolled worker, which a step of the clock waits for all the same."""

    def enrolled(self, run: Run) -> Run:
        """The worker, counted as busy from this call on except while it waits for the clock or a bell."""


class SystemClock:
    """The system's clock. It is never stepped by us, so nobody needs to be enrolled."""

    def __init__(self, beat: Callable[[], None] = lambda: None) -> None:
        """`beat` is called by every waiter every two seconds: it waits, but it lives."""
        self._beat = beat
        self._booted: datetime | None = None
        """when the machine was, as the wall clock had it when it was last believed"""

    async def started(self) -> None:
        """Return at once."""

    def now(self) -> datetime:
        """The present instant in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment, without jumps."""
        return time.monotonic()

    def trusted(self) -> bool:
        """Whether the clock is synchronised (where that cannot be told, may be right) and has not jumped since.

        After a jump it is believed again once it is back, or by a process started anew: a time server that errs says
        "synchronised" too, and only a person can tell it from one that puts an error right.
        """
        return self._synchronised() and self._went_on()

    def _synchronised(self) -> bool:
        if TIMESYNC.exists():
            return True
        synchronised = _kernel_synchronised()
        return self.now() >= RELEASED if synchronised is None else synchronised

    def _went_on(self) -> bool:
        booted = self.now() - timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))
        if self._booted is not None and abs(booted - self._booted) > JUMP:
            return False
        self._booted = booted
        return True

    async def until(self, instant: datetime) -> None:
        """Return once the clock has reached the instant or was set back."""
        await self._until(instant, asyncio.sleep)

    def bell(self) -> Bell:
        """A new bell."""
        return _SystemBell(self._until)

    def busy(self) -> AbstractContextManager[None]:
        """Nothing: no step waits."""
        return nullcontext()

    def enrolled(self, run: Run) -> Run:
        """The worker as it is."""
        return run

    async def _until(self, instant: datetime, sleep: Callable[[float], Awaitable[object]]) -> None:
        before = now = self.now()
        while before <= now < instant:
            self._beat()
            if await sleep(min(SLICE, instant - now).total_seconds()):
                return
            before, now = now, self.now()


class _SystemBell:
    def __init__(self, until: Callable[[datetime, Callable[[float], Awaitable[object]]], Awaitable[None]]) -> None:
        self._until = until
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, instant: datetime) -> None:
        await self._until(instant, self._ring_within)
        self._rung.clear()

    async def _ring_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._rung.wait()
        except TimeoutError:
            return False


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)  # looked up once: it is asked at every answer of a meter


def _kernel_synchronised() -> bool | None:
    """Whether the kernel counts its clock as synchronised; None where it does not say."""
    if _adjtimex is None:  # a C library without it
        return None
    state = _adjtimex(ctypes.byref(_Timex()))
    return None if state < 0 else state != _TIME_ERROR


@dataclass(slots=True, order=True)
class _Waiting:
    """A task that waits. Of one instant, those that wait for a bell wake when the others have done their work."""

    instant: datetime
    for_bell: bool
    number: int
    task: asyncio.Task[Any] = field(compare=False)
    woken: asyncio.Future[None] = field(compare=False)


class SteppedClock:
    """A clock that moves only when it is told to, through everything that is due on the way."""

    def __init__(self) -> None:
        self._now: datetime | None = None
        self._started = asyncio.Event()
        self._busy: set[object] = set()
        self._known: set[asyncio.Task[Any]] = set()
        self._queue: list[_Waiting] = []
        self._came = 0
        self._changed = asyncio.Event()

    async def started(self) -> None:
        """Return once the first instant has been stepped to."""
        await self._started.wait()

    def now(self) -> datetime:
        """The instant that was stepped to."""
        if self._now is None:
            message = "the stepped clock has not been told its first instant"
            raise RuntimeError(message)
        return self._now

    def monotonic(self) -> float:
        """Real seconds: time-outs of lines and networks are never accelerated."""
        return time.monotonic()

    def trusted(self) -> bool:
        """Always: who steps it knows what time it is."""
        return True

    async def until(self, instant: datetime) -> None:
        """Return once the clock has been stepped to the instant."""
        if instant > self.now():
            await self.rest(self.waiting(instant))

    def bell(self) -> Bell:
        """A new bell."""
        return _SteppedBell(self)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Hold the running step until the block is left."""
        token = object()
        self._busy.add(token)
        try:
            yield
        finally:
            self._free(token)

    def enrolled(self, run: Run) -> Run:
        """The worker, busy from now on: a step waits for it even before its task has begun."""
        token = object()
        self._busy.add(token)

        async def begun() -> None:
            self._occupy(_current())
            self._free(token)
            await run()

        return begun

    async def step(self, to: datetime) -> None:
        """Go to the instant through everything due by then; ValueError where that would be backwards."""
        if self._now is None:
            self._now = to
            self._started.set()
        if to < self._now:
            message = f"{to.isoformat()} is before {self._now.isoformat()}; a step goes forward"
            raise ValueError(message)
        await self._all_wait()
        while self._queue and self._queue[0].instant <= to:
            first = self._queue[0]
            self._now = max(self._now, first.instant)
            while self._queue and (self._queue[0].instant, self._queue[0].for_bell) <= (self._now, first.for_bell):
                self.wake(heapq.heappop(self._queue))
            await self._all_wait()
        self._now = to

    def waiting(self, instant: datetime, *, for_bell: bool = False) -> _Waiting:
        """The current task, queued for the instant."""
        self._came += 1
        future = asyncio.get_running_loop().create_future()
        waiting = _Waiting(instant, for_bell, self._came, _current(), future)
        heapq.heappush(self._queue, waiting)
        return waiting

    def wake(self, waiting: _Waiting) -> None:
        """Let the task go on. It is busy from this moment, not from when the event loop comes to it."""
        if not waiting.woken.done():
            self._occupy(waiting.task)
            waiting.woken.set_result(None)

    async def rest(self, waiting: _Waiting) -> None:
        """Wait to be woken; the task is not busy meanwhile."""
        self._free(waiting.task)
        try:
            await waiting.woken
        finally:
            self._occupy(waiting.task)  # also when cancelled: what it does last is work too

    async def _all_wait(self) -> None:
        while self._busy:
            self._changed.clear()
            await self._changed.wait()

    def _occupy(self, task: asyncio.Task[Any]) -> None:
        self._busy.add(task)
        if task not in self._known:
            self._known.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._known.discard(task)
        self._free(task)

    def _free(self, token: object) -> None:
        self._busy.discard(token)
        self._changed.set()


class _SteppedBell:
    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self._rung = False
        self._waiting: _Waiting | None = None

    def ring(self) -> None:
        if self._waiting is None:
            self._rung = True
        else:
            self._clock.wake(self._waiting)

    async def wait(self, instant: datetime) -> None:
        if not self._rung and instant > self._clock.now():
            self._waiting = self._clock.waiting(instant, for_bell=True)
            try:
                await self._clock.rest(self._waiting)
            finally:
                self._waiting = None
        self._rung = False


class StepServer:
    """The Unix socket through which a simulation steps the clock: an RFC 3339 instant a line, answered when done."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    async def open(self, path: str) -> None:
        """Listen; a socket left over from an earlier run is replaced. OSError where it cannot be made."""
        self._server = await asyncio.start_unix_server(self._accept, path)

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        conversation = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):  # the simulation has gone; the next one may come
            async for line in reader:
                writer.write(await self._answer(line))
                await writer.drain()

    async def _answer(self, line: bytes) -> bytes:
        try:
            instant = datetime.fromisoformat(line.decode().strip())
            if instant.tzinfo is None:
                return b"refused: the instant has no time zone; write e.g. 2026-10-01T00:00:00Z\n"
            async with self._one_at_a_time:
                await self._clock.step(instant.astimezone(UTC))
        except ValueError as error:
            return f"refused: {error}\n".encode()
        return line


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None, "only a task can wait"  # noqa: S101 - every coroutine of asyncio runs in one
    return task
