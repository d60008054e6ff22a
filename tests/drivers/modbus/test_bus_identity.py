"""Who a meter is: asked with the first read, after each failure and after a minute, whether or not it is in settings.

A Carlo Gavazzi EM340 tells its serial number at 0x5000, an EM24 its model at 0x0B and 0xA000 beside it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from drivers.modbus import driver
from drivers.modbus.model import SerialNumber, meter_models
from drivers.modbus.settings import BusSettings, MeterSettings
from gateway.ports.field import FieldError, LineDownError, WrongAnswerError
from gateway.service.twice import Devices, Twice
from tests.drivers.modbus.peer import Asked, Peer
from tests.drivers.modbus.test_sunspec import END, common, integer, inverter, marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.core.event import Alarm
    from gateway.ports.field import Answer, MeterBus

EM, EM24, SUN = 7, 4, 3
OLD, NEW = b"274123S", b"999999X"
SERIAL, IMPORT, EXPORT, MODEL, APPLICATION = 0x5000, 0x34, 0x4E, 0x0B, 0xA000
METERS = {
    "em": MeterSettings(model="carlo-gavazzi-em340", address=EM),
    "named": MeterSettings(model="carlo-gavazzi-em340", address=EM, serial=OLD.decode()),
    "em24": MeterSettings(model="carlo-gavazzi-em24-e1", address=EM24),
    "sun": MeterSettings(model="sunspec", address=SUN),
}


class HandClock:
    def __init__(self) -> None:
        self.seconds = 1000.0
        self.day = datetime(2026, 10, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.day

    def monotonic(self) -> float:
        return self.seconds

    def go(self, seconds: float) -> None:
        self.seconds += seconds
        self.day += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    wire_em340(peer, OLD, 123456)
    for address, words in {MODEL: [1648], APPLICATION: [7], IMPORT: [1, 0], EXPORT: [2, 0]}.items():
        peer.put(EM24, 3, address, *words)
    peer.put(SUN, 3, 40000, *marker(), *common(b"SN-1"), *integer(203, 5000, 250, 0), *END)
    yield peer
    await peer.stop()


@pytest.fixture
async def bus(peer: Peer, clock: HandClock) -> AsyncIterator[MeterBus]:
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=0.5), METERS, clock)
    yield bus
    await bus.close()


def wire_em340(peer: Peer, serial: bytes, tenths: int) -> None:
    """The meter that answers from now on."""
    peer.put(EM, 3, SERIAL, *serial)
    peer.put(EM, 3, IMPORT, tenths & 0xFFFF, tenths >> 16)
    peer.put(EM, 3, EXPORT, 0, 0)


def lost(_: Asked) -> None:
    """Not answered: the connection ends."""


def addresses(peer: Peer) -> list[int]:
    """What was asked since the last look."""
    asked, peer.asked = [each.address for each in peer.asked], []
    return asked


def said(answer: Answer) -> tuple[str, str]:
    return answer.serial, str(answer.values[0].index)


async def failing(bus: MeterBus, peer: Peer, meter: str) -> None:
    peer.script = [lost]
    with pytest.raises(LineDownError):
        await bus.read(meter)
    peer.asked = []


async def test_the_serial_number_is_read_first_and_carried_for_a_minute(
    peer: Peer, bus: MeterBus, clock: HandClock
) -> None:
    assert said(await bus.read("em")) == ("274123S", "12345.6")
    assert addresses(peer) == [SERIAL, IMPORT, EXPORT]
    for _ in range(60):
        clock.go(1)
        assert said(await bus.read("em")) == ("274123S", "12345.6")
    assert addresses(peer) == [IMPORT, EXPORT] * 60
    clock.go(1)
    assert said(await bus.read("em")) == ("274123S", "12345.6")
    assert addresses(peer) == [SERIAL, IMPORT, EXPORT]
    clock.go(60)
    await bus.read("em")
    assert addresses(peer) == [IMPORT, EXPORT]


@pytest.mark.parametrize("hand", ["monotonic", "day"])
async def test_a_minute_by_either_clock_is_one(peer: Peer, bus: MeterBus, clock: HandClock, hand: str) -> None:
    """A simulation steps the clock of the day alone; a clock that is set back must not stretch the minute."""
    await bus.read("em")
    if hand == "day":
        clock.day += timedelta(seconds=61)
    else:
        clock.go(61)
        clock.day -= timedelta(days=1)
    addresses(peer)
    await bus.read("em")
    assert addresses(peer) == [SERIAL, IMPORT, EXPORT]


async def test_another_meter_at_the_address_is_told_within_a_minute_without_a_number_in_the_settings(
    peer: Peer, bus: MeterBus, clock: HandClock
) -> None:
    await bus.read("em")
    wire_em340(peer, NEW, 50)
    clock.go(61)
    assert said(await bus.read("em")) == ("999999X", "5.0")


async def test_it_is_asked_again_after_each_failure(peer: Peer, bus: MeterBus) -> None:
    await bus.read("em")
    await failing(bus, peer, "em")
    wire_em340(peer, NEW, 50)
    assert said(await bus.read("em")) == ("999999X", "5.0")
    assert addresses(peer) == [SERIAL, IMPORT, EXPORT]


async def test_a_reader_that_is_cancelled_leaves_who_it_is_open(peer: Peer, bus: MeterBus) -> None:
    await bus.read("em")
    peer.asked = []
    peer.script = [lambda _: b""]
    read = asyncio.create_task(bus.read("em"))
    await peer.until_asked(1)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    wire_em340(peer, NEW, 50)
    assert said(await bus.read("em")) == ("999999X", "5.0")


async def test_values_are_those_of_the_meter_whose_number_they_carry_also_beside_another_reader(
    peer: Peer, bus: MeterBus
) -> None:
    """The meter is exchanged, and the line lost by that, between the number and the values of one of two readers."""

    def exchanged(asked: Asked) -> bytes | None:
        if asked.address == SERIAL:
            peer.script = [exchanged]
            return asked.answer
        wire_em340(peer, NEW, 50)
        return None

    peer.script = [exchanged]
    first, second = await asyncio.gather(bus.read("em"), bus.read("em"), return_exceptions=True)
    assert isinstance(first, LineDownError)
    assert not isinstance(second, BaseException)
    assert said(second) == ("999999X", "5.0")


NONE_GIVEN = {
    "exception 1": lambda asked: asked.frame(b"\x83\x01"),
    "exception 2": lambda asked: asked.frame(b"\x83\x02"),
    "exception 3": lambda asked: asked.frame(b"\x83\x03"),
    "all zero": lambda asked: asked.frame(b"\x03\x0e" + bytes(14)),
    "all ones": lambda asked: asked.frame(b"\x03\x0e" + b"\xff" * 14),
    "no letters": lambda asked: asked.frame(b"\x03\x0e" + b"\x07" * 14),
}


@pytest.mark.parametrize("given", NONE_GIVEN)
async def test_a_firmware_without_a_number_is_read_without_one_and_asked_again_after_a_failure_only(
    peer: Peer, bus: MeterBus, clock: HandClock, given: str
) -> None:
    peer.script = [NONE_GIVEN[given]]
    assert said(await bus.read("em")) == ("", "12345.6")
    assert addresses(peer) == [SERIAL, IMPORT, EXPORT]
    clock.go(3600)
    assert said(await bus.read("em")) == ("", "12345.6")
    assert addresses(peer) == [IMPORT, EXPORT]
    await failing(bus, peer, "em")
    assert said(await bus.read("em")) == ("274123S", "12345.6")


@pytest.mark.parametrize("given", NONE_GIVEN)
async def test_where_the_settings_name_a_number_none_is_another(peer: Peer, bus: MeterBus, given: str) -> None:
    await bus.read("named")
    assert sorted(addresses(peer)) == [IMPORT, EXPORT, SERIAL]
    peer.script = [lambda asked: asked.answer, lambda asked: asked.answer, NONE_GIVEN[given]]
    with pytest.raises(WrongAnswerError, match=r"unit 7 (refuses|is meter \(no number\)|gives no serial number)"):
        await bus.read("named")


@pytest.mark.parametrize(
    "wrong", [lambda asked: asked.frame(b"\x83\x04"), lambda asked: asked.frame(b"\x83\x06"), lambda _: b""]
)
async def test_a_number_that_cannot_be_asked_now_is_no_missing_one(peer: Peer, bus: MeterBus, wrong: object) -> None:
    """A busy device, or one that fails, says nothing about its number: the read fails and the next one asks again."""
    peer.script = [wrong]  # type: ignore[list-item]
    with pytest.raises(FieldError):
        await bus.read("em")
    assert said(await bus.read("em")) == ("274123S", "12345.6")


async def test_words_that_tell_models_apart_are_compared_again_after_a_minute(
    peer: Peer, bus: MeterBus, clock: HandClock
) -> None:
    await bus.read("em24")
    peer.put(EM24, 3, APPLICATION, 1)
    await bus.read("em24")
    clock.go(61)
    with pytest.raises(WrongAnswerError, match="unit 4 holds 0001 in register 40960"):
        await bus.read("em24")


async def test_a_sunspec_device_tells_the_number_of_its_common_model(
    peer: Peer, bus: MeterBus, clock: HandClock
) -> None:
    assert said(await bus.read("sun")) == ("SN-1", "5.000")
    first = addresses(peer)
    assert said(await bus.read("sun")) == ("SN-1", "5.000")
    assert addresses(peer) == first[-1:]
    peer.put(SUN, 3, 40000, *marker(), *inverter(), *common(b"SN-2"), *integer(203, 7000, 250, 0), *END)
    clock.go(61)
    assert said(await bus.read("sun")) == ("SN-2", "7.000")


class Told:
    """The alarms that a line raises."""

    def __init__(self) -> None:
        self.alarms: list[tuple[str, str]] = []

    async def raise_alarm(self, alarm: Alarm) -> None:
        self.alarms.append((alarm.code, alarm.source))

    async def end_alarm(self, code: str, source: str, now: datetime) -> None:
        """Nothing is remembered of it."""


@pytest.mark.parametrize(
    ("serials", "alarms"),
    [
        ((OLD, OLD), [("meter_twice", "beside")]),
        ((OLD, NEW), []),
        ((bytes(14), bytes(14)), []),
    ],
)
async def test_a_device_that_answers_for_two_unit_ids_is_told_by_its_serial_number(
    peer: Peer, clock: HandClock, serials: tuple[bytes, bytes], alarms: list[tuple[str, str]]
) -> None:
    """As a meter with a socket of its own does for whatever unit id it is asked."""
    names = {"a": EM, "beside": EM + 1}
    for unit, serial in zip(names.values(), serials, strict=True):
        peer.put(unit, 3, SERIAL, *serial)
        peer.put(unit, 3, IMPORT, 1, 0)
        peer.put(unit, 3, EXPORT, 0, 0)
    meters = {name: MeterSettings(model="carlo-gavazzi-em340", address=unit) for name, unit in names.items()}
    told = Told()
    twice = Twice("line", told, Devices())
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=0.5), meters, clock)
    for name in names:
        twice.note(await bus.read(name), clock.now())
    await twice.tell(clock.now())
    await bus.close()
    assert told.alarms == alarms


async def test_the_meters_of_one_sunspec_device_are_several(peer: Peer, clock: HandClock) -> None:
    """They stand behind one common model, and have its serial number."""
    meter = integer(203, 5000, 250, 0)
    peer.put(SUN, 3, 40000, *marker(), *common(b"SN-1"), *meter, *meter, *END)
    meters = {str(each): MeterSettings(model="sunspec", address=SUN, instance=each) for each in (1, 2)}
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=0.5), meters, clock)
    first, second = [await bus.read(name) for name in meters]
    await bus.close()
    assert first.serial == second.serial == "SN-1"
    assert first.device != second.device


@pytest.mark.parametrize(("make", "same"), [(b"Maker", True), (b"Other", False), (b"\xff\xfe", False)])
async def test_sunspec_devices_of_two_makers_may_have_one_serial_number(
    peer: Peer, clock: HandClock, make: bytes, *, same: bool
) -> None:
    meter = integer(203, 5000, 250, 0)
    peer.put(SUN, 3, 40000, *marker(), *common(b"1001"), *meter, *END)
    peer.put(SUN + 1, 3, 40000, *marker(), *common(b"1001", make=make), *meter, *END)
    meters = {str(each): MeterSettings(model="sunspec", address=each) for each in (SUN, SUN + 1)}
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=0.5), meters, clock)
    first, second = [await bus.read(name) for name in meters]
    await bus.close()
    assert first.serial == second.serial == "1001"
    assert (first.device == second.device) is same


@pytest.mark.parametrize("form", ["letters", "text", "number"])
@pytest.mark.parametrize("word", [0x0000, 0xFFFF])
def test_words_that_hold_nothing_are_no_number(form: Literal["letters", "text", "number"], word: int) -> None:
    assert SerialNumber(function=3, address=0x8900, words=2, form=form).read((word, word)) == ""


@pytest.mark.parametrize("model", [name for name, each in meter_models().items() if each.serial is not None])
def test_a_serial_number_of_a_model_file_is_shown_by_a_proof(model: str) -> None:
    """A wrong place would look like another meter, or like none."""
    assert any(proof.expect.get("serial") for proof in meter_models()[model].proof)
