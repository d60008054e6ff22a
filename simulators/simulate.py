"""`submeter simulate BUILDING`: the devices of a building, a broker, a receiver of charges, and a clock that runs fast.

`python -m simulators.simulate BUILDING CONFIG`. Everything but the gateway, which somebody starts beside it with the
settings that are written to CONFIG. Environment: BROKER (host:port) names a broker that is there.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from simulators import truth
from simulators.console import RequestError, exit_code, own_folder, until_interrupted
from simulators.processes import Children
from simulators.run import Run, say

BUILDINGS = Path(__file__).parent / "buildings"
FOLDER = Path("build") / "simulate"
CLOCK = FOLDER / "clock"
"""relative: the path of a socket has room for 107 bytes"""


def building(named: str) -> Path:
    """The folder of this name, else that of a building that comes along; RequestError."""
    folder = next((one for one in (Path(named), BUILDINGS / named) if os.access(one / "devices.toml", os.R_OK)), None)
    if folder is None:
        own = ", ".join(sorted(one.parent.name for one in BUILDINGS.glob("*/devices.toml")))
        message = f"{named} is no folder with devices.toml; name one, or a building that comes along: {own}."
        raise RequestError(message)
    return folder


def free(config: Path) -> None:
    """Settings that are there already stay; RequestError."""
    try:
        is_there = config.exists()
        config.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{config} cannot be written ({error.strerror}): name another file with --config."
        raise RequestError(message) from error
    if is_there:
        message = f"{config} is there already: move it and its store away, or name another file with --config."
        raise RequestError(message)


async def simulate(played: truth.Truth, config: Path, folder: Path) -> bool:
    """Wait for a gateway to follow the clock, then let months pass."""
    async with Children(folder) as children:
        run = Run(played, folder, CLOCK, children)
        try:
            await run.begin(os.environ.get("BROKER", ""), config)
            say(f"settings   {config}")
            say(f"clock      SUBMETER_CLOCK={CLOCK} submeter run: it stands until a gateway is started so")
            return await run.months(None)
        finally:
            await run.close()


def main() -> int:
    """Play the building until Ctrl-C; the exit code."""
    named, config = sys.argv[1], Path(sys.argv[2])
    played = truth.load(building(named))
    free(config)
    with own_folder(FOLDER, "simulation") as folder:
        return asyncio.run(until_interrupted(simulate(played, config, folder), endless=True))


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
