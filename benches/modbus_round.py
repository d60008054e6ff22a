"""How long a round of many meters takes on a serial line, beside what the line itself allows."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from benches.figure import Figure, say
from benches.plant import HANGS
from drivers.modbus import driver
from drivers.modbus.model import meter_models
from drivers.modbus.settings import BusSettings, MeterSettings
from simulators.processes import Children, python

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.ports.field import MeterBus

METERS, BAUD, TURNAROUND = 32, 9600, 0.02
MODEL = "inepro-pro380"
LIMIT = 1.03
ROUNDS = 5
_BITS = 11
_AROUND, _PAUSES = 13, 2 * 3.5
"""octets of a question and its answer beside the words; its silences in characters"""
_LOOK_S = 0.05


class _RealClock:
    def now(self) -> datetime:
        return datetime(2026, 10, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return time.monotonic()


async def measure(folder: Path) -> Figure:
    """A round over the least that its octets, silences and turnarounds take; the meters are another process."""
    link = folder / "ttyUSB0"
    line = ["--pty", str(link), "--baud", str(BAUD), "--turnaround", str(TURNAROUND)]
    meters = {str(unit): MeterSettings(model=MODEL, address=unit) for unit in range(1, METERS + 1)}
    bus = driver.open(BusSettings(device=str(link), baud=BAUD, parity="even"), meters, _RealClock())
    async with Children(folder) as children:
        await children.start(
            "meters", python("simulators.modbus", *line, "--kind", MODEL, "--meters", str(METERS)), piped=True
        )
        await until_there(link)
        try:
            rounds = [await _round(bus, meters) for _ in range(1 + ROUNDS)][1:]
        finally:
            await bus.close()
    least = _least()
    peers = {"round_s": median(rounds), "limit_s": least, "fastest": min(rounds) / least}
    value = median(rounds) / least
    return Figure(name="modbus_round_9600", unit="times", value=value, limit=LIMIT, peers=peers)


async def _round(bus: MeterBus, meters: dict[str, MeterSettings]) -> float:
    begun = time.monotonic()
    for meter in meters:
        await bus.read(meter)
    say(f"  a round in {time.monotonic() - begun:.3f} s")
    return time.monotonic() - begun


def _least() -> float:
    """Seconds of a round by the line's physics alone."""
    requests = meter_models()[MODEL].requests(with_serial=False)
    characters = sum(_AROUND + 2 * request.count + _PAUSES for request in requests)
    return METERS * (characters * _BITS / BAUD + len(requests) * TURNAROUND)


async def until_there(link: Path) -> None:
    """Return once the simulated line is plugged in."""
    async with asyncio.timeout(HANGS):
        while not link.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(_LOOK_S)
