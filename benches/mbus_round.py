"""How long a round of 60 meters takes on a paced M-Bus line, beside what the wire needs."""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benches import mbus_wire
from benches.figure import Figure, UnmeasurableError, say
from drivers.mbus import driver
from gateway.clock import SystemClock
from gateway.ports.field import FieldError
from simulators.processes import Children, python

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

    from gateway.ports.field import MeterBus

_SECONDS = 40
"""that rounds are measured for: one at 2400 baud"""


async def measure(folder: Path, *, baud: int, limit: float) -> Figure:
    """The driver reads the meters that the simulator, a process of its own, plays on a pseudo-terminal."""
    device = folder / "line"
    kinds = [argument for kind in mbus_wire.KINDS for argument in ("--kind", kind)]
    line = ("--pty", str(device), "--meters", str(mbus_wire.METERS), "--baud", str(baud))
    async with Children(folder) as children:
        simulator = await children.start("meters", python("simulators.mbus", *line, *kinds), piped=True)
        answers = await _told(simulator)
        settings = driver.bus_schema.model_validate({"device": str(device), "baud": baud})
        meters = {
            str(address): driver.meter_schema.model_validate(
                {"address": address, "model": mbus_wire.KINDS[(address - 1) % len(mbus_wire.KINDS)]}
            )
            for address in answers
        }
        bus = driver.open(settings, meters, SystemClock())
        try:
            await _round(bus, answers)  # the first one also resets each meter's link
            rounds = [await _round(bus, answers)]
            while sum(rounds) < _SECONDS - rounds[0]:
                rounds.append(await _round(bus, answers))
        finally:
            await bus.close()
    needed = sum(mbus_wire.read(answer, baud) for answer in answers.values())
    say(f"  {', '.join(f'{seconds:.2f}' for seconds in rounds)} s, the wire needs {needed:.2f} s")
    return Figure(
        name=f"mbus_round_{baud}",
        unit="x wire",
        value=median(rounds) / needed,
        limit=limit,
        peers={"seconds": median(rounds), "wire_s": needed},
        note=f"{len(answers)} meters, {sum(answers.values()) / len(answers):.0f} octets on average",
    )


slow = partial(measure, baud=2400, limit=1.03)
fast = partial(measure, baud=9600, limit=1.05)


async def _told(simulator: Process) -> dict[int, int]:
    """Address -> octets of its answer, as the simulator says them."""
    answers: dict[int, int] = {}
    assert simulator.stdout is not None  # noqa: S101 - it was asked for
    await simulator.stdout.readline()
    while len(answers) < mbus_wire.METERS:
        words = (await simulator.stdout.readline()).split()
        answers[int(words[1])] = int(words[4])
    return answers


async def _round(bus: MeterBus, answers: dict[int, int]) -> float:
    begun = time.perf_counter()
    try:
        for address in answers:
            await bus.read(str(address))
    except FieldError as error:
        raise UnmeasurableError(str(error)) from error
    return time.perf_counter() - begun
