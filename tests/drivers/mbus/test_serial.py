"""The M-Bus conversation over a serial device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from drivers.mbus import driver
from drivers.mbus.settings import BusSettings, MeterSettings
from gateway.ports.field import LineDownError, NoAnswerError
from simulators.mbus import Slave, captured_telegrams
from simulators.pty import MBusWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from gateway.ports.field import MeterBus

MODEL = "itron-cf-55"
SERIALS = {1: "11127667", 2: "00000042"}
LONGEST_TURNAROUND_BITS = 330


class NoClock:
    """The time-outs of a line are the event loop's."""

    def now(self) -> datetime:
        raise AssertionError

    def monotonic(self) -> float:
        raise AssertionError


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[MBusWire]:
    """Two heat meters on a line that is not plugged in yet."""
    captured = captured_telegrams()[MODEL]
    slaves = [Slave(address=address, captured=captured, serial=serial) for address, serial in SERIALS.items()]
    for slave in slaves:
        slave.counts = {"heat": 100 * slave.address}
    wire = MBusWire(tmp_path / "ttyUSB0", slaves, baud=38400)
    yield wire
    wire.unplug()


@pytest.fixture
async def bus(wire: MBusWire) -> AsyncIterator[MeterBus]:
    bus = open_bus(wire)
    yield bus
    await bus.close()


def open_bus(wire: MBusWire) -> MeterBus:
    meters = {
        f"heat-{address}": MeterSettings(model=MODEL, address=address, serial=serial)
        for address, serial in SERIALS.items()
    }
    return driver.open(BusSettings(device=str(wire.link), baud=wire.baud), meters, NoClock())


async def heat(bus: MeterBus, address: int = 1) -> str:
    answer = await bus.read(f"heat-{address}")
    assert answer.serial == SERIALS[address]
    return next(str(value.index) for value in answer.values if value.register == "heat")


@pytest.mark.parametrize("baud", [2400, 9600, 38400])
async def test_meters_are_read_although_they_take_the_longest_time_that_the_standard_allows(
    wire: MBusWire, baud: int
) -> None:
    wire.baud, wire.turnaround = baud, LONGEST_TURNAROUND_BITS / baud + 0.03
    wire.plug()
    bus = open_bus(wire)
    assert [await heat(bus, 1), await heat(bus, 2)] == ["1000", "2000"]
    assert wire.requests == 4  # SND_NKE and REQ_UD2 of each, none of them repeated
    await bus.close()


async def test_the_echo_of_a_simple_level_converter_is_no_answer(wire: MBusWire, bus: MeterBus) -> None:
    wire.echo = True
    wire.plug()
    for address in (1, 2, 1):
        assert await heat(bus, address) == f"{address}000"
    assert wire.requests == 5
    wire.slaves[2].fault = "silence"
    with pytest.raises(NoAnswerError, match="address 2 stays silent through 3 requests"):
        await bus.read("heat-2")


async def test_noise_before_an_answer_costs_nothing(wire: MBusWire, bus: MeterBus) -> None:
    wire.slaves[1].fault = "noise"
    wire.plug()
    assert await heat(bus) == "1000"


async def test_a_device_that_is_missing_at_first_is_opened_at_the_next_read(wire: MBusWire, bus: MeterBus) -> None:
    with pytest.raises(LineDownError, match="ttyUSB0 is not there; plug the adapter in"):
        await bus.read("heat-1")
    wire.plug()
    assert await heat(bus) == "1000"


async def test_a_device_that_was_plugged_in_again_between_two_reads_costs_none(wire: MBusWire, bus: MeterBus) -> None:
    wire.plug()
    assert await heat(bus) == "1000"
    wire.unplug()
    wire.plug()
    assert await heat(bus) == "1000"


async def test_a_device_that_is_unplugged_in_the_middle_of_an_answer_comes_back(wire: MBusWire, bus: MeterBus) -> None:
    wire.plug()
    assert await heat(bus) == "1000"

    class Vanishing(Slave):
        def request(self, fcb: int) -> bytes:
            wire.unplug()
            return super().request(fcb)

    wire.slaves[1] = Vanishing(address=1, captured=wire.slaves[1].captured, serial=SERIALS[1])
    with pytest.raises(LineDownError, match="ttyUSB0 is not there"):
        await bus.read("heat-1")
    wire.slaves[1] = Slave(address=1, captured=wire.slaves[1].captured, serial=SERIALS[1], counts={"heat": 100})
    wire.plug()
    assert await heat(bus) == "1000"


async def test_a_second_gateway_at_the_same_device_is_refused(wire: MBusWire, bus: MeterBus) -> None:
    wire.plug()
    assert await heat(bus) == "1000"
    second = open_bus(wire)
    with pytest.raises(LineDownError, match="is in use by another program"):
        await second.read("heat-1")
    await second.close()
    assert await heat(bus) == "1000"


async def test_closing_lets_others_have_the_device(wire: MBusWire, bus: MeterBus) -> None:
    wire.plug()
    assert await heat(bus) == "1000"
    await bus.close()
    second = open_bus(wire)
    assert await heat(second) == "1000"
    await second.close()


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"host": "192.168.1.20", "port": 10001, "device": "/dev/ttyUSB0"},
        {"host": "192.168.1.20", "device": "/dev/ttyUSB0"},
        {"port": 10001, "device": "/dev/ttyUSB0"},
        {"baud": 2400},
    ],
)
def test_a_line_is_either_a_tcp_port_or_a_device(keys: dict[str, str | int]) -> None:
    assert mistake(keys) == (
        "name either host and port, or the device of a serial line such as /dev/ttyUSB0, and not both"
    )


def test_a_tcp_port_needs_both_of_its_keys() -> None:
    assert mistake({"port": 10001}) == "host is missing beside port; name the converter or gateway"
    assert (
        mistake({"host": "h"})
        == "port is missing beside host; write the TCP port of the level converter, e.g. port = 10001"
    )


def test_a_device_is_a_whole_path() -> None:
    assert "should match pattern" in mistake({"device": "ttyUSB0"})


def mistake(keys: dict[str, str | int]) -> str:
    with pytest.raises(ValidationError) as caught:
        BusSettings.model_validate(keys)
    (error,) = caught.value.errors()
    return error["msg"].removeprefix("Value error, ")


def test_a_device_adds_less_to_an_answer_than_a_network() -> None:
    assert BusSettings(device="/dev/ttyUSB0").timing.latency == 0.02
    assert BusSettings(host="h", port=1).timing.latency == 0.1
    assert BusSettings(device="/dev/ttyUSB0", latency=0.5, baud=300).timing.answer() == pytest.approx(1.65)
