"""What goes wrong at Modbus meters, over TCP, as RTU over TCP and on a serial device."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter as Tally
from typing import TYPE_CHECKING

import pytest

from simulators.modbus import FAULTS, Chance, Converter, Fault, Line, RtuBus, RtuLine, Unit, layouts, with_crc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IMPORT, EXPORT = bytes.fromhex("04 0048 0002"), bytes.fromhex("04 004a 0002")
RIGHT = {IMPORT: bytes.fromhex("04 04 3f000000"), EXPORT: bytes.fromhex("04 04 3e800000")}
GARBAGE = bytes.fromhex("00ff6803a7")


def meter() -> Unit:
    return Unit(address=1, layout=layouts()["eastron-sdm630"], counts={"import": 50, "export": 25})


def frame(number: int, pdu: bytes, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", number, 0, len(pdu) + 1, unit) + pdu


class Caller:
    """A conversation over TCP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def at(cls, port: int) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes, length: int) -> bytes:
        self._writer.write(request)
        return await self._reader.readexactly(length)

    def send(self, octets: bytes) -> None:
        self._writer.write(octets)

    async def rest(self) -> bytes:
        """All that comes until the other side hangs up."""
        return await self._reader.read()

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line([meter(), Unit(address=2, layout=layouts()["eastron-sdm630"])])
    yield line
    await line.close()


@pytest.fixture
async def caller(line: Line) -> AsyncIterator[Caller]:
    caller = await Caller.at(await line.start())
    yield caller
    caller.close()


SPOILT: dict[Fault, bytes] = {
    "wrong_unit": frame(7, RIGHT[IMPORT], unit=2),
    "wrong_function": frame(7, bytes.fromhex("03 04 3f000000")),
    "short_count": frame(7, bytes.fromhex("04 02 3f00")),
    "exception": frame(7, bytes.fromhex("84 0b")),
    "not_available": frame(7, bytes.fromhex("04 04 ffffffff")),
    "noise": GARBAGE + frame(7, RIGHT[IMPORT]),
    "noise_within": frame(7, RIGHT[IMPORT])[:6] + GARBAGE + frame(7, RIGHT[IMPORT])[6:],
    "noise_after": frame(7, RIGHT[IMPORT]) + GARBAGE,
    "reboot": frame(7, RIGHT[IMPORT])[:6],
}


@pytest.mark.parametrize("fault", SPOILT)
async def test_a_fault_over_tcp_is_what_it_says(line: Line, caller: Caller, fault: Fault) -> None:
    line.units[1].fault, line.units[1].code = fault, 0x0B
    line.units[1].boot = 0.0
    assert await caller.ask(frame(7, IMPORT), len(SPOILT[fault])) == SPOILT[fault]
    line.units[1].fault = None
    assert await caller.ask(frame(8, EXPORT), 13) == frame(8, RIGHT[EXPORT])


async def test_the_answer_to_another_request_has_its_number_and_its_values(line: Line, caller: Caller) -> None:
    await caller.ask(frame(6, IMPORT), 13)
    line.units[1].fault = "other_request"
    assert await caller.ask(frame(7, EXPORT), 13) == frame(6, RIGHT[IMPORT])
    assert await caller.ask(frame(8, IMPORT), 13) == frame(7, RIGHT[EXPORT])


async def test_a_late_answer_comes_after_that_of_the_next_request_and_keeps_its_number(
    line: Line, caller: Caller
) -> None:
    line.units[1].fault, line.units[1].late = "late", 0.05
    caller.send(frame(6, IMPORT))
    zero = bytes.fromhex("04 04 00000000")
    assert await caller.ask(frame(7, IMPORT, unit=2), 26) == frame(7, zero, unit=2) + frame(6, RIGHT[IMPORT])


async def test_a_meter_that_closes_in_the_middle_answers_the_next_caller(line: Line, caller: Caller) -> None:
    line.units[1].fault = "close"
    caller.send(frame(7, IMPORT))
    assert await caller.rest() == frame(7, RIGHT[IMPORT])[:6]


async def test_only_so_many_callers_are_served_and_the_next_is_hung_up_on(line: Line) -> None:
    line.most_callers = 1
    port = await line.start()
    first = await Caller.at(port)
    assert len(await first.ask(frame(1, IMPORT), 13)) == 13
    second = await Caller.at(port)
    assert await second.rest() == b""
    assert line.turned_away == 1
    assert len(await first.ask(frame(2, IMPORT), 13)) == 13
    for caller in (first, second):
        caller.close()


