"""How long the daemon takes from its start until it works."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from benches import house
from benches.figure import Figure, say
from benches.plant import QUARTER, standing
from benches.process import waited_s

if TYPE_CHECKING:
    from pathlib import Path

    from benches.plant import Plant

LIMIT = 2.0
"""seconds: issue 3 of the project, figures"""
LIMIT_TIMES = 1.5
"""as long as only loading the libraries takes"""
RUNS = 7
_OURS = re.compile(r"(?:gateway|drivers|__main__|__mp_main__)\b")
_LINE = re.compile(r"import time:\s*\d+ \|\s*\d+ \|\s*(\S+)")
_LOAD = """
import sys
for name in sys.argv[1].split(","):
    try:
        __import__(name)
    except ImportError:  # a part that its package makes up while it loads
        pass
"""


async def measure(folder: Path) -> Figure:
    """From the start of the process to READY=1, with 60 meters wired; beside the import of the same libraries."""
    async with standing(folder, house.write(folder / "building", laundry=True), poll=QUARTER) as plant:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(folder / "notify"))
            systemd.setblocking(False)  # noqa: FBT003 - the socket's own signature
            names = await _libraries(plant, systemd)
            ready, waited, bare = [], [], []
            for run in range(RUNS):
                say(f"  start {run + 1} of {RUNS}")
                taken, left_out = await _ready(plant, systemd)
                ready.append(taken - left_out)
                waited.append(left_out)
                bare.append(await _bare(names))
    limit = min(LIMIT, LIMIT_TIMES * median(bare))
    peers = {"bare_import": median(bare), "fastest": min(ready), "slowest": max(ready), "waited": median(waited)}
    note = "without what it waited for a processor"
    return Figure(name="ready_s", unit="s", value=median(ready), limit=limit, peers=peers, note=note)


async def _ready(plant: Plant, systemd: socket.socket) -> tuple[float, float]:
    """How long it took, and how much of that it waited for a processor."""
    begun = time.perf_counter()
    daemon = await plant.children.start("daemon", plant.command("run"), environment=_environment(plant))
    await asyncio.get_running_loop().sock_recv(systemd, 100)
    taken = time.perf_counter() - begun, waited_s(daemon.pid)
    await _end(plant, systemd)
    return taken


async def _libraries(plant: Plant, systemd: socket.socket) -> list[str]:
    """All modules that the daemon has loaded when it works and that are not ours, in their order."""
    program = plant.command("run")
    program[1:1] = ["-X", "importtime"]
    log = plant.folder / "daemon.log"
    log.unlink(missing_ok=True)
    await plant.children.start("daemon", program, environment=_environment(plant))
    await asyncio.get_running_loop().sock_recv(systemd, 100)
    await _end(plant, systemd)
    names = _LINE.findall(log.read_text(encoding="utf-8"))
    return [name for name in dict.fromkeys(names) if not _OURS.match(name)]


async def _bare(names: list[str]) -> float:
    """CPU time of a process that loads them and ends: it waits for nothing."""
    before = os.times()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _LOAD, ",".join(names))
    await process.wait()
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _environment(plant: Plant) -> dict[str, str]:
    return {**plant.environment, "NOTIFY_SOCKET": str(plant.folder / "notify")}


async def _end(plant: Plant, systemd: socket.socket) -> None:
    await plant.children.end("daemon")
    await asyncio.get_running_loop().sock_recv(systemd, 100)  # STOPPING=1
