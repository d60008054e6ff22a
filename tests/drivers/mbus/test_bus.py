"""The conversation over a real TCP connection, with slaves that do everything wrong that slaves do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from drivers.mbus import driver
from drivers.mbus.settings import BusSettings, MeterSettings
from drivers.network import tcp
from gateway.ports.field import FieldError, LineDownError, NoAnswerError, WrongAnswerError
from tests.drivers.mbus.slave import CAPTURED, Cut, Slave, from_address, long_frame, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from gateway.ports.field import Answer, Driver, MeterBus
    from tests.drivers.mbus.slave import Step

WATER = from_address(CAPTURED["itron_bm_+m"], 1)
OTHER = from_address(CAPTURED["itron_bm_+m"].replace(bytes.fromhex("041331d40000"), bytes.fromhex("041307000000")), 2)
BAD_CHECKSUM = WATER[:-2] + bytes([WATER[-2] ^ 0xFF, 0x16])
HEADER = bytes.fromhex("72785634122440010755000000")
MORE = b"\x1f"
SHORT = 0.2
"""seconds of latency where a test needs time-outs to pass; where none should, there is more"""
WATER_READ = ("11490378", "54.321")


class NoClock:
    """The time-outs of a line are the event loop's."""

    def now(self) -> datetime:
        raise AssertionError

    def monotonic(self) -> float:
        raise AssertionError


def open_bus(slave: Slave, *, serial: str | None = "11490378", latency: float = 1.0) -> MeterBus:
    """Two water meters behind a level converter."""
    found: Driver = driver
    return found.open(
        BusSettings(host="127.0.0.1", port=slave.port, baud=38400, latency=latency),
        {
            "water": MeterSettings(model="itron-bm-plus-m", address=1, serial=serial),
            "other": MeterSettings(model="itron-bm-plus-m", address=2),
        },
        NoClock(),
    )


@asynccontextmanager
async def wired(
    *script: Step, deaf: bool = False, serial: str | None = "11490378", latency: float = 1.0
) -> AsyncIterator[tuple[Slave, MeterBus]]:
    async with Slave(*script, deaf=deaf) as slave:
        bus = open_bus(slave, serial=serial, latency=latency)
        try:
            yield slave, bus
        finally:
            await bus.close()


def told(answer: Answer) -> tuple[str, str]:
    (value,) = answer.values
    return answer.serial, str(value.index)


async def test_link_reset_comes_first_and_the_frame_count_bit_toggles_after_each_good_answer() -> None:
    async with wired(WATER, WATER, WATER) as (slave, bus):
        for _ in range(3):
            assert told(await bus.read("water")) == WATER_READ

        assert slave.requests == [request("nke"), request("ud2+"), request("ud2"), request("ud2+")]
        assert slave.callers == 1


async def test_an_answer_carries_identity_status_and_the_telegram_as_it_came() -> None:
    status = bytearray(WATER[6:-2])
    status[10] = 0x10
    frame = long_frame(bytes(status))

    async with wired(frame) as (_, bus):
        answer = await bus.read("water")

    assert (answer.meter, answer.serial, answer.status, answer.raw) == ("water", "11490378", 0x10, frame)
    (value,) = answer.values
    assert (value.register, value.unit, value.obis, str(value.index)) == ("volume", "m3", "8-0:1.0.0", "54.321")


