"""How long a search of an M-Bus line takes, beside what the wire needs; on a clock that jumps."""

from __future__ import annotations

import asyncio
import random
from statistics import median
from typing import TYPE_CHECKING

from benches import mbus_wire
from benches.figure import Figure, UnmeasurableError, say
from drivers.mbus.link import Timing
from drivers.mbus.scan import Speed, scan
from gateway.ports.field import Device, ScanOrder
from simulators.mbus import Bus, Direct, Slave, telegrams_of_models
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMIT = 1.15
BAUD = 2400
LATENCY = 0.02
"""of a serial adapter, as the settings assume it"""
LINES = 15


async def measure(_folder: Path) -> Figure:
    """60 meters with random numbers are searched, on one line after the other: each found, and once."""
    ratios = []
    for seed in range(LINES):
        slaves = _slaves(random.Random(seed))
        needed = mbus_wire.search({slave.serial: len(slave.telegram()) for slave in slaves}, BAUD)
        found, seconds = await asyncio.to_thread(_searched, slaves)
        if sorted(found) != sorted(slave.serial for slave in slaves):
            message = f"line {seed}: {len(set(found))} of {len(slaves)} meters found, {len(found)} times"
            raise UnmeasurableError(message)
        ratios.append(seconds / needed)
        say(f"  line {seed + 1} of {LINES}: {seconds:.1f} s, the wire needs {needed:.1f} s")
    return Figure(
        name="mbus_search_2400",
        unit="x wire",
        value=median(ratios),
        limit=LIMIT,
        peers={"best": min(ratios), "worst": max(ratios)},
        note=f"median of {LINES} lines with {mbus_wire.METERS} random numbers; all found, none twice",
    )


def _slaves(chance: random.Random) -> list[Slave]:
    kinds = telegrams_of_models()
    numbers = chance.sample(range(10**8), mbus_wire.METERS)
    return [
        Slave(address=at, captured=kinds[mbus_wire.KINDS[at % len(mbus_wire.KINDS)]], serial=f"{number:08}")
        for at, number in enumerate(numbers, 1)
    ]


def _searched(slaves: Sequence[Slave]) -> tuple[list[str], float]:
    """The numbers found, and how long that took."""
    bus = Bus(slaves, baud=BAUD)

    async def connect() -> Direct:
        return Direct(bus)

    async def work() -> tuple[list[str], float]:
        speed = Speed(baud=BAUD, timing=Timing(baud=BAUD, latency=LATENCY), connect=connect)
        events = scan(lambda _: speed, (BAUD,), ScanOrder())
        found = [str(each.facts["secondary"])[:8] async for each in events if isinstance(each, Device)]
        return found, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work())
