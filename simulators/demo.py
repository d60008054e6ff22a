"""`python -m simulators.demo`: a simulated building, a broker, the real gateway, and a receiver of its charges.

The simulated clock is stepped from here, one poll at a time: first the devices show the next instant, then the
gateway does everything that is due by then. After the end of a month the receiver's charges are compared with what
the simulator's own calculation expects.

Environment: DEMO_SECONDS (end after the first month, at the latest so many seconds after the daemon's start; exit 0
only if all agrees), BROKER (host:port), BUILDING (folder with devices.toml and property.toml).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simulators import truth
from simulators.broker import AddressError, BrokerError
from simulators.clock import ClockError
from simulators.processes import ChildError, Children
from simulators.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

SONNENHOF = Path(__file__).parent / "buildings" / "sonnenhof"
FOLDER = Path("build") / "demo"
ENDED, FAILED, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 3, 4, 130


class RequestError(Exception):
    """The environment asks for something that is not possible. The text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the environment asks for."""

    seconds: int | None
    broker: str
    building: Path


def request() -> Request:
    """Read the environment; RequestError for a value that cannot be used."""
    text = os.environ.get("DEMO_SECONDS", "")
    if text and not (text.isascii() and text.isdecimal() and int(text)):
        message = f"DEMO_SECONDS={text} is no time: write a whole number of seconds such as 60."
        raise RequestError(message)
    return Request(
        seconds=int(text) if text else None,
        broker=os.environ.get("BROKER", ""),
        building=Path(os.environ.get("BUILDING") or SONNENHOF),
    )


@contextmanager
def own_folder() -> Iterator[Path]:
    """An empty folder for this run, which stays when it ends; RequestError while another run has it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FOLDER.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"Another demo is running in {FOLDER}: end it first, or start this one in another folder."
            raise RequestError(message) from error
        shutil.rmtree(FOLDER)
        FOLDER.mkdir()
        yield FOLDER.resolve()


async def demo(asked: Request, folder: Path) -> bool:
    """Let the months pass until the time is up; whether all agreed."""
    building = truth.load(asked.building)
    with tempfile.TemporaryDirectory(prefix="submeter-") as short:  # the path of a socket has room for 107 bytes
        async with Children(folder) as children:
            run = Run(building, asked.building / "property.toml", folder, Path(short) / "clock", children)
            try:
                await run.begin(asked.broker)
                return await run.months(asked.seconds)
            finally:
                await run.close()


async def until_interrupted(asked: Request, folder: Path) -> int:
    """The exit code; Ctrl-C, SIGTERM and a closed terminal end all children first."""
    work = asyncio.create_task(demo(asked, folder))
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
        return ENDED if asked.seconds is None else INTERRUPTED


def main() -> int:
    """Run the demo as the environment asks; the exit code."""
    try:
        asked = request()
        with own_folder() as folder:
            return asyncio.run(until_interrupted(asked, folder))
    except (RequestError, AddressError, truth.TruthError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except BrokerError as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    except (ChildError, ClockError) as error:
        print(error, file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
