"""Hundreds of polls over lines that flip, drop and insert one octet in a thousand: no wrong value.

What no repeat can read is an error; hardly any poll needs one.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from drivers import mbus as mbus_driver
from drivers import modbus as modbus_driver
from gateway.ports.field import FieldError
from simulators import mbus, modbus
from simulators.pty import MBusWire, Noise, RtuWire
from tests.steady_time import LoopClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.ports.field import Answer, MeterBus

RATE = 1e-3
POLLS = 300
READ = 0.995
"""part of the polls that must be read within the repeats"""


def noise(rate: float, *, parity: bool) -> Noise:
    return Noise(chance=random.Random(20261121), rate=rate, parity=parity)


@pytest.fixture
async def mbus_wire(tmp_path: Path) -> AsyncIterator[MBusWire]:
    slave = mbus.Slave(address=1, captured=mbus.captured_telegrams()["itron-cf-55"], serial="11127667")
    wire = MBusWire(tmp_path / "ttyUSB0", [slave], baud=38400)
    wire.plug()
    yield wire
    wire.unplug()


@pytest.fixture
async def rtu_wire(tmp_path: Path) -> AsyncIterator[RtuWire]:
    wire = RtuWire(
        tmp_path / "ttyUSB1", [modbus.Unit(address=1, layout=modbus.layouts()["carlo-gavazzi-em340"])], baud=115200
    )
    wire.plug()
    yield wire
    wire.unplug()


async def polled(bus: MeterBus) -> dict[str, str] | None:
    """What was read, None for an error."""
    try:
        answer: Answer = await bus.read("m")
    except FieldError:
        return None
    return {value.register: str(value.index) for value in answer.values}


@pytest.mark.parametrize("rate", [RATE, 20 * RATE])
async def test_mbus_reads_what_the_meter_shows_or_nothing(mbus_wire: MBusWire, rate: float) -> None:
    driver = mbus_driver.driver
    meter = driver.meter_schema.model_validate({"model": "itron-cf-55", "address": 1, "serial": "11127667"})
    settings = driver.bus_schema.model_validate({"device": str(mbus_wire.link), "baud": 38400})
    bus = driver.open(settings, {"m": meter}, LoopClock())
    mbus_wire.noise, read = noise(rate, parity=True), 0
    polls = POLLS if rate == RATE else POLLS // 10
    for turn in range(polls):
        mbus_wire.slaves[1].counts = {"heat": turn, "volume": 3 * turn}
        found = await polled(bus)
        assert found in (None, {"heat": str(10 * turn), "volume": str(3 * turn)})
        read += found is not None
    await bus.close()
    assert mbus_wire.noise.hits > 10  # else it has proven nothing
    assert read >= READ * polls or rate > RATE


@pytest.mark.parametrize("rate", [RATE, 20 * RATE])
async def test_rtu_reads_what_the_meter_shows_or_nothing(rtu_wire: RtuWire, rate: float) -> None:
    driver = modbus_driver.driver
    meter = driver.meter_schema.model_validate({"model": "carlo-gavazzi-em340", "address": 1})
    settings = driver.bus_schema.model_validate({"device": str(rtu_wire.link), "baud": 115200, "timeout": 0.2})
    bus = driver.open(settings, {"m": meter}, LoopClock())
    rtu_wire.noise, read = noise(rate, parity=False), 0
    unit = rtu_wire.units[1]
    assert isinstance(unit, modbus.Unit)
    polls = POLLS if rate == RATE else POLLS // 10
    for turn in range(polls):
        unit.counts = {"import": 10 * turn, "export": 10 * turn + 10_000_000}
        found = await polled(bus)
        assert found in (None, {"import": f"{turn}.0", "export": f"{turn + 1_000_000}.0"})
        read += found is not None
    await bus.close()
    assert rtu_wire.noise.hits > 3  # else it has proven nothing
    assert read >= READ * polls or rate > RATE
