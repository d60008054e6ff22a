from __future__ import annotations

import asyncio
import contextlib
import os
import random
from typing import TYPE_CHECKING

import pytest

from simulators import mbus, modbus
from simulators.pty import MBusWire, Noise, RtuWire, Wire, with_crc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RESET, CONFIRM = bytes.fromhex("1040014116"), b"\xe5"
ASK = bytes.fromhex("107b017c16")
RTU_ASK = bytes.fromhex("01 04 0048 0004 71df")


class Master:
    """The other end of a wire."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._fd = os.open(wire.link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    async def ask(self, request: bytes, length: int) -> bytes:
        os.write(self._fd, request)
        return await self.hear(length)

    async def hear(self, length: int) -> bytes:
        heard, came = b"", asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._fd, came.set)
        while len(heard) < length:
            await came.wait()
            came.clear()
            with contextlib.suppress(BlockingIOError):
                heard += os.read(self._fd, 4096)
        loop.remove_reader(self._fd)
        return heard

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
async def mbus_wire(tmp_path: Path) -> AsyncIterator[MBusWire]:
    slave = mbus.Slave(address=1, captured=mbus.captured_telegrams()["itron-cf-55"], serial="11127667")
    wire = MBusWire(tmp_path / "ttyUSB0", [slave], baud=38400)
    wire.plug()
    yield wire
    wire.unplug()


@pytest.fixture
async def rtu_wire(tmp_path: Path) -> AsyncIterator[RtuWire]:
    unit = modbus.Unit(address=1, layout=modbus.layouts()["eastron-sdm630"], counts={"import": 50, "export": 25})
    wire = RtuWire(tmp_path / "ttyUSB1", [unit], baud=38400)
    wire.plug()
    yield wire
    wire.unplug()


async def test_a_slave_confirms_and_answers_over_the_device(mbus_wire: MBusWire) -> None:
    master = Master(mbus_wire)
    assert await master.ask(RESET, 1) == CONFIRM
    telegram = await master.ask(ASK, 83)
    assert telegram == mbus_wire.slaves[1].telegram()
    master.close()


async def test_a_converter_with_echo_gives_the_request_back_first(mbus_wire: MBusWire) -> None:
    mbus_wire.echo = True
    master = Master(mbus_wire)
    assert await master.ask(RESET, 6) == RESET + CONFIRM
    master.close()


async def test_octets_take_their_time(mbus_wire: MBusWire) -> None:
    mbus_wire.unplug()
    mbus_wire.baud = 2400
    mbus_wire.plug()
    master = Master(mbus_wire)
    loop = asyncio.get_running_loop()
    start = loop.time()
    await master.ask(ASK, 83)
    assert loop.time() - start >= (len(ASK) + 83) * 11 / 2400
    master.close()


async def test_an_rtu_slave_answers_with_the_crc_of_the_standard(rtu_wire: RtuWire) -> None:
    master = Master(rtu_wire)
    answer = await master.ask(RTU_ASK, 13)
    assert answer == with_crc(bytes.fromhex("01 04 08 3f000000 3e800000"))
    rtu_wire.units[1].fault = "exception"
    assert await master.ask(RTU_ASK, 5) == with_crc(bytes.fromhex("018404"))
    rtu_wire.units[1].fault = "wrong_unit"
    assert (await master.ask(RTU_ASK, 13))[0] == 2
    master.close()


def test_the_crc_is_the_one_of_the_standards_example() -> None:
    assert with_crc(bytes.fromhex("0207")) == bytes.fromhex("02074112")  # Modbus over Serial Line V1.02, 6.2.2


async def test_noise_before_a_request_and_a_silent_slave_do_not_confuse(rtu_wire: RtuWire) -> None:
    master = Master(rtu_wire)
    other = with_crc(bytes.fromhex("070300000001"))
    assert len(await master.ask(b"\x01\x04" + other + RTU_ASK, 13)) == 13
    assert rtu_wire.requests == 2
    master.close()


def test_noise_flips_drops_and_inserts_octets() -> None:
    noise = Noise(chance=random.Random(1), rate=0.01, parity=False)
    spoilt = [noise(b"\x00") for _ in range(10_000)]
    assert 50 < noise.hits < 200
    assert len([each for each in spoilt if each != b"\x00"]) == noise.hits
    assert {len(each) for each in spoilt} == {0, 1, 2}
    assert {each[0].bit_count() for each in spoilt if len(each) == 1} == {0, 1}


def test_what_parity_catches_is_lost() -> None:
    noise = Noise(chance=random.Random(1), rate=1.0, parity=True)
    assert {len(noise(b"\x00")) for _ in range(100)} == {0, 2}


async def test_unplugged_it_is_gone_and_plugged_it_is_back(rtu_wire: RtuWire) -> None:
    rtu_wire.unplug()
    assert not rtu_wire.link.is_symlink()
    rtu_wire.unplug()
    rtu_wire.plug()
    master = Master(rtu_wire)
    assert len(await master.ask(RTU_ASK, 13)) == 13
    master.close()
