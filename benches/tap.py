"""How long somebody who holds a badge to the reader waits for its lamp."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median, quantiles
from typing import TYPE_CHECKING

from benches import house, month
from benches.figure import Figure, UnmeasurableError, say
from benches.plant import HANGS, QUARTER, standing
from simulators.run import GRACE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from benches.plant import Plant
    from simulators.badges import Reader

LIMIT = 300.0
TAPS = 200
BREATH_S = 0.2
"""at most, from one lamp to the next tap"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """One badge held to the reader once."""

    ms: float
    green: bool
    closing: bool
    """while the month was being closed"""


async def measure(folder: Path) -> Figure:
    """From the bytes of the reader on its line to its lamp: 200 taps of four badges that are all allowed.

    Meanwhile the clock goes on without a rest, so that 60 meters are polled again and again, and a month closes.
    """
    async with standing(folder, house.write(folder / "building", laundry=True), poll=QUARTER) as plant:
        await month.fill(plant, house.START, house.UNTIL, delivered=True)
        await plant.consume()
        await plant.start()
        rounds: list[datetime] = []
        closing = house.UNTIL + GRACE
        await plant.step(closing - QUARTER)
        passing = asyncio.create_task(_pass(plant, closing, rounds))
        taps = await _taps(plant.readers[house.MACHINE], lambda: not rounds)
        passing.cancel()
        await asyncio.wait({passing})
    green, closing_taps = sum(tap.green for tap in taps), sum(tap.closing for tap in taps)
    say(f"  {green} green, {closing_taps} while the month closed, {len(rounds)} rounds of polls")
    if not (green and closing_taps and len(rounds) > 1):
        message = "the month was closed before the first tap, or after the last, or no badge was accepted"
        raise UnmeasurableError(message)
    waits = [tap.ms for tap in taps]
    peers = {"median": median(waits), "slowest": max(waits), "while_closing": closing_taps, "green": green}
    return Figure(name="tap_feedback_p95_ms", unit="ms", value=quantiles(waits, n=20)[-1], limit=LIMIT, peers=peers)


async def _pass(plant: Plant, at: datetime, rounds: list[datetime]) -> None:
    """Go from poll to poll; the first step closes the month."""
    while True:
        await plant.step(at)
        rounds.append(at)
        at += QUARTER


async def _taps(reader: Reader, closing: Callable[[], bool]) -> list[Tap]:
    chance = random.Random(60)
    taps = []
    for badge in islice(cycle(house.BADGES), TAPS):
        while not reader.shown.empty():  # a permit that was withdrawn later shows red once more
            reader.shown.get_nowait()
        while_closing, begun = closing(), time.perf_counter()
        reader.hold(badge)
        async with asyncio.timeout(HANGS):
            lamp = await reader.shown.get()
        ms = (time.perf_counter() - begun) * 1000
        taps.append(Tap(ms=ms, green=lamp == "green", closing=while_closing))
        await asyncio.sleep(chance.random() * BREATH_S)
    return taps
