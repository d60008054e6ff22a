"""What a noisy M-Bus line makes of many polls: how many are read, and whether anything wrong is billed."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from benches.figure import Figure, UnmeasurableError, say
from drivers.mbus.bus import MBusBus, Wired
from drivers.mbus.link import Timing
from drivers.mbus.model import MODELS
from gateway.core.metering import Reading, Register
from gateway.core.track import track
from gateway.core.units import Scaled
from gateway.ports.field import FieldError
from simulators.mbus import Bus, Direct, Slave, captured_telegrams
from simulators.pty import Noise
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.ports.field import Answer

POLLS = 100_000
RATE = 1e-3
READ = 99.5
"""per cent that must be read within the repeats"""
MODEL = "itron-bm-plus-m"
METERS = 40
QUARTER = timedelta(minutes=15)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_BAUD = 2400
_GRAIN = 0.25
"""seconds: octets that come within it come together, so that it goes fast"""
_SAID = 10
"""times that progress is told"""


async def measure(_folder: Path) -> Figure:
    """Each octet is spoilt with a chance of 1 in 1000, in both directions; a flipped bit is an octet lost to parity.

    A value is billed where the course of its register believes it: possible after the values before it, and not
    contradicted by the one that follows.
    """
    answers, truth, accepted = await asyncio.to_thread(_polled)
    percent = 100 * accepted / POLLS
    if percent < READ:
        message = f"{percent:.2f} % of the polls were read within the repeats; {READ} % must be"
        raise UnmeasurableError(message)
    wrong = sum(_wrong(answers[meter], truth) for meter in answers)
    heard = sum(truth[reading.at] != reading.index.digits for each in answers.values() for reading in each)
    return Figure(
        name="mbus_noise_wrong_values",
        unit="values",
        value=wrong,
        limit=0,
        peers={"polls": POLLS, "read_percent": percent, "wrong_and_found_out": heard - wrong},
        note="1 of 1000 octets spoilt; billed after plausibility and the next poll",
    )


def _polled() -> tuple[dict[str, list[Reading]], dict[datetime, int], int]:
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(_poll_all())


async def _poll_all() -> tuple[dict[str, list[Reading]], dict[datetime, int], int]:
    """The readings by meter, what was right at each instant, and how many polls gave one."""
    kind = captured_telegrams()[MODEL]
    slaves = [Slave(address=at, captured=kind, serial=f"{11490000 + at:08}") for at in range(1, METERS + 1)]
    line = Bus(slaves, baud=_BAUD)
    line.noise = Noise(chance=random.Random(1), rate=RATE, parity=True)

    async def connect() -> Direct:
        return Direct(line, grain=_GRAIN)

    wired = {
        str(slave.address): Wired(asked=slave.address, model=MODELS[MODEL], serial=slave.serial) for slave in slaves
    }
    bus = MBusBus(connect, Timing(baud=_BAUD, latency=_GRAIN), wired)
    readings: dict[str, list[Reading]] = {meter: [] for meter in wired}
    truth: dict[datetime, int] = {}
    accepted, rounds = 0, POLLS // METERS
    for number in range(rounds):
        at, litres = BEGIN + number * QUARTER, 1_000_000 + 7 * number
        truth[at] = litres
        for slave in slaves:
            slave.counts = {"volume": litres}
            try:
                answer = await bus.read(str(slave.address))
            except FieldError:
                continue
            accepted += 1
            readings[answer.meter].append(_reading(answer, at))
        if number % (rounds // _SAID) == 0:
            say(f"  {100 * number // rounds} % of {POLLS} polls")
    await bus.close()
    return readings, truth, accepted


def _reading(answer: Answer, at: datetime) -> Reading:
    (value,) = answer.values
    return Reading(
        meter=answer.meter, register=value.register, at=at, index=value.index, unit=value.unit, serial=answer.serial
    )


def _wrong(readings: list[Reading], truth: dict[datetime, int]) -> int:
    """How many wrong values the register's course believes."""
    register = Register(
        id="volume",
        meter=readings[0].meter,
        key="volume",
        energy_source="cold_water",
        unit="m3",
        exponent=-3,
        max_per_day=Scaled(100, 0),
    )
    return sum(node.fault is None and node.raw != truth[node.at] for node in track(register, readings).nodes)
