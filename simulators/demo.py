"""`python -m simulators.demo`: a simulated building, a broker, the real gateway, and a receiver of its charges.

The simulated clock is stepped from here, one poll at a time: first the devices show the next instant, then the
gateway does everything that is due by then. After the end of a month the receiver's charges are compared with what
the simulator's own calculation expects.

Environment: DEMO_SECONDS (end after the first month, at the latest so many seconds after the daemon's start; exit 0
only if all agrees), BROKER (host:port), BUILDING (folder with devices.toml and property.toml).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from simulators import truth
from simulators.console import RequestError, exit_code, own_folder, until_interrupted
from simulators.processes import Children
from simulators.run import Run

SONNENHOF = Path(__file__).parent / "buildings" / "sonnenhof"
FOLDER = Path("build") / "demo"


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


async def demo(asked: Request, folder: Path) -> bool:
    """Let the months pass until the time is up; whether all agreed."""
    building, config = truth.load(asked.building), folder / "gateway.toml"
    with tempfile.TemporaryDirectory(prefix="submeter-") as short:  # the path of a socket has room for 107 bytes
        async with Children(folder) as children:
            run = Run(building, folder, Path(short) / "clock", children)
            try:
                await run.begin(asked.broker, config)
                await run.employ(config, asked.building / "property.toml")
                return await run.months(asked.seconds)
            finally:
                await run.close()


def main() -> int:
    """Run the demo as the environment asks; the exit code."""
    asked = request()
    with own_folder(FOLDER, "demo") as folder:
        return asyncio.run(until_interrupted(demo(asked, folder), endless=asked.seconds is None))


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
