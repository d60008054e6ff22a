"""A simulated building with the real daemon beside it."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.store.migrate import migrate
from simulators import truth
from simulators.clock import Clock
from simulators.field import Field, build, wiring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

BUILDING = Path(__file__).parents[2] / "simulators" / "buildings" / "sonnenhof"
START = datetime(2026, 10, 1, tzinfo=UTC)
POLL = timedelta(minutes=15)
PROGRAM = ("-m", "gateway.cli")


async def submeter(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run one command to its end: exit code, stdout, stderr."""
    process = await begin(*arguments, **environment)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def begin(*arguments: str, program: Sequence[str] = PROGRAM, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )


@dataclass(slots=True, kw_only=True)
class Plant:
    """The running daemon, the meters that it reads and the clock that it follows."""

    folder: Path
    field: Field
    ports: dict[str, int]
    """line id -> where it listens"""
    daemon: asyncio.subprocess.Process
    systemd: socket.socket
    clock: Clock

    @property
    def config(self) -> str:
        return str(self.folder / "gateway.toml")

    async def step(self, minutes: int) -> None:
        """Let the building and then the daemon go to this minute after the start."""
        at = START + timedelta(minutes=minutes)
        self.field.show(at)
        await self.clock.step(at)

    async def told(self) -> str:
        """The next message to systemd."""
        return (await asyncio.get_running_loop().sock_recv(self.systemd, 100)).decode()

    async def end(self) -> tuple[int, list[str]]:
        """SIGTERM; the exit code and the lines of the log."""
        self.daemon.terminate()
        _, err = await self.daemon.communicate()
        return self.daemon.returncode or 0, err.decode().splitlines()

    def polls(self) -> list[tuple[str, int]]:
        """(meter, minute after the start) of what is in the store."""
        query = "SELECT meter, at FROM poll JOIN source ON source.no = poll.source ORDER BY at, meter"
        with closing(sqlite3.connect(self.folder / "gateway.db")) as database:
            rows = database.execute(query).fetchall()
        start = int(START.timestamp()) * 1_000_000
        return [(meter, (at - start) // 60_000_000) for meter, at in rows]

    def alarms(self) -> list[tuple[str, str, bool]]:
        """(code, source, whether it is open) of the alarms in the store."""
        query = "SELECT code, source, ended IS NULL FROM alarm ORDER BY since, code, source"
        with closing(sqlite3.connect(self.folder / "gateway.db")) as database:
            return [(code, source, bool(still)) for code, source, still in database.execute(query)]

    @property
    def meters(self) -> list[str]:
        return sorted(device.id for device in self.field.truth.devices)


@asynccontextmanager
async def running(
    folder: Path, broker: tuple[str, int], *, program: Sequence[str] = PROGRAM, **environment: str
) -> AsyncIterator[Plant]:
    """The daemon; its clock waits for the first step, unless the environment says SUBMETER_CLOCK=""."""
    field = build(truth.load(BUILDING))
    ports = await field.start()
    config = folder / "gateway.toml"
    config.write_text(wiring(field.truth, ports, broker=broker, poll=POLL), encoding="utf-8")
    migrate(f"sqlite:///{folder}/gateway.db")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(0)
        places = {"SUBMETER_CLOCK": str(folder / "clock"), "NOTIFY_SOCKET": str(folder / "notify")}
        variables = {"JOURNAL_STREAM": "1:2", **places, **environment}
        daemon = await begin("--config", str(config), "run", program=program, **variables)
        clock = Clock(folder / "clock")
        plant = Plant(folder=folder, field=field, ports=ports, daemon=daemon, systemd=systemd, clock=clock)
        try:
            yield plant
        finally:
            if daemon.returncode is None:
                daemon.kill()
                await daemon.communicate()
            await plant.clock.close()
            await field.close()
