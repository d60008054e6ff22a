"""What polling a hundred Modbus meters each second costs: CPU, memory, disk, and whether the second stays one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from benches import modbus_plant, modbus_thingsboard
from benches.figure import Figure, UnmeasurableError, say
from benches.plant import HANGS, compile_ours
from benches.process import cpu_s, peak_mb, waited_s, written_bytes
from simulators import broker
from simulators.processes import ChildError, Children, python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

SECONDS = 30
"""that are measured, unless BENCH_SECONDS says otherwise"""
WARM_S = 5
STARTS = 5
LIMIT_CPU_MS, LIMIT_RSS_MB, LIMIT_FIRST_S, LIMIT_DRIFT_MS = 130.0, 70.0, 1.0, 50.0
LIMIT_BYTES, LIMIT_IDLE_PERCENT = 100.0, 1.0
PER_SECOND = modbus_plant.METERS * modbus_plant.VALUES
_LOOK_S = 0.01
_FIRST_METER = "SELECT DISTINCT at FROM reading JOIN channel ON no = channel WHERE meter = 'm-1' ORDER BY at"
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one program took for the readings that it stored."""

    readings: int
    cpu_ms_per_1000: float
    bytes_per_reading: float
    rss_mb: float


_ours: list[tuple[Cost, float]] = []
"""the daemon's cost and drift, once measured: several figures are of one run"""


async def measure(folder: Path) -> Figure:
    """CPU time for 1,000 readings, durable at each second.

    Beside it a script as it is usually written, and thingsboard-gateway where it is installed.
    """
    ours, _ = await _daemon(folder / "ours")
    script = await _script(folder / "script")
    peers = {"script": script.cpu_ms_per_1000, "script_bytes": script.bytes_per_reading, "readings": ours.readings}
    note = "script: pymodbus' client, one read a value, a commit for each meter, no broker"
    try:
        peer = await _thingsboard(folder / "thingsboard")
    except (UnmeasurableError, ChildError) as error:
        note += f"; thingsboard not measured: {error}"
    else:
        peers |= {"thingsboard": peer.cpu_ms_per_1000, "thingsboard_rss_mb": peer.rss_mb}
        note += "; thingsboard: one read a value, SQLite with synchronous NORMAL, to a broker"
    return Figure(
        name="modbus_cpu_ms_per_1000",
        unit="ms",
        value=ours.cpu_ms_per_1000,
        limit=LIMIT_CPU_MS,
        peers=peers,
        note=note,
    )


async def measure_memory(folder: Path) -> Figure:
    """The most that was ever resident."""
    ours, _ = await _daemon(folder / "ours")
    return Figure(name="modbus_rss_mb", unit="MB", value=ours.rss_mb, limit=LIMIT_RSS_MB, note="VmHWM")


async def measure_first(folder: Path) -> Figure:
    """From the start of the process to the first value in the store."""
    starts = [await _first_s(folder / str(start)) for start in range(STARTS)]
    first = [taken - waited for taken, waited in starts]
    peers = {"fastest": min(first), "slowest": max(first), "waited": median(waited for _, waited in starts)}
    note = "without what it waited for a processor"
    name, value = "modbus_first_value_s", median(first)
    return Figure(name=name, unit="s", value=value, limit=LIMIT_FIRST_S, peers=peers, note=note)


async def measure_bytes(folder: Path) -> Figure:
    """What the daemon has sent towards the disk for each reading."""
    ours, _ = await _daemon(folder / "ours")
    note = "/proc/PID/io, without the journal of the file system"
    value = ours.bytes_per_reading
    return Figure(name="modbus_bytes_per_reading", unit="bytes", value=value, limit=LIMIT_BYTES, note=note)


async def measure_drift(folder: Path) -> Figure:
    """How much later in its second the first meter is read at the end; a deadline left out counts as a second."""
    _, drift = await _daemon(folder / "ours")
    note = "BENCH_SECONDS=300 for five minutes"
    return Figure(name="modbus_drift_ms", unit="ms", value=drift, limit=LIMIT_DRIFT_MS, note=note)


async def measure_idle(folder: Path) -> Figure:
    """Part of a core that the daemon takes while no meter is due."""
    async with Children(folder) as children, _plant(folder, children, "24h") as command:
        daemon = await children.start("daemon", [*command, "run"])
        await _until_stored(folder, 1)
        await asyncio.sleep(WARM_S)
        before = cpu_s(daemon.pid)
        await asyncio.sleep(_seconds())
        value = 100 * (cpu_s(daemon.pid) - before) / _seconds()
    return Figure(name="modbus_idle_percent", unit="%", value=value, limit=LIMIT_IDLE_PERCENT)


