"""How a person starts and ends a simulation: a folder of its own, Ctrl-C, and one sentence where something is wrong."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from simulators.broker import AddressError, BrokerError
from simulators.clock import ClockError
from simulators.processes import ChildError
from simulators.truth import TruthError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

ENDED, FAILED, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 3, 4, 130


class RequestError(Exception):
    """What is asked for is not possible. The text is one sentence."""


@contextmanager
def own_folder(folder: Path, called: str) -> Iterator[Path]:
    """The folder, emptied, which stays when the run ends; RequestError while another run has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"Another {called} is running in {folder}: end it first, or start this one in another folder."
            raise RequestError(message) from error
        shutil.rmtree(folder)
        folder.mkdir()
        yield folder.resolve()


async def until_interrupted(simulation: Coroutine[Any, Any, bool], *, endless: bool) -> int:
    """The exit code of what says whether all agreed; Ctrl-C, SIGTERM and a closed terminal end it tidily."""
    work = asyncio.create_task(simulation)
    interrupted = asyncio.Event()

    def interrupt() -> None:
        if not interrupted.is_set():  # the second Ctrl-C must not disturb the tidying up after the first
            interrupted.set()
            work.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt)
    try:
        return ENDED if await work else FAILED
    except asyncio.CancelledError:
        print("Ended.", flush=True)
        return ENDED if endless else INTERRUPTED


def exit_code(run: Callable[[], int]) -> int:
    """The exit code of a run; what stopped it is told in its own words."""
    try:
        return run()
    except (RequestError, AddressError, TruthError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except BrokerError as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    except (ChildError, ClockError) as error:
        print(error, file=sys.stderr)
        return FAILED