async def test_a_port_that_accepts_and_says_nothing_has_heard(line: Line, caller: Caller) -> None:
    line.mute = True
    caller.send(frame(7, IMPORT))
    while not line.requests:  # noqa: ASYNC110 - turns of the event loop, until it is asked
        await asyncio.sleep(0)
    line.mute = False
    assert await caller.ask(frame(8, IMPORT), 13) == frame(8, RIGHT[IMPORT])


async def test_a_gateway_to_a_serial_line_takes_the_time_of_the_line_for_all_callers_together() -> None:
    line = Line([meter()], baud=9600, turnaround=0.02)
    port = await line.start()
    callers = [await Caller.at(port) for _ in range(2)]
    start = asyncio.get_running_loop().time()
    await asyncio.gather(*(each.ask(frame(n, IMPORT), 13) for n, each in enumerate(callers)))
    one = (8 + 9) * 11 / 9600 + 3.5 * 11 / 9600 + 0.02
    assert asyncio.get_running_loop().time() - start >= 2 * one + 3.5 * 11 / 9600
    for each in callers:
        each.close()
    await line.close()


@pytest.mark.parametrize("fault", ["wrong_unit", "wrong_function", "short_count", "exception", "noise", "noise_after"])
async def test_faults_have_a_good_crc_where_the_device_itself_errs(fault: Fault) -> None:
    pdu = SPOILT[fault][7:] if fault.startswith(("wrong", "short", "exception")) else RIGHT[IMPORT]
    good = with_crc(bytes([2 if fault == "wrong_unit" else 1]) + pdu)
    expected = {"noise": GARBAGE + good, "noise_after": good + GARBAGE}.get(fault, good)
    line = RtuLine([meter()])
    line.units[1].fault, line.units[1].code = fault, 0x0B
    caller = await Caller.at(await line.start())
    assert await caller.ask(with_crc(b"\1" + IMPORT), len(expected)) == expected
    caller.close()
    await line.close()


async def test_rtu_over_tcp_is_split_joined_and_closed_in_the_middle() -> None:
    line = RtuLine([meter()], baud=115200)
    port = await line.start()
    right, request = with_crc(b"\1" + RIGHT[IMPORT]), with_crc(b"\1" + IMPORT)
    line.converter = Converter(packet=4, gap=0.01)
    caller = await Caller.at(port)
    assert await caller.ask(request, len(right)) == right
    line.converter = Converter(gather=0.05)
    assert await caller.ask(request[:3], 0) == b""
    assert await caller.ask(request[3:], len(right)) == right
    line.converter, line.units[1].fault = None, "close"
    caller.send(request)
    assert await caller.rest() == right[: len(right) // 2]
    line.units[1].fault = None
    again = await Caller.at(port)
    assert await again.ask(request, len(right)) == right
    for each in (caller, again):
        each.close()
    await line.close()


def test_a_device_that_reboots_is_away_for_a_while() -> None:
    bus = RtuBus([meter()], baud=115200)
    request, right = with_crc(b"\1" + IMPORT), with_crc(b"\1" + RIGHT[IMPORT])
    bus.units[1].fault = "reboot"
    bus.send(request, 0.0)
    assert bus.take(1.0) == right[: len(right) // 2]
    bus.units[1].fault = None
    bus.send(request, 1.9)
    assert bus.take(2.0) == b""
    bus.send(request, 2.1)
    assert bus.take(3.0) == right


def test_a_seed_draws_each_fault_as_often_as_asked_and_the_same_again() -> None:
    drawn = []
    for _ in range(2):
        chance: Chance[Fault] = Chance(5, dict.fromkeys(FAULTS, 0.02))
        unit = meter()
        unit.chance, unit.boot = chance, 0.0
        for _ in range(5000):
            unit.hear(IMPORT, 1.0)
        drawn.append(chance.drawn)
    assert drawn[0] == drawn[1]
    tally = Tally(drawn[0])
    assert all(60 < tally[fault] < 140 for fault in FAULTS)
    assert tally[None] == pytest.approx(5000 * (1 - 0.02 * len(FAULTS)), rel=0.05)
