"""The ways to a bus: a TCP port with a converter of its own mind, no way at all, and a second master."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from simulators.mbus import Bus, Converter, Direct, Line, Slave, captured_telegrams, short_frame
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIRM = b"\xe5"
BAUD = 2400
OCTET = 11 / BAUD
RESET, ASK = short_frame(0x40, 1), short_frame(0x7B, 1)


def slave() -> Slave:
    return Slave(address=1, captured=captured_telegrams()["itron-cf-55"], serial="11127667")


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line([slave()])
    yield line
    await line.close()


async def call(port: int, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    return reader, writer


async def test_octets_over_tcp_take_the_time_of_the_bus() -> None:
    line = Line([slave()], baud=9600)
    reader, writer = await call(await line.start(), b"")
    start = time.monotonic()
    writer.write(ASK)
    await reader.readexactly(83)
    assert time.monotonic() - start >= (len(ASK) + 83 + 1) * 11 / 9600
    writer.close()
    await line.close()


async def test_a_converter_joins_answers(line: Line) -> None:
    line.converter = Converter(gather=0.05)
    reader, writer = await call(await line.start(), ASK)
    await reader.readexactly(83)
    now = asyncio.get_running_loop().time()
    line.talk(CONFIRM, now)
    line.talk(CONFIRM, now + 0.01)
    assert await reader.read(100) == CONFIRM * 2
    writer.close()


async def test_a_converter_splits_an_answer(line: Line) -> None:
    line.converter = Converter(packet=80, gap=0.1)
    reader, writer = await call(await line.start(), ASK)
    assert len(await reader.read(100)) == 80
    assert len(await reader.read(100)) == 3
    writer.close()


async def test_a_converter_hangs_up_in_the_middle_of_an_answer_and_takes_the_next_call(line: Line) -> None:
    line.converter = Converter(hang_up_after=40)
    port = await line.start()
    reader, writer = await call(port, ASK)
    assert await reader.read() == line.slaves[1].telegram()[:40]
    writer.close()
    reader, writer = await call(port, ASK)
    assert len(await reader.readexactly(83)) == 83
    writer.close()


def test_an_hour_of_a_bus_passes_at_once_where_time_is_virtual() -> None:
    async def hour() -> float:
        now = asyncio.get_running_loop().time
        direct, start, polls = Direct(Bus([slave()], baud=BAUD), grain=0.02), now(), 1000
        for turn in range(polls):
            await direct.send(short_frame(0x5B if turn % 2 else 0x7B, 1))
            heard = b""
            while len(heard) < 83:
                heard += await direct.receive(1.0)
        assert direct.bus.slaves[1].access == polls % 256
        assert await direct.receive(10.0) == b""
        await direct.close()
        return (now() - start - 10.0) / polls

    loop = VirtualTime()
    assert loop.run_until_complete(hour()) == pytest.approx((len(ASK) + 1 + 83) * OCTET)
    loop.close()


def test_the_answer_to_another_master_comes_to_us_too() -> None:
    bus = Bus([slave()], baud=BAUD)
    bus.intrude(RESET, 0.0)
    assert bus.take(1.0) == CONFIRM
    assert bus.requests == 0


@pytest.mark.parametrize("ours_first", [True, False])
def test_who_begins_while_the_other_master_sends_is_heard_by_nobody(*, ours_first: bool) -> None:
    bus = Bus([slave()], baud=BAUD)
    first, second = (bus.send, bus.intrude) if ours_first else (bus.intrude, bus.send)
    first(RESET, 0.0)
    second(RESET, 2 * OCTET)
    assert bus.take(1.0) == CONFIRM


def test_an_echo_comes_while_the_octets_go_out() -> None:
    bus = Bus([slave()], baud=BAUD)
    bus.echo = True
    bus.send(RESET, 0.0)
    assert bus.take(3.5 * OCTET) == RESET[:3]
    assert bus.take(1.0) == RESET[3:] + CONFIRM


def test_two_late_answers_and_a_request_of_ours_go_their_own_ways() -> None:
    bus = Bus([slave()], baud=BAUD)
    bus.slaves[1].fault = "late"
    bus.send(RESET, 0.0)
    bus.slaves[1].fault = None
    bus.send(RESET, 0.1)
    assert bus.take(0.4) == CONFIRM
    assert bus.take(1.0) == CONFIRM


def test_a_meter_may_get_another_address_and_another_number() -> None:
    bus = Bus([slave()], baud=BAUD)
    bus.slaves[1].address, bus.slaves[1].serial = 9, "00000042"
    bus.send(ASK, 0.0)
    assert bus.take(1.0) == b""
    bus.send(short_frame(0x7B, 9), 2.0)
    assert bus.take(4.0)[5:11] == bytes.fromhex("09 72 42000000")
