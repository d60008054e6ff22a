"""A simulated building with the real daemon beside it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from drivers.mbus.model import MODELS
from gateway import pepper
from gateway.store import StoreView
from gateway.store.migrate import migrate
from simulators import truth
from simulators.clock import Clock
from simulators.field import Field, build, wiring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from gateway.core.event import Kind

BUILDING = Path(__file__).parents[2] / "simulators" / "buildings" / "sonnenhof"
START = datetime(2026, 10, 1, tzinfo=UTC)
POLL = timedelta(minutes=15)
BATTERY = {name for name, model in MODELS.items() if model.read_budget_per_day is not None}
"""models"""
PATIENCE = {"mbus": "latency = 1.0", "modbus": "timeout = 5.0"}
"""driver -> how long its lines wait: the simulators are in the test's process, which may get no turn for a while"""
PROGRAM = ("-m", "gateway.cli")
WITH_PATIENCE = (
    "-c",
    "from drivers.mbus import settings; settings._SERIAL_LATENCY = 0.1; from gateway import cli; cli.main()",
)
"""the same where no settings name the device of an M-Bus line, and how long it waits"""


def patient(settings: str) -> str:
    """The settings, with lines on which silence is silence only after seconds."""
    for driver, patience in PATIENCE.items():
        settings = settings.replace(f'driver = "{driver}"\n', f'driver = "{driver}"\n{patience}\n')
    return settings


async def submeter(*arguments: str, program: Sequence[str] = PROGRAM, **environment: str) -> tuple[int, str, str]:
    """Run one command to its end: exit code, stdout, stderr."""
    process = await begin(*arguments, program=program, **environment)
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
    store: str

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

    async def start_again(self) -> None:
        """Another daemon on the same store, after the first has ended."""
        await self.clock.close()
        self.daemon = await begin("--config", self.config, "run", SUBMETER_CLOCK=str(self.folder / "clock"))
        self.clock = Clock(self.folder / "clock")

    async def events(self, kind: Kind) -> list[dict[str, Any]]:
        """The payloads of a kind, in their order."""
        async with StoreView(self.store) as view:
            name = next(stream.name for stream in await view.streams() if stream.kind == kind)
            return [json.loads(event.data) for event in await view.events(name, 0, 10_000)]

    async def polls(self) -> list[tuple[str, int]]:
        """(meter, minute after the start) of what is in the store, by time and meter."""
        found = [(datetime.fromisoformat(each["at"]), each["meter"]) for each in await self.events("reading")]
        return [(meter, (at - START) // timedelta(minutes=1)) for at, meter in sorted(found)]

    async def alarms(self) -> dict[tuple[str, str], bool]:
        """(code, source) of the alarms in the store, and whether each is open."""
        return {(each["code"], each["source"]): each["ended"] is None for each in await self.events("alarm")}

    def due(self, minutes: Iterable[int]) -> list[tuple[str, int]]:
        """What the store holds once all was read at these minutes: meters with a battery at full hours only."""
        heat_and_water = {device.id for device in self.field.truth.devices if device.model in BATTERY}
        return [
            (meter, minute)
            for minute in minutes
            for meter in self.meters
            if minute % 60 == 0 or meter not in heat_and_water
        ]

    @property
    def meters(self) -> list[str]:
        return sorted(device.id for device in self.field.truth.devices)


@asynccontextmanager
async def running(
    folder: Path,
    broker: tuple[str, int],
    *,
    program: Sequence[str] = PROGRAM,
    store: str = "",
    building: Path = BUILDING,
    keys: Mapping[str, Path] = MappingProxyType({}),
    **environment: str,
) -> AsyncIterator[Plant]:
    """The daemon; its clock waits for the first step, unless the environment says SUBMETER_CLOCK="".

    Its store is the database with the URL `store`, else a file in the folder. `keys`: key file of each meter that
    encrypts.
    """
    field = build(truth.load(building))
    ports = await field.start()
    config = folder / "gateway.toml"
    settings = patient(wiring(field.truth, ports, broker=broker, poll=POLL))
    for meter, file in keys.items():
        settings = settings.replace(f'id = "{meter}"\n', f'id = "{meter}"\nkey = "{file}"\n')
    config.write_text(settings.replace("sqlite:///gateway.db", store or "sqlite:///gateway.db"), encoding="utf-8")
    store = store or f"sqlite:///{folder}/gateway.db"
    migrate(store)
    pepper.create(config)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(0)
        places = {"SUBMETER_CLOCK": str(folder / "clock"), "NOTIFY_SOCKET": str(folder / "notify")}
        variables = {"JOURNAL_STREAM": "1:2", **places, **environment}
        daemon = await begin("--config", str(config), "run", program=program, **variables)
        clock = Clock(folder / "clock")
        plant = Plant(folder=folder, field=field, ports=ports, daemon=daemon, systemd=systemd, clock=clock, store=store)
        try:
            yield plant
        finally:
            if plant.daemon.returncode is None:
                plant.daemon.kill()
                await plant.daemon.communicate()
            await plant.clock.close()
            await field.close()
