"""Runs named workers until the process is told to end, or one of them fails."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ENDED = 0
BROKEN = 1
STALE_AFTER = 120.0
"""seconds without a sign of life after which a worker counts as stuck: longer than the slowest read of one meter"""
SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE = 20.0
"""seconds that work in flight gets to finish"""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Heart:
    """When a worker last gave a sign of life."""

    last: float = field(default_factory=time.monotonic)

    def fresh(self) -> bool:
        """Whether that is recent."""
        return time.monotonic() - self.last < STALE_AFTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Something that runs as long as the daemon does."""

    name: str
    run: Callable[[], Awaitable[None]]
    """ends by cancellation only; what it has begun it finishes in its `finally`"""
    heart: Heart = field(default_factory=Heart)


_heart: ContextVar[Heart | None] = ContextVar("heart", default=None)


def beat() -> None:
    """Give a sign of life for the worker that calls this; nothing outside a worker."""
    heart = _heart.get()
    if heart is not None:
        heart.last = time.monotonic()


@dataclass(slots=True)
class _End:
    """That the workers are to end, and whether something went wrong."""

    told: asyncio.Event = field(default_factory=asyncio.Event)
    broken: bool = False


async def live(workers: Sequence[Worker], *, started: Callable[[], None], stopping: Callable[[], None]) -> int:
    """Run the workers; the exit code of the process.

    SIGTERM or SIGINT cancels them and gives `ENDED`; a second signal kills the process. A worker that fails,
    or ends by itself, ends all others and gives `BROKEN`. Work in flight has `GRACE` seconds to finish.
    `started` is called once signals are heard, `stopping` before the first worker is cancelled.
    """
    end = _End()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, _signalled, end, loop)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_guarded(worker, end), name=worker.name) for worker in workers]
        started()
        await end.told.wait()
        stopping()
        await _finish(tasks, end)
    return BROKEN if end.broken else ENDED


def _signalled(end: _End, loop: asyncio.AbstractEventLoop) -> None:
    end.told.set()
    for number in SIGNALS:  # who asks a second time means at once
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)


async def _guarded(worker: Worker, end: _End) -> None:
    _heart.set(worker.heart)
    try:
        await worker.run()
    except Exception:  # noqa: BLE001 - whatever it is, it is a bug: it is told with its worker and ends the process
        _log.exception("%s: failed", worker.name)
        end.broken = True
    else:
        if not end.told.is_set():
            _log.error("%s: ended by itself", worker.name)
            end.broken = True
    end.told.set()


async def _finish(tasks: Sequence[asyncio.Task[None]], end: _End) -> None:
    for task in tasks:
        task.cancel()
    _, late = await asyncio.wait(tasks, timeout=GRACE)
    for task in late:
        _log.error("%s: did not finish within %g s", task.get_name(), GRACE)
        end.broken = True
        task.cancel()
