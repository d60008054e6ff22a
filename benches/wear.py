"""How much a reading wears the disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benches import house
from benches.figure import Figure, say
from benches.plant import HANGS, QUARTER, listening, standing
from benches.process import written_bytes
from tests.torture.disk import LoopDisk, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benches.plant import Acks, Plant

LIMIT = 750.0
ROUNDS = 72
_LOG = 1000 * 4120
"""bytes of the write-ahead log from which on it is written over instead of growing: 1,000 pages with their heads"""
_LOOK_S = 0.05
_SECTOR = 512
_WRITTEN = 6
"""sectors written, among the numbers of /sys/block/*/stat"""


async def measure(folder: Path) -> Figure:
    """Bytes that reach the disk for a reading: 60 meters, one poll after the other, all written back after each.

    As root on a loop device with ext4, journal included; else what the kernel counts of the daemon.
    """
    reason = refusal()
    if reason:
        value, readings = await _worn(folder, folder, None)
        note = f"/proc/PID/io of the daemon, without the journal of the file system ({reason})"
    else:
        with _mounted(folder) as disk:
            value, readings = await _worn(folder, disk, lambda: _sectors(disk))
        note = "sectors of a loop device with ext4 of 1 kB blocks; with 4 kB blocks about half as many again"
    peers = {"readings": readings}
    return Figure(name="written_bytes_per_reading", unit="bytes", value=value, limit=LIMIT, peers=peers, note=note)


async def _worn(folder: Path, place: Path, disk: Callable[[], int] | None) -> tuple[float, int]:
    """Bytes a reading and how many readings, once the write-ahead log grows no more."""
    async with standing(folder, house.write(folder / "building"), poll=QUARTER, store=place) as plant:
        await plant.consume()
        daemon = await plant.start()
        written = disk or (lambda: written_bytes(daemon.pid))
        async with listening(plant, "readings") as acks:
            number = 1
            await plant.step(house.START)
            while plant.store.with_name("gateway.db-wal").stat().st_size < _LOG:
                await plant.step(house.START + number * QUARTER)
                number += 1
            await _rest(plant, acks, number)
            before, known = written(), _number(plant, "SELECT COUNT(*) FROM reading")
            say(f"  {number} rounds until the log is full")
            for _ in range(ROUNDS):
                await plant.step(house.START + number * QUARTER)
                number += 1
                await _rest(plant, acks, number)
            after, readings = written(), _number(plant, "SELECT COUNT(*) FROM reading") - known
    return (after - before) / readings, readings


async def _rest(plant: Plant, acks: Acks, rounds: int) -> None:
    """Return once everything of so many rounds is acknowledged, kept and on the disk."""
    await acks.until(rounds * house.METERS)
    async with asyncio.timeout(HANGS):
        while _number(plant, "SELECT finished FROM stream WHERE kind = 'reading'") < rounds * house.METERS:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(_LOOK_S)
    os.sync()


def _number(plant: Plant, query: str) -> int:
    with closing(sqlite3.connect(f"file:{plant.store}?mode=ro", uri=True)) as database:
        ((number,),) = database.execute(query)
        return int(number)


@contextmanager
def _mounted(folder: Path) -> Iterator[Path]:
    disk = LoopDisk(folder)
    try:
        yield disk.folder
    finally:
        subprocess.run(["umount", str(disk.folder)], check=True)  # noqa: S607 - mount is found on the path too


def _sectors(disk: Path) -> int:
    """Bytes that the device under the folder has been given to write."""
    device = disk.stat().st_dev
    stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    return int(stat.read_text(encoding="ascii").split()[_WRITTEN]) * _SECTOR