@pytest.mark.parametrize(
    "faulty",
    [
        pytest.param(b"", id="silence"),
        pytest.param(BAD_CHECKSUM, id="bad checksum"),
        pytest.param(WATER[: len(WATER) // 2], id="half a frame"),
        pytest.param(WATER[:-1] + b"\x17", id="bad stop"),
        pytest.param(WATER[:2] + b"\x3d" + WATER[3:], id="second length differs"),
        pytest.param(OTHER, id="another address"),
        pytest.param(b"\xe5", id="an acknowledgement instead of data"),
        pytest.param(bytes.fromhex("68ff") * 20, id="noise that looks like starts"),
    ],
)
async def test_a_fault_is_repeated_with_the_same_frame_count_bit_and_then_read_right(faulty: bytes) -> None:
    async with wired(faulty, faulty, WATER, latency=SHORT) as (slave, bus):
        assert told(await bus.read("water")) == WATER_READ

        assert slave.requests == [request("nke"), *[request("ud2+")] * 3]


@pytest.mark.parametrize(
    ("faulty", "error", "text"),
    [
        pytest.param(b"", NoAnswerError, "address 1 stays silent", id="silence"),
        pytest.param(BAD_CHECKSUM, WrongAnswerError, "checksum", id="bad checksum"),
        pytest.param(WATER[:30], WrongAnswerError, "length field", id="half a frame"),
        pytest.param(OTHER, WrongAnswerError, "comes from address 2", id="another address"),
        pytest.param(b"\x00\xff\x00", WrongAnswerError, "begin no frame", id="noise"),
    ],
)
async def test_after_two_repeats_the_read_fails_and_the_next_begins_with_link_reset(
    faulty: bytes, error: type[FieldError], text: str
) -> None:
    async with wired(faulty, faulty, faulty, WATER, latency=SHORT) as (slave, bus):
        with pytest.raises(error, match=text):
            await bus.read("water")
        assert told(await bus.read("water")) == WATER_READ

        assert slave.requests == [request("nke"), *[request("ud2+")] * 3, request("nke"), request("ud2+")]


async def test_link_reset_comes_again_after_a_failure_between_good_reads() -> None:
    async with wired(WATER, b"", b"", b"", WATER, WATER, latency=SHORT) as (slave, bus):
        await bus.read("water")
        with pytest.raises(NoAnswerError):
            await bus.read("water")
        await bus.read("water")
        await bus.read("water")

        failed = [request("ud2")] * 3
        assert slave.requests == [
            request("nke"), request("ud2+"), *failed, request("nke"), request("ud2+"), request("ud2"),
        ]  # fmt: skip


async def test_a_line_that_only_echoes_is_a_silent_meter() -> None:
    echo = request("ud2+")

    async with wired(echo, echo, echo, latency=SHORT) as (_, bus):
        with pytest.raises(NoAnswerError, match="stays silent"):
            await bus.read("water")


async def test_a_meter_that_acknowledges_nothing_costs_three_requests() -> None:
    async with wired(deaf=True, latency=SHORT) as (slave, bus):
        with pytest.raises(NoAnswerError, match="through 3 requests; check address, wiring and power"):
            await bus.read("water")

        assert slave.requests == [request("nke")] * 3


async def test_a_dead_meter_does_not_harm_its_neighbour() -> None:
    async with wired(b"", b"", b"", OTHER, latency=SHORT) as (_, bus):
        with pytest.raises(NoAnswerError):
            await bus.read("water")

        assert told(await bus.read("other")) == ("11490378", "0.007")


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(request("ud2+"), id="echo of the request"),
        pytest.param(bytes.fromhex("00ff68"), id="noise with a start in it"),
        pytest.param(bytes.fromhex("683c3c68"), id="a start of the same length"),
        pytest.param(bytes.fromhex("10e5"), id="half an echo"),
        pytest.param(OTHER, id="late answer of the previous meter"),
        pytest.param(OTHER[:20], id="end of a broken late answer"),
        pytest.param(BAD_CHECKSUM, id="damaged first copy"),
    ],
)
async def test_what_stands_before_the_answer_is_skipped(before: bytes) -> None:
    async with wired(before + WATER) as (slave, bus):
        assert told(await bus.read("water")) == WATER_READ

        assert slave.requests == [request("nke"), request("ud2+")]


async def test_an_answer_that_comes_twice_is_not_taken_for_the_next_one() -> None:
    new = from_address(WATER.replace(bytes.fromhex("041331d40000"), bytes.fromhex("041332d40000")), 1)

    async with wired(WATER + WATER, new) as (_, bus):
        assert told(await bus.read("water")) == WATER_READ
        assert told(await bus.read("water")) == ("11490378", "54.322")


async def test_a_cancelled_read_leaves_nothing_to_the_next() -> None:
    asked, late = asyncio.Event(), asyncio.Event()

    async def late_answer() -> bytes:
        asked.set()
        await late.wait()
        return WATER

    async with wired(late_answer, OTHER, WATER, latency=SHORT) as (slave, bus):
        read = asyncio.create_task(bus.read("water"))
        await asked.wait()
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
        late.set()

        assert told(await bus.read("other")) == ("11490378", "0.007")
        assert told(await bus.read("water")) == WATER_READ
        assert slave.requests[-2:] == [request("nke"), request("ud2+")]


