from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest

from simulators import mbus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RESET, CONFIRM = bytes.fromhex("1040014116"), b"\xe5"
ASK, ASK_TOGGLED = bytes.fromhex("107b017c16"), bytes.fromhex("105b015c16")
ELSEWHERE = bytes.fromhex("107b027d16")
HEAT_LENGTH = 83


class Master:
    """One open conversation with a line that has one slave."""

    def __init__(self, line: mbus.Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.slave = line.slaves[1]
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes, length: int = HEAT_LENGTH) -> bytes:
        self._writer.write(request)
        return await self._reader.readexactly(length)

    async def ask_and_hang_up(self, request: bytes) -> bytes:
        self._writer.write(request)
        self._writer.write_eof()
        return await self._reader.read()


@pytest.fixture
async def master() -> AsyncIterator[Master]:
    captured = mbus.captured_telegrams()["itron-cf-55"]
    slave = mbus.Slave(address=1, captured=captured, serial="11127667", counts={"heat": 123})
    line = mbus.Line([slave])
    reader, writer = await asyncio.open_connection("127.0.0.1", await line.start())
    yield Master(line, reader, writer)
    writer.close()
    await line.close()


def test_untouched_places_of_a_telegram_stay_as_captured() -> None:
    for captured in mbus.captured_telegrams().values():
        place = captured.serial_place or captured.header.number
        assert place is not None
        number = captured.raw[place : place + 4][::-1].hex()
        slave = mbus.Slave(address=captured.raw[5], captured=captured, serial=number, access=captured.raw[15])
        status_and_checksum = {16, len(captured.raw) - 2}
        differing = {i for i, pair in enumerate(zip(slave.telegram(), captured.raw, strict=True)) if len(set(pair)) > 1}
        assert differing <= status_and_checksum


def test_time_of_a_captured_telegram_is_written_as_the_meter_wrote_it() -> None:
    assert mbus.type_f(datetime(2012, 1, 24, 11, 47, tzinfo=UTC)) == bytes.fromhex("2f0b9811")


def test_what_a_meter_keeps_of_its_due_date_is_written_as_the_meter_wrote_it() -> None:
    captured = mbus.captured_telegrams()["elster-f96-plus"]
    kept = {"heat": 1234, "volume": 56789}
    slave = mbus.Slave(address=1, captured=captured, serial="44493951", due=date(2013, 5, 31), kept=kept)
    records = slave.telegram().hex()
    assert "4c0634120000" + "4c1389670500" in records
    assert "426cbf15" in records, "as captured"
    assert "0c0600000000" in records, "its counters are others"


async def test_a_telegram_carries_number_counter_and_checksum(master: Master) -> None:
    assert await master.ask(RESET, 1) == CONFIRM
    frame = await master.ask(ASK)
    assert frame[7:11] == frame[21:25] == bytes.fromhex("67761211")
    assert frame[25:31] == bytes.fromhex("0407") + (123).to_bytes(4, "little")
    assert frame[-2] == sum(frame[4:-2]) % 256


async def test_the_same_fcb_gets_the_same_telegram_and_a_toggled_one_the_next(master: Master) -> None:
    await master.ask(RESET, 1)
    first = await master.ask(ASK)
    master.slave.counts["heat"] = 124
    assert await master.ask(ASK) == first
    second = await master.ask(ASK_TOGGLED)
    assert second[27] == 124
    assert second[15] == (first[15] + 1) % 256


async def test_a_reset_makes_the_next_request_a_new_one(master: Master) -> None:
    first = await master.ask(ASK)
    await master.ask(RESET, 1)
    assert (await master.ask(ASK))[15] == (first[15] + 1) % 256


async def test_nobody_answers_for_an_address_without_slave_or_a_bad_request(master: Master) -> None:
    assert await master.ask_and_hang_up(bytes.fromhex("10400142161068") + ELSEWHERE + RESET) == CONFIRM


async def test_a_silent_slave_says_nothing(master: Master) -> None:
    master.slave.fault = "silence"
    assert await master.ask_and_hang_up(RESET + ASK) == b""


async def test_each_fault_spoils_the_telegram_in_its_own_way(master: Master) -> None:
    good = await master.ask(ASK)
    master.slave.fault = "bad_checksum"
    spoiled = await master.ask(ASK)
    assert spoiled[-2] != good[-2]
    assert spoiled[:-2] == good[:-2]
    master.slave.fault = "half_frame"
    assert await master.ask(ASK, HEAT_LENGTH // 2) == good[: HEAT_LENGTH // 2]
    master.slave.fault = "wrong_address"
    foreign = await master.ask(ASK)
    assert foreign[5] != 1
    assert foreign[-2] == sum(foreign[4:-2]) % 256
    master.slave.fault = "noise"
    assert (await master.ask(ASK, HEAT_LENGTH + 5))[5:] == good


def test_a_full_counter_rolls_over() -> None:
    counter = mbus.Counter(place=0, size=2, coding="bcd", step="1", unit="m3")
    assert counter.encode(10_012) == bytes.fromhex("1200")
