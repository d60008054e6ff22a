"""The whole daemon on several lines at once: two M-Bus adapters, one Modbus RTU adapter and one Modbus TCP gateway."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.store import StoreView
from gateway.store.migrate import migrate
from simulators import mbus, modbus
from simulators.clock import Clock
from simulators.pty import MBusWire, RtuWire
from tests.scenarios.plant import begin

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.core.event import Kind

START = datetime(2026, 10, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
METERS = {"mbus-1": ("heat-1", "heat-2"), "mbus-2": ("heat-3", "heat-4"), "rtu-1": ("power-1",), "tcp-1": ("power-2",)}
ALL = sorted(meter for meters in METERS.values() for meter in meters)
SETTINGS = """\
site = "s"
gateway = "g"
store = "sqlite:///gateway.db"
[[bus]]
id = "mbus-1"
driver = "mbus"
device = "{folder}/ttyUSB1"
baud = {baud}
latency = 2.0
poll = "15min"
[[bus.meter]]
id = "heat-1"
model = "emu-professional-375"
address = 1
[[bus.meter]]
id = "heat-2"
model = "emu-professional-375"
address = 2
[[bus]]
id = "mbus-2"
driver = "mbus"
device = "{folder}/ttyUSB2"
baud = 38400
latency = 2.0
poll = "15min"
[[bus.meter]]
id = "heat-3"
model = "emu-professional-375"
address = 1
[[bus.meter]]
id = "heat-4"
model = "emu-professional-375"
address = 2
[[bus]]
id = "rtu-1"
driver = "modbus"
device = "{folder}/ttyUSB3"
baud = 115200
parity = "even"
timeout = 5.0
poll = "15min"
[[bus.meter]]
id = "power-1"
model = "eastron-sdm630"
address = 1
[[bus]]
id = "tcp-1"
driver = "modbus"
host = "127.0.0.1"
port = {port}
timeout = 5.0
poll = "15min"
[[bus.meter]]
id = "power-2"
model = "carlo-gavazzi-em340"
address = 1
"""


@dataclass(slots=True, kw_only=True)
class Lines:
    """The simulated lines and the daemon that reads them."""

    folder: Path
    baud: int = 38400
    """of the first M-Bus line"""
    clock: Clock = field(init=False)
    daemon: asyncio.subprocess.Process = field(init=False)
    wires: dict[str, MBusWire | RtuWire] = field(init=False)
    tcp: modbus.Line = field(init=False)

    async def start(self) -> None:
        captured, layouts = mbus.captured_telegrams()["emu-professional-375"], modbus.layouts()
        slaves = [
            mbus.Slave(address=1 + number % 2, captured=captured, serial=f"{number:08}", counts={"import": number})
            for number in range(4)
        ]
        meter = modbus.Unit(address=1, layout=layouts["eastron-sdm630"], counts={"import": 4})
        self.wires = {
            "mbus-1": MBusWire(self.folder / "ttyUSB1", slaves[:2], baud=self.baud),
            "mbus-2": MBusWire(self.folder / "ttyUSB2", slaves[2:], baud=38400),
            "rtu-1": RtuWire(self.folder / "ttyUSB3", [meter], baud=115200),
        }
        for wire in self.wires.values():
            wire.plug()
        self.tcp = modbus.Line([modbus.Unit(address=1, layout=layouts["carlo-gavazzi-em340"], counts={"import": 5})])
        port = await self.tcp.start()
        config = self.folder / "gateway.toml"
        config.write_text(SETTINGS.format(folder=self.folder, baud=self.baud, port=port), encoding="utf-8")
        migrate(f"sqlite:///{self.folder}/gateway.db")
        self.clock = Clock(self.folder / "clock")
        self.daemon = await begin("--config", str(config), "run", SUBMETER_CLOCK=str(self.folder / "clock"))

    async def close(self) -> None:
        if self.daemon.returncode is None:
            self.daemon.kill()
            await self.daemon.communicate()
        await self.clock.close()
        for wire in self.wires.values():
            wire.unplug()
        await self.tcp.close()

    async def step(self, minutes: int) -> None:
        await self.clock.step(START + minutes * MINUTE)

    async def events(self, kind: Kind) -> list[dict[str, Any]]:
        async with StoreView(f"sqlite:///{self.folder}/gateway.db") as view:
            name = next(stream.name for stream in await view.streams() if stream.kind == kind)
            return [json.loads(event.data) for event in await view.events(name, 0, 10_000)]

    async def polled(self, minutes: int) -> list[str]:
        """The meters that were read at this minute, in the order in which they were kept."""
        at = START + minutes * MINUTE
        return [each["meter"] for each in await self.events("reading") if datetime.fromisoformat(each["at"]) == at]

    async def alarms(self) -> dict[tuple[str, str], bool]:
        """(code, source) and whether it is open."""
        return {(each["code"], each["source"]): each["ended"] is None for each in await self.events("alarm")}


@asynccontextmanager
async def running(lines: Lines) -> AsyncIterator[Lines]:
    await lines.start()
    try:
        yield lines
    finally:
        await lines.close()


async def test_all_lines_are_read_at_every_deadline_and_an_adapter_that_is_taken_away_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    async with running(Lines(folder=tmp_path)) as lines:
        await lines.step(0)
        assert sorted(await lines.polled(0)) == ALL
        lines.wires["mbus-2"].unplug()
        for minute in (15, 30):
            await lines.step(minute)
            assert sorted(await lines.polled(minute)) == [meter for meter in ALL if meter not in METERS["mbus-2"]]
        assert await lines.alarms() == {("line_down", "mbus-2"): True}
        lines.wires["mbus-2"].plug()
        await lines.step(45)
        assert sorted(await lines.polled(45)) == ALL
        assert await lines.alarms() == {("line_down", "mbus-2"): False}
        lines.daemon.terminate()
        _, err = await lines.daemon.communicate()
        assert lines.daemon.returncode == 0
        told = [line for line in err.decode().splitlines() if "mbus-2: " in line]
        assert len(told) == 2, err
        assert "ttyUSB2 is not there; plug the adapter in" in told[0]
        assert "recovered" in told[1]


@pytest.mark.parametrize("taken", ["mbus-1", "rtu-1"])
async def test_an_adapter_that_was_away_for_a_moment_between_two_deadlines_misses_none(
    tmp_path: Path, taken: str
) -> None:
    async with running(Lines(folder=tmp_path)) as lines:
        await lines.step(0)
        lines.wires[taken].unplug()
        lines.wires[taken].plug()
        await lines.step(15)
        assert sorted(await lines.polled(15)) == ALL
        assert await lines.alarms() == {}


async def test_a_slow_line_delays_no_other(tmp_path: Path) -> None:
    """Two meters at 600 baud take four seconds: what the others read is kept long before."""
    async with running(Lines(folder=tmp_path, baud=600)) as lines:
        for minute in (0, 15):
            await lines.step(minute)
            order = await lines.polled(minute)
            assert sorted(order) == ALL
            assert order[-2:] == ["heat-1", "heat-2"]
