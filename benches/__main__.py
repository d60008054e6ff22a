"""`python -m benches`: measure the figures, all or those that ONLY names; a table on stdout, and build/bench.json.

Exit codes: 0 all reach their limits, 1 one does not or could not be measured, 3 ONLY names none, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benches import report
from benches.catalogue import BENCHES
from benches.figure import Figure, UnmeasurableError, say
from simulators.broker import BrokerError
from simulators.clock import ClockError
from simulators.processes import ChildError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benches.figure import Bench

FILE = Path("build") / "bench.json"
REACHED, MISSED, REFUSED, INTERRUPTED = 0, 1, 3, 130


def main(benches: Mapping[str, Bench] = BENCHES, only: str | None = None, file: Path = FILE) -> int:
    """Measure and report; the exit code. `only` None: as the environment says."""
    asked = os.environ.get("ONLY", "") if only is None else only
    wanted = [name.strip() for name in asked.split(",") if name.strip()] or list(benches)
    unknown = [name for name in wanted if name not in benches]
    if unknown:
        say(f"ONLY={asked}: there is no figure {', '.join(unknown)}; there are: {', '.join(benches)}.")
        return REFUSED
    figures: list[Figure] = []
    report.write(figures, file)
    try:
        finished = asyncio.run(_until_interrupted({name: benches[name] for name in wanted}, figures, file))
    except KeyboardInterrupt:  # before there was a handler
        finished = False
    if figures:
        print(report.table(figures))
    if not finished:
        say(f"Interrupted: {len(figures)} of {len(wanted)} figures are in {file}.")
        return INTERRUPTED
    return REACHED if all(figure.ok for figure in figures) else MISSED


async def _until_interrupted(benches: Mapping[str, Bench], figures: list[Figure], file: Path) -> bool:
    """Whether all was measured; Ctrl-C and SIGTERM end what runs."""
    work = asyncio.create_task(_measure(benches, figures, file))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return False
    return True


async def _measure(benches: Mapping[str, Bench], figures: list[Figure], file: Path) -> None:
    for position, (name, bench) in enumerate(benches.items(), 1):
        say(f"[{position}/{len(benches)}] {name} ...")
        # the path of a socket has room for 107 bytes
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
            figures.append(await _figure(name, bench, Path(folder)))
        report.write(figures, file)


async def _figure(name: str, bench: Bench, folder: Path) -> Figure:
    try:
        return await bench(folder)
    except (UnmeasurableError, BrokerError, ChildError, ClockError, TimeoutError) as error:
        why = " ".join(str(error).split()) or "what was waited for did not come"
        return Figure(name=name, unit="", value=None, limit=None, note=why)


if __name__ == "__main__":
    sys.exit(main())
