"""A simulated building with the real daemon beside it, a real broker and the reference consumer."""

from __future__ import annotations

import asyncio
import compileall
import json
import sys
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from simulators import broker, truth
from simulators.badges import Reader
from simulators.clock import Clock
from simulators.field import Field, build, wiring
from simulators.processes import Children, python

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

ROOT = "submeter/v0/demo/gw-01"
PROJECT = Path(__file__).parents[1]
CONSUMER = PROJECT / "examples" / "consumer.py"
NAME = "demo"
QUARTER = timedelta(minutes=15)
_WITH_BATTERIES = ("sensus-pollustat", "itron-bm-plus-m")
HANGS = 120
"""seconds after which something that is waited for does not come"""


@dataclass(slots=True, kw_only=True)
class Plant:
    """What stands around the daemon, which is started by `start`."""

    folder: Path
    building: Path
    meters: Field
    readers: dict[str, Reader]
    """by machine"""
    broker: tuple[str, int]
    children: Children
    store: Path
    clock: Clock

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "gateway.toml"

    @property
    def url(self) -> str:
        """Of the store."""
        return f"sqlite:///{self.store}"

    @property
    def environment(self) -> dict[str, str]:
        """Of the daemon: a clock that is stepped."""
        return {"SUBMETER_CLOCK": str(self.folder / "clock")}

    def command(self, *arguments: str) -> list[str]:
        """A command of the gateway with these settings."""
        return python("gateway.cli", "--config", str(self.config), *arguments)

    async def start(self) -> Process:
        """Start the daemon; it waits for the first step."""
        return await self.children.start("daemon", self.command("run"), environment=self.environment)

    async def consume(self) -> None:
        """Start the reference consumer, for all kinds of events; return once it has subscribed."""
        arguments = [str(self.folder / "consumer.db"), ROOT, NAME, "--broker", "{}:{}".format(*self.broker)]
        kinds = ["--kinds", "charges", "sessions", "alarms", "readings"]
        consumer = await self.children.start(
            "consumer", [sys.executable, str(CONSUMER), *arguments, *kinds], piped=True
        )
        assert consumer.stdout is not None  # noqa: S101 - it was asked for
        async with asyncio.timeout(HANGS):
            while not (await consumer.stdout.readline()).startswith(b"subscribed"):
                pass

    async def step(self, at: datetime) -> None:
        """Let the building and then the daemon go to an instant; ClockError, ChildError."""
        self.meters.show(at)
        stepping = asyncio.create_task(self.clock.step(at))
        dying = asyncio.create_task(self.children.first_death())
        try:
            await asyncio.wait({stepping, dying}, return_when=asyncio.FIRST_COMPLETED)
            if dying.done():
                await dying
            await stepping
        finally:
            stepping.cancel()
            dying.cancel()


@asynccontextmanager
async def standing(folder: Path, building: Path, *, poll: timedelta, store: Path | None = None) -> AsyncIterator[Plant]:
    """The meters, the broker, and a store that knows the building; the store lies in `store`, else in the folder."""
    await asyncio.to_thread(compile_ours)
    meters = build(truth.load(building))
    readers = {one.id: Reader(folder / f"reader-{one.id}") for one in meters.truth.machines}
    place = (store or folder) / "gateway.db"
    async with Children(folder) as children:
        host, port, _ = await broker.connect(children, folder, "")
        plant = Plant(
            folder=folder,
            building=building,
            meters=meters,
            readers=readers,
            broker=(host, port),
            children=children,
            store=place,
            clock=Clock(folder / "clock"),
        )
        try:
            plant.config.write_text(await _settings(plant, poll), encoding="utf-8")
            for reader in readers.values():
                reader.plug()
            await children.run("migrate", plant.command("migrate"))
            await children.run("import", plant.command("import", str(building / "property.toml")))
            yield plant
        finally:
            await plant.clock.close()
            for reader in readers.values():
                reader.unplug()
            await meters.close()


async def _settings(plant: Plant, poll: timedelta) -> str:
    """Of the daemon, for meters that are switched on by this."""
    ports = await plant.meters.start()
    settings = wiring(plant.meters.truth, ports, broker=plant.broker, poll=poll, readers=plant.readers)
    settings = _on_mains(plant.folder, settings.replace("sqlite:///gateway.db", plant.url))
    # what is sent late must not be throttled: how fast it can go is what is measured
    return settings.replace("[mqtt]\n", "[mqtt]\nbackfill_per_second = 10000\n")


def _on_mains(folder: Path, settings: str) -> str:
    """The settings with the same meters without their batteries, which would be read hourly at most."""
    models = folder / "models"
    models.mkdir()
    for name in _WITH_BATTERIES:
        lines = (PROJECT / "drivers" / "mbus" / "models" / f"{name}.toml").read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not line.startswith(("read_budget_per_day", "selections_per_day"))]
        (models / f"{name}-mains.toml").write_text("\n".join(kept), encoding="utf-8")
        settings = settings.replace(f'"{name}"', f'"{name}-mains"')
    return settings


def compile_ours() -> None:
    """As scripts/install does: the daemon of a site never compiles when it starts."""
    for package in ("gateway", "drivers"):
        compileall.compile_dir(PROJECT / package, quiet=2)


@dataclass(slots=True)
class Acks:
    """What the consumer has acknowledged of a kind of events: (seconds of the monotonic clock, seq), as it comes."""

    kind: str
    heard: list[tuple[float, int]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    async def until(self, seq: int) -> None:
        """Return once everything up to `seq` is acknowledged; TimeoutError where nothing comes for long."""
        while not self.heard or self.heard[-1][1] < seq:
            if not await asyncio.to_thread(self._wait, len(self.heard)):
                message = f"the consumer acknowledged nothing for {HANGS} s"
                raise TimeoutError(message)

    def take(self, _: Client, __: object, message: MQTTMessage) -> None:
        """A message on the consumer's topic."""
        ack = json.loads(message.payload)
        if ack["stream"].startswith(self.kind):
            with self._changed:
                self.heard.append((time.monotonic(), int(ack["seq"])))
                self._changed.notify_all()

    def _wait(self, known: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.heard) > known, HANGS)


@asynccontextmanager
async def listening(plant: Plant, kind: str) -> AsyncIterator[Acks]:
    """Hear the consumer's acknowledgements of a kind of events."""
    acks, subscribed = Acks(kind), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, "bench", protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/ack/{NAME}", qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = acks.take
    client.connect(*plant.broker)
    client.loop_start()
    try:
        await asyncio.to_thread(subscribed.wait, HANGS)
        yield acks
    finally:
        client.disconnect()
        client.loop_stop()
