"""What settling a month costs, beside reading it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from statistics import median
from typing import TYPE_CHECKING

from benches import house, month
from benches.figure import Figure, say
from benches.plant import QUARTER, standing
from gateway.core.charge import Terms
from gateway.core.period import Period
from gateway.service.property import book_of
from gateway.service.settlement import settled
from gateway.store import StoreView

if TYPE_CHECKING:
    from pathlib import Path

    from benches.plant import Plant

LIMIT = 25.0
"""A fetched row costs 1 us or less here. A box that is five times slower then closes the month of 60 meters, 300,000
rows, in less than 40 s of CPU: it does so once a month, and the meters are polled meanwhile."""
RUNS = 3
_EPOCH_US = 1_000_000
_READ = "SELECT at, channel, digits, exponent, flags, status FROM reading WHERE at BETWEEN ? AND ?"


async def measure(folder: Path) -> Figure:
    """CPU seconds of settling a month of quarter hours of 60 meters, over those of fetching the same rows by SQL."""
    async with standing(folder, house.write(folder / "building"), poll=QUARTER) as plant:
        await month.fill(plant, house.START, house.UNTIL, delivered=True)
        settling, reading = [], []
        for run in range(RUNS):
            settling.append(await _settle(plant))
            reading.append(_read(plant))
            say(f"  run {run + 1} of {RUNS}: {settling[-1]:.2f} s and {reading[-1]:.2f} s")
    ratios = [one / other for one, other in zip(settling, reading, strict=True)]
    peers = {"settle_cpu_s": median(settling), "read_cpu_s": median(reading)}
    return Figure(name="settle_vs_read", unit="times", value=median(ratios), limit=LIMIT, peers=peers)


async def _settle(plant: Plant) -> float:
    async with StoreView(plant.url) as view:
        begun = time.process_time()
        book = book_of(await view.property_rows(None))
        period = Period(house.START, house.UNTIL)
        terms = Terms(gateway="gw-01", facility="house", period=period, closing=house.MONTH)
        found = await settled(view, book, terms)
        taken = time.process_time() - begun
    assert len(found.charges) == house.METERS, found.holds  # noqa: S101 - what settles nothing is fast
    return taken


def _read(plant: Plant) -> float:
    span = [int(at.timestamp()) * _EPOCH_US for at in (house.START, house.UNTIL)]
    with closing(sqlite3.connect(f"file:{plant.store}?mode=ro", uri=True)) as database:
        begun = time.process_time()
        rows = database.execute(_READ, span).fetchall()
        taken = time.process_time() - begun
    assert len(rows) > house.METERS, "the month is there"  # noqa: S101 - what reads nothing is fast
    return taken
