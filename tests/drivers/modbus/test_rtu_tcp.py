"""RTU frames through a converter with a TCP port, which cuts and joins them as it likes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drivers.modbus import driver
from drivers.modbus.settings import BusSettings, MeterSettings
from gateway.ports.field import LineDownError, NoAnswerError
from simulators.modbus import Unit, layouts
from simulators.pty import RtuWire
from simulators.tcp import Port
from tests.steady_time import LoopClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.ports.field import MeterBus

TIMEOUT = 0.2
METERS = {
    "em": MeterSettings(model="carlo-gavazzi-em340", address=7),
    "dead": MeterSettings(model="eastron-sdm630", address=8),
}
RIGHT = {"import": "1234.5", "export": "6.7"}


class Converter(Port):
    """A meter behind it. Each request takes the next reaction of the script: pieces, each so long after the last."""

    def __init__(self) -> None:
        super().__init__()
        unit = Unit(address=7, layout=layouts()["carlo-gavazzi-em340"], counts={"import": 12345, "export": 67})
        self.wire = RtuWire(Path("nowhere"), [unit])
        self.script: list[Callable[[bytes], list[tuple[float, bytes]] | None]] = []
        self.asked: list[float] = []
        self.connections = 0
        self.port = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        heard = b""
        while octets := await reader.read(256):
            answers, heard = self.wire.answers(heard + octets)
            for right in answers:
                self.asked.append(asyncio.get_running_loop().time())
                pieces = self.script.pop(0)(right) if self.script else [(0.0, right)]
                if pieces is None:
                    return
                for seconds, piece in pieces:
                    await asyncio.sleep(seconds)
                    writer.write(piece)


@pytest.fixture
async def converter() -> AsyncIterator[Converter]:
    converter = Converter()
    converter.port = await converter.start()
    yield converter
    await converter.close()


@pytest.fixture
async def bus(converter: Converter) -> AsyncIterator[MeterBus]:
    settings = BusSettings(host="127.0.0.1", port=converter.port, framing="rtu", baud=115200, timeout=TIMEOUT)
    bus = driver.open(settings, METERS, LoopClock())
    yield bus
    await bus.close()


async def indexes(bus: MeterBus, meter: str = "em") -> dict[str, str]:
    answer = await bus.read(meter)
    return {value.register: str(value.index) for value in answer.values}


async def test_an_answer_may_come_octet_by_octet(converter: Converter, bus: MeterBus) -> None:
    converter.script = [lambda right: [(0.003, bytes([octet])) for octet in right]] * 3
    assert await indexes(bus) == RIGHT
    assert len(converter.asked) == 3


async def test_a_piece_that_the_network_sends_again_may_take_as_long_as_that(
    converter: Converter, bus: MeterBus
) -> None:
    assert await indexes(bus) == RIGHT
    before = len(converter.asked)
    converter.script = [lambda right: [(TIMEOUT - 0.05, right[:4]), (0.2, right[4:])]]
    assert await indexes(bus) == RIGHT
    assert len(converter.asked) == before + 2


async def test_the_raw_answer_is_what_a_serial_line_would_have_given(bus: MeterBus) -> None:
    raw = (await bus.read("em")).raw
    assert driver.decode(raw[:8])["kind"] == "request"
    assert driver.decode(raw[8:17]) == {"ok": True, "unit": 7, "kind": "answer", "function": 3, "words": [12345, 0]}


async def test_a_late_answer_is_not_the_next_ones_which_would_look_the_same(
    converter: Converter, bus: MeterBus
) -> None:
    assert await indexes(bus) == RIGHT
    converter.script = [lambda right: [(TIMEOUT + 0.05, right)]] * 2
    with pytest.raises(NoAnswerError):
        await bus.read("em")
    assert await indexes(bus) == RIGHT


async def test_noise_before_an_answer_and_the_answer_in_one_piece(converter: Converter, bus: MeterBus) -> None:
    converter.script = [lambda right: [(0.0, b"\xff\x00\x07\x03" + right)]]
    assert await indexes(bus) == RIGHT


async def test_a_converter_that_hangs_up_in_mid_answer_ends_the_read_at_once(
    converter: Converter, bus: MeterBus
) -> None:
    assert await indexes(bus) == RIGHT
    converter.script = [lambda _: None]
    with pytest.raises(LineDownError, match="closed the connection; check the converter"):
        await bus.read("em")
    assert await indexes(bus) == RIGHT
    assert converter.connections == 2


async def test_a_dead_meter_is_silent_and_its_neighbour_is_read(converter: Converter, bus: MeterBus) -> None:
    with pytest.raises(NoAnswerError, match="unit 8 gives no answer"):
        await bus.read("dead")
    assert await indexes(bus) == RIGHT
    assert converter.connections == 1


async def test_a_second_master_of_this_machine_is_refused(converter: Converter, bus: MeterBus) -> None:
    assert await indexes(bus) == RIGHT
    settings = BusSettings(host="127.0.0.1", port=converter.port, framing="rtu", timeout=TIMEOUT)
    second = driver.open(settings, METERS, LoopClock())
    with pytest.raises(LineDownError, match="is in use by another program of this machine"):
        await second.read("em")
    await second.close()


@pytest.mark.parametrize("host", ["..", "x" * 300])
async def test_a_host_that_can_be_no_name_is_a_line_that_is_down(host: str) -> None:
    bus = driver.open(BusSettings(host=host, port=1, framing="rtu"), METERS, LoopClock())
    with pytest.raises(LineDownError, match=r"cannot be connected \(.*\); check host, port and converter"):
        await bus.read("em")
    await bus.close()