async def test_reads_at_the_same_time_wait_for_each_other() -> None:
    async with wired(WATER, OTHER) as (slave, bus):
        first, second = await asyncio.gather(bus.read("water"), bus.read("other"))

        assert (told(first), told(second)) == (WATER_READ, ("11490378", "0.007"))
        assert slave.requests == [request("nke"), request("ud2+"), request("nke", 2), request("ud2+", 2)]


async def test_a_refused_connection_is_a_line_that_is_down_and_is_tried_again() -> None:
    async with Slave(WATER) as slave:
        pass
    bus = open_bus(slave)

    with pytest.raises(LineDownError, match=r"127\.0\.0\.1:\d+ cannot be connected"):
        await bus.read("water")
    async with slave:
        assert told(await bus.read("water")) == WATER_READ
        await bus.close()


async def test_a_connection_lost_in_an_answer_is_a_line_that_is_down() -> None:
    async with wired(Cut(WATER[:20]), WATER) as (slave, bus):
        with pytest.raises(LineDownError, match="closed the connection"):
            await bus.read("water")
        assert told(await bus.read("water")) == WATER_READ

        assert slave.requests == [request("nke"), request("ud2+")] * 2


async def test_the_end_of_a_connection_is_told_at_once() -> None:
    async with Slave(Cut()) as slave:
        tcp_line = await tcp("127.0.0.1", slave.port, 5)()
        await tcp_line.send(request("ud2+"))

        with pytest.raises(LineDownError, match="closed the connection; check the converter"):
            await tcp_line.receive(60)
        await tcp_line.close()


async def test_a_converter_that_does_not_answer_is_a_line_that_is_down() -> None:
    with pytest.raises(LineDownError, match=r"127\.0\.0\.1:1 does not answer within 0 s|cannot be connected"):
        await tcp("127.0.0.1", 1, 0)()


async def test_a_connection_closed_between_two_reads_is_opened_again_at_once() -> None:
    async with wired(WATER, Cut(), WATER) as (slave, bus):
        await bus.read("water")

        assert told(await bus.read("water")) == WATER_READ
        assert slave.callers == 2
        assert slave.requests[-2:] == [request("nke"), request("ud2+")]


@pytest.mark.parametrize("given", ["11490378", None])
async def test_the_wired_meter_is_believed(given: str | None) -> None:
    async with wired(WATER, serial=given) as (_, bus):
        assert (await bus.read("water")).serial == "11490378"


async def test_a_short_serial_is_filled_with_zeros() -> None:
    number = from_address(WATER.replace(bytes.fromhex("7278034911"), bytes.fromhex("7278030000")), 1)

    async with wired(number, serial="378") as (_, bus):
        assert (await bus.read("water")).serial == "00000378"


async def test_another_meter_at_the_address_is_refused() -> None:
    async with wired(WATER, serial="11490379") as (_, bus):
        with pytest.raises(WrongAnswerError, match="address 1: the meter with number 11490378 answers instead of"):
            await bus.read("water")


async def test_a_meter_of_another_model_is_refused() -> None:
    heat = from_address(CAPTURED["itron_cf_55"], 1)

    async with wired(heat, serial=None) as (_, bus):
        with pytest.raises(WrongAnswerError, match="a meter ACW with medium 12 and version 11 answers"):
            await bus.read("water")


@pytest.mark.parametrize(
    ("user_data", "text"),
    [
        ("7008", r"is busy \(application error 8\)"),
        ("7005", r"application error 5"),
        ("7101", "alarm 1"),
        ("720304", "cannot be read: the telegram ends inside its header"),
        ("50", "CI field 50"),
    ],
)
async def test_an_answer_without_values_is_refused_without_repeats(user_data: str, text: str) -> None:
    async with wired(long_frame(bytes.fromhex(user_data))) as (slave, bus):
        with pytest.raises(WrongAnswerError, match=text):
            await bus.read("water")

        assert slave.requests == [request("nke"), request("ud2+")]
