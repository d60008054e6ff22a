"""Whether a dead meter takes its neighbours' time: 32 meters at 9600 Bd, all alive and with one dead, side by side."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from benches.figure import Figure, say
from benches.modbus_round import BAUD, METERS, MODEL, TURNAROUND, until_there
from drivers.modbus import driver
from drivers.modbus.settings import BusSettings, MeterSettings
from gateway.clock import SystemClock
from gateway.core.event import Alarm
from gateway.service.poll import Line, Poller
from simulators.processes import Children, python

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.service.alarms import Ended
    from gateway.service.polled import Poll

LIMIT = 1.01
POLL = timedelta(seconds=5)
"""a round takes 2.8 s; the time-out of a dead meter and the silence behind it 2 s"""
SECONDS = 60
"""that are measured, unless BENCH_SECONDS says otherwise"""
DEAD = METERS // 2


class _Book:
    """Keeps when each meter was read, in seconds."""

    def __init__(self) -> None:
        self.times: defaultdict[str, list[float]] = defaultdict(list)

    async def keep(self, polls: Sequence[Poll]) -> None:
        for poll in polls:
            self.times[poll.meter].append(poll.at.timestamp())

    async def change_alarms(self, changes: Sequence[Alarm | Ended]) -> None:
        """Say what begins."""
        for each in changes:
            if isinstance(each, Alarm):
                say(f"  {each.code} of {each.source}")


async def measure(folder: Path) -> Figure:
    """The longest median period of a neighbour of the dead meter, over the one that it has where all are alive.

    Beside it the worst lateness: how much longer than the poll time any two reads of a meter were apart.
    """
    for name in ("alive", "dead"):
        folder.joinpath(name).mkdir()
    alive, dead = await asyncio.gather(_polled(folder / "alive"), _polled(folder / "dead", dead=DEAD))
    neighbours = sorted(set(alive) - {str(DEAD)})
    value = max(median(_periods(dead[meter])) / median(_periods(alive[meter])) for meter in neighbours)
    peers: dict[str, float] = {
        "neighbours": sum(meter in dead for meter in neighbours),
        "dead_read": len(dead.get(str(DEAD), ())),
        "worst_late_ms": _worst_late_ms(dead, neighbours),
        "alive_worst_late_ms": _worst_late_ms(alive, neighbours),
    }
    note = "BENCH_SECONDS=300 for five minutes"
    return Figure(name="modbus_dead_unit", unit="times", value=value, limit=LIMIT, peers=peers, note=note)


async def _polled(folder: Path, dead: int | None = None) -> Mapping[str, list[float]]:
    """When the real poller has read each meter of a line of its own; the dead one is at an address of nobody."""
    link, book, clock = folder / "ttyUSB0", _Book(), SystemClock()
    simulated = ["--pty", str(link), "--baud", str(BAUD), "--turnaround", str(TURNAROUND)]
    addresses = {str(unit): METERS + 1 if unit == dead else unit for unit in range(1, METERS + 1)}
    wired = {meter: MeterSettings(model=MODEL, address=address) for meter, address in addresses.items()}
    bus = driver.open(BusSettings(device=str(link), baud=BAUD, parity="even"), wired, clock)
    line = Line(id=folder.name, poll=POLL, meters=tuple(wired))
    poller = Poller(line, bus, clock=clock, store=book, alarms=book, boot="bench", beat=lambda: None)
    async with Children(folder) as children:
        await children.start(
            "meters", python("simulators.modbus", *simulated, "--kind", MODEL, "--meters", str(METERS)), piped=True
        )
        await until_there(link)
        polling = asyncio.create_task(poller.run())
        await asyncio.sleep(2 * POLL.total_seconds())  # the dead one goes behind the others
        since = clock.now().timestamp()
        say(f"  {folder.name}: {_seconds()} s are measured ...")
        await asyncio.wait({polling}, timeout=_seconds())
        polling.cancel()
        await asyncio.wait({polling})
        await bus.close()
    return {meter: [at for at in times if at >= since] for meter, times in book.times.items()}


def _periods(times: Sequence[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


def _worst_late_ms(times: Mapping[str, Sequence[float]], meters: Sequence[str]) -> float:
    return 1000 * max(max(_periods(times[meter])) for meter in meters) - 1000 * POLL.total_seconds()


def _seconds() -> int:
    return int(os.environ.get("BENCH_SECONDS", SECONDS))