async def _first_s(folder: Path) -> tuple[float, float]:
    """How long it took, and how much of that the daemon waited for a processor."""
    _make(folder)
    async with Children(folder) as children, _plant(folder, children, "1s") as command:
        begun = time.monotonic()
        daemon = await children.start("daemon", [*command, "run"])
        await _until_stored(folder, 1)
        taken, waited = time.monotonic() - begun, waited_s(daemon.pid)
        say(f"  {taken:.2f} s, of these {waited:.2f} s of waiting for a processor")
    return taken, waited


async def _daemon(folder: Path) -> tuple[Cost, float]:
    if not _ours:
        _make(folder)
        async with Children(folder) as children, _plant(folder, children, "1s") as command:
            cost = await _cost(folder, children, [*command, "run"])
        _ours.append((cost, drift_ms(_numbers(folder, _FIRST_METER)[1:])))  # the first round is at the start
        say(f"  {cost.cpu_ms_per_1000:.0f} ms CPU for 1,000 readings")
    return _ours[0]


@asynccontextmanager
async def _plant(folder: Path, children: Children, poll: str) -> AsyncIterator[list[str]]:
    """The command of the gateway, with a broker and the meters beside it."""
    await asyncio.to_thread(compile_ours)
    host, port, _ = await broker.connect(children, folder, "")
    server = await modbus_plant.listen()
    settings = modbus_plant.write_settings(folder, server, (host, port), poll)
    command = python("gateway.cli", "--config", str(settings))
    await children.run("migrate", [*command, "migrate"])
    try:
        yield command
    finally:
        server.close()


async def _script(folder: Path) -> Cost:
    _make(folder)
    server = await modbus_plant.listen()
    try:
        async with Children(folder) as children:
            port, file = str(modbus_plant.port_of(server)), str(folder / "gateway.db")
            return await _cost(folder, children, python("benches.modbus_script", port, file))
    finally:
        server.close()


async def _thingsboard(folder: Path) -> modbus_thingsboard.Peer:
    _make(folder)
    server = await modbus_plant.listen()
    try:
        say("  thingsboard-gateway ...")
        port = modbus_plant.port_of(server)
        return await modbus_thingsboard.measure(folder, port, warm=WARM_S * PER_SECOND, seconds=_seconds())
    finally:
        server.close()


async def _cost(folder: Path, children: Children, command: list[str]) -> Cost:
    process = await children.start("daemon", command)
    await _until_stored(folder, WARM_S * PER_SECOND)
    before = cpu_s(process.pid), written_bytes(process.pid), _readings(folder)
    say(f"  {_seconds()} s are measured ...")
    await asyncio.sleep(_seconds())
    after = cpu_s(process.pid), written_bytes(process.pid), _readings(folder)
    cpu, written, readings = (later - sooner for later, sooner in zip(after, before, strict=True))
    return Cost(
        readings=int(readings),
        cpu_ms_per_1000=cpu * 1e6 / readings,
        bytes_per_reading=written / readings,
        rss_mb=peak_mb(process.pid),
    )


def _make(folder: Path) -> None:
    folder.mkdir()


async def _until_stored(folder: Path, readings: int) -> None:
    async with asyncio.timeout(HANGS):
        while _readings(folder) < readings:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(_LOOK_S)


def _readings(folder: Path) -> int:
    return _numbers(folder, "SELECT COUNT(*) FROM reading")[0]


def drift_ms(instants: Sequence[int]) -> float:
    """Of the microseconds at which one meter was read once a second: how much later within its second at the end.

    A deadline that was left out counts as a whole second: wherever two reads are further apart than one.
    """
    offsets = [instant % _MICRO / 1000 for instant in instants]
    part = len(offsets) // 3
    left_out = sum(round((after - before) / _MICRO) - 1 for before, after in pairwise(instants))
    return abs(median(offsets[-part:]) - median(offsets[:part])) + 1000 * left_out


def _numbers(folder: Path, query: str) -> list[int]:
    file = folder / "gateway.db"
    if not file.exists():
        return [0]
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        try:
            return [number for (number,) in database.execute(query)]
        except sqlite3.OperationalError:  # the table is about to be made
            return [0]


def _seconds() -> int:
    return int(os.environ.get("BENCH_SECONDS", SECONDS))
