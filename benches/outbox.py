"""How fast a backlog reaches who acknowledges it."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benches import house, month
from benches.figure import Figure, say
from benches.plant import QUARTER, listening, standing

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 500.0
RUNS = 3


async def measure(folder: Path) -> Figure:
    """Events a second, from the consumer's first acknowledgement to its last: a day of 60 meters, in order.

    Real daemon, Mosquitto, and the reference consumer, which writes each to SQLite before it acknowledges.
    """
    rates = []
    for run in range(RUNS):
        place = folder / str(run)
        place.mkdir()
        rates.append(await _rate(place))
        say(f"  run {run + 1} of {RUNS}: {rates[-1]:.0f} events a second")
    peers = {"slowest": min(rates), "fastest": max(rates)}
    return Figure(name="outbox_per_s", unit="1/s", value=median(rates), limit=LIMIT, at_least=True, peers=peers)


async def _rate(folder: Path) -> float:
    async with standing(folder, house.write(folder / "building"), poll=QUARTER) as plant:
        count = await month.fill(plant, house.START, house.START + month.DAY - QUARTER, delivered=False)
        await plant.consume()
        async with listening(plant, "readings") as acks:
            await plant.start()
            await plant.step(house.START + month.DAY)
            await acks.until(count)
            (begun, first), (ended, last) = acks.heard[0], acks.heard[-1]
    return (last - first) / (ended - begun)
