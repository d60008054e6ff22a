"""A meter whose answer has several telegrams is read whole or not at all."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from drivers.mbus.bus import MBusBus, Wired
from drivers.mbus.link import Timing
from drivers.mbus.model import MBusModel
from drivers.network import tcp
from gateway.ports.field import WrongAnswerError
from tests.drivers.mbus.slave import Slave, long_frame, request
from tests.drivers.mbus.test_bus import HEADER, MORE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.ports.field import MeterBus
    from tests.drivers.mbus.slave import Step


def _register(key: str, occurrence: int) -> dict[str, object]:
    found = {"key": key, "kind": "volume", "dib_vib": "0413", "occurrence": occurrence}
    return found | {"unit": "m3", "exponent": -3, "obis": "8-0:1.0.0"}


SEVERAL = MBusModel.model_validate(
    {
        "protocol": "mbus",
        "make": "PAD",
        "models": ["several telegrams"],
        "identity": {"manufacturer": "PAD", "medium": 7},
        "register": [_register("first", 0), _register("last", 1)],
        "proof": [
            {
                "origin": "constructed",
                "source": "this test",
                "raw": "00",
                "expect": {"serial": "12345678", "status": 0, "first": "0.001", "last": "0.002"},
            }
        ],
    }
)


def telegram(volume: int, *, more: bool, access: int = 0x55) -> bytes:
    header = bytearray(HEADER)
    header[9] = access
    return long_frame(bytes(header) + bytes([0x04, 0x13, volume, 0, 0, 0]) + (MORE if more else b""))


@asynccontextmanager
async def several(*script: Step) -> AsyncIterator[tuple[Slave, MeterBus]]:
    async with Slave(*script) as slave:
        meter = Wired(asked=1, model=SEVERAL, serial=None)
        bus = MBusBus(tcp("127.0.0.1", slave.port, 5), Timing(baud=38400, latency=0.15), {"meter": meter})
        try:
            yield slave, bus
        finally:
            await bus.close()


async def test_telegrams_are_asked_for_until_none_follows() -> None:
    async with several(*[telegram(1, more=True), telegram(2, more=False)] * 2) as (slave, bus):
        for _ in range(2):
            answer = await bus.read("meter")
            assert [str(value.index) for value in answer.values] == ["0.001", "0.002"]
            assert answer.raw == telegram(1, more=True) + telegram(2, more=False)

        assert slave.requests == [request("nke"), request("ud2+"), request("ud2")] * 2


async def test_a_damaged_second_telegram_is_repeated_and_no_telegram_is_skipped() -> None:
    last = telegram(2, more=False)

    async with several(telegram(1, more=True), last[:10], last) as (slave, bus):
        assert [str(value.index) for value in (await bus.read("meter")).values] == ["0.001", "0.002"]

        assert slave.requests == [request("nke"), request("ud2+"), request("ud2"), request("ud2")]


async def test_a_repeated_telegram_ends_the_read_with_an_error() -> None:
    async with several(*(telegram(1, more=True, access=access) for access in range(3))) as (slave, bus):
        with pytest.raises(WrongAnswerError, match="repeats a telegram"):
            await bus.read("meter")

        assert slave.requests == [request("nke"), request("ud2+"), request("ud2")]


async def test_telegrams_of_two_meters_make_no_answer() -> None:
    foreign = long_frame(telegram(2, more=False)[6:-2].replace(bytes.fromhex("78563412"), bytes.fromhex("79563412")))

    async with several(telegram(1, more=True), foreign) as (_, bus):
        with pytest.raises(
            WrongAnswerError,
            match=r"12345679 answers instead of 12345678, so nothing .* exchange METER .* --serial 12345679",
        ):
            await bus.read("meter")


async def test_an_answer_without_end_ends_with_an_error() -> None:
    async with several(*(telegram(number, more=True) for number in range(40))) as (slave, bus):
        with pytest.raises(WrongAnswerError, match="more than 16 telegrams"):
            await bus.read("meter")

        assert len(slave.requests) == 1 + 16
