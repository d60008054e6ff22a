"""SunSpec meters are found by walking the models of a device. The layouts here are written out from the published
models, not taken from the driver.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from drivers.modbus import driver
from drivers.modbus.settings import BusSettings, MeterSettings
from drivers.modbus.sunspec import SunSpecMeter
from gateway.ports.field import LineDownError, NoAnswerError, WrongAnswerError
from tests.drivers.modbus.peer import Asked, Peer
from tests.steady_time import LoopClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from drivers.modbus.model import RegisterMap
    from gateway.ports.field import Answer, MeterBus

END = (0xFFFF, 0)


def words(octets: bytes) -> list[int]:
    return list(struct.unpack(f">{len(octets) // 2}H", octets))


def marker() -> list[int]:
    return words(b"SunS")


def common(serial: bytes = b"SN-0042", length: int = 66, make: bytes = b"Maker") -> list[int]:
    """Model 1: make and type 16 words each, options and version 8 each, serial number 16, address, padding."""
    texts = make.ljust(32, b"\0") + b"Type".ljust(32, b"\0") + bytes(16) + b"1.0".ljust(16, b"\0")
    return [1, length, *words(texts + serial.ljust(32, b"\0")), 1, 0][: 2 + length]


def integer(number: int, imported: int, exported: int, power: int) -> list[int]:
    """Models 201-204: 105 words; TotWhExp is the 37th of them, TotWhImp the 45th, TotWh_SF the 53rd."""
    block = [0x8000] * 105
    block[36:38] = words(struct.pack(">I", exported))
    block[44:46] = words(struct.pack(">I", imported))
    block[52] = power & 0xFFFF
    return [number, 105, *block]


def floating(number: int, imported: float, exported: float) -> list[int]:
    """Models 211-214: 124 words; TotWhExp is the 59th of them, TotWhImp the 67th."""
    block = [0x7FC0] * 124
    block[58:60] = words(struct.pack(">f", exported))
    block[66:68] = words(struct.pack(">f", imported))
    return [number, 124, *block]


def inverter() -> list[int]:
    return [103, 50, *[0] * 50]


def walked(image: list[int], *, base: int = 40000, instance: int = 1) -> RegisterMap:
    """Walk a device that holds these words from `base` on and refuses all other addresses."""
    memory = {base + at: word for at, word in enumerate(image)}
    walk = SunSpecMeter(instance=instance).walk()
    request = next(walk)
    for _ in range(500):
        places = range(request.address, request.address + request.count)
        try:
            request = walk.send(tuple(memory[at] for at in places) if all(at in memory for at in places) else None)
        except StopIteration as found:
            map_: RegisterMap = found.value
            return map_
    return pytest.fail("the walk has no end")


def indexes(map_: RegisterMap, image: list[int], base: int = 40000) -> dict[str, str]:
    spans = [span for register in map_.registers for span in register.spans]
    read = {span: tuple(image[span.address - base : span.end - base]) for span in spans}
    return {value.register: str(value.index) for value in map_.values(read)}


@pytest.mark.parametrize("base", [40000, 50000, 0])
@pytest.mark.parametrize("number", [201, 202, 203, 204])
def test_integer_meters_are_found_wherever_the_marker_stands(base: int, number: int) -> None:
    image = [*marker(), *common(), *integer(number, 12345678, 42, -1), *END]
    map_ = walked(image, base=base)
    assert indexes(map_, image, base) == {"import": "1234.568", "export": "0.004"}
    assert [(r.address - base, r.count) for r in map_.requests(with_serial=False)] == [(70 + 38, 17)]


@pytest.mark.parametrize("number", [211, 212, 213, 214])
def test_float_meters_are_found(number: int) -> None:
    image = [*marker(), *common(length=65), *floating(number, 2500.5, 0.25), *END]
    assert indexes(walked(image), image) == {"import": "2.501", "export": "0.000"}


def test_each_meter_of_a_device_has_the_serial_number_of_its_own_common_model() -> None:
    image = [
        *marker(),
        *common(b"INVERTER"),
        *inverter(),
        *common(b"METER-1"),
        *integer(203, 1000, 0, 0),
        *common(b"METER-2"),
        *floating(213, 7000.0, 0.0),
        *END,
    ]
    for instance, serial, index in [(1, "METER-1", "1.000"), (2, "METER-2", "7.000")]:
        map_ = walked(image, instance=instance)
        assert map_.serial is not None
        place = map_.serial.span.address - 40000
        assert map_.serial_in({map_.serial.span: tuple(image[place : place + 16])}) == serial
        assert indexes(map_, image)["import"] == index


@pytest.mark.parametrize(
    ("image", "instance", "text"),
    [
        ([0, 0, *common()], 1, "no SunSpec marker at 40000, 50000 or 0; correct the unit id, or switch SunSpec on"),
        ([], 1, "no SunSpec marker"),
        (
            [*marker(), *common(), *inverter(), *END],
            1,
            "has SunSpec, but no meter among its models",
        ),
        ([*marker(), *common(), *inverter()], 1, "its models end at 40122 without the end mark FFFF"),
        ([*marker(), *common(), *integer(203, 1, 1, 0), *END], 2, r"has 1 SunSpec meter.*correct instance = 2"),
        ([*marker(), *common(), *integer(203, 1, 1, 0)], 2, "end at 40177 without the end mark FFFF"),
        ([*marker(), *[64001, 0] * 200], 1, "lists more than 100 SunSpec models and no end mark"),
        ([*marker(), 103, 0xFFF0], 1, "says that its SunSpec model 103 at 40002 has 65520 words"),
        ([*marker(), 1, 12, *[0] * 12, *END], 1, "SunSpec model 1 at 40002 has 12 words"),
        ([*marker(), *common(), 203, 20, *[0] * 20, *END], 1, "SunSpec model 203 at 40070 has 20 words, it has 105"),
        ([*marker(), *common(), 213, 105, *[0] * 105, *END], 1, "SunSpec model 213 at 40070 has 105 words, it has 124"),
    ],
)
def test_a_device_without_such_a_meter_says_what_is_wrong(image: list[int], instance: int, text: str) -> None:
    with pytest.raises(WrongAnswerError, match=text):
        walked(image, instance=instance)


def test_models_that_fill_the_address_space_to_its_end_are_refused() -> None:
    image = [*marker(), 103, 65536 - 50004, *[0] * (65536 - 50004)]
    with pytest.raises(WrongAnswerError, match="up to the last address and no end mark FFFF, nothing is at 65536"):
        walked(image, base=50000)


@pytest.mark.parametrize(
    ("meter", "text"),
    [
        ({"model": "sunspec", "address": 1, "instance": 0}, "greater than or equal to 1"),
        ({"model": "eastron-sdm630", "address": 1, "instance": 1}, "instance is for the model sunspec; remove it"),
        ({"model": "sunspek", "address": 1}, "write e.g. sunspec"),
    ],
)
def test_an_instance_is_a_meter_of_a_sunspec_device(meter: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        MeterSettings.model_validate(meter)


def test_the_driver_lists_sunspec_among_its_models() -> None:
    assert driver.models()["sunspec"] == ("import", "export")
    assert driver.reads_per_day(MeterSettings(model="sunspec", address=1)) is None
    assert driver.prove("sunspec") == []


UNIT = 3
METERS = {
    "sun": MeterSettings(model="sunspec", address=UNIT, instance=2, serial="METER-2"),
    "utf": MeterSettings(model="sunspec", address=6, serial="Zähler 7"),
    "em24": MeterSettings(model="carlo-gavazzi-em24-e1", address=4),
    "sdm": MeterSettings(model="eastron-sdm630", address=5),
}


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    image = [*marker(), *common(b"ONE"), *integer(201, 1, 1, 0), *common(b"METER-2"), *integer(203, 5000, 250, 0), *END]
    peer.put(UNIT, 3, 40000, *image)
    peer.put(5, 4, 72, 0x42C8, 0x0000, 0x3E80, 0x0000)
    peer.put(4, 3, 0x34, 0xE240, 0x0001)
    peer.put(4, 3, 0x4E, 0x0046, 0x0000)
    peer.put(4, 3, 0x0B, 1648)
    peer.put(4, 3, 0xA000, 7)
    yield peer
    await peer.stop()


@pytest.fixture
async def bus(peer: Peer) -> AsyncIterator[MeterBus]:
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=0.2), METERS, LoopClock())
    yield bus
    await bus.close()


def read(answer: Answer) -> dict[str, str]:
    return {value.register: str(value.index) for value in answer.values}


async def test_a_sunspec_meter_is_looked_for_once_and_then_only_read(peer: Peer, bus: MeterBus) -> None:
    answer = await bus.read("sun")
    assert (read(answer), answer.serial) == ({"import": "5.000", "export": "0.250"}, "METER-2")
    before = len(peer.asked)
    assert before == 8  # the marker, two common models, two meters; maker, serial number and values

    await bus.read("sun")

    assert [(each.address, each.count) for each in peer.asked[before:]] == [(40227, 16), (40283, 17)]


@pytest.mark.parametrize("nothing", [math.nan, math.inf])
async def test_a_sunspec_meter_that_has_no_export_is_read_all_the_same(
    peer: Peer, bus: MeterBus, nothing: float
) -> None:
    image = [*marker(), *common(b"ONE"), *integer(201, 1, 1, 0), *common(b"METER-2")]
    peer.put(UNIT, 3, 40000, *image, *floating(213, 5000.0, nothing), *END)
    answer = await bus.read("sun")
    assert read(answer) == {"import": "5.000"}
    assert [each.register for each in answer.without] == ["export"]

    peer.put(UNIT, 3, 40000, *image, *floating(213, 5001.0, 250.0), *END)
    answer = await bus.read("sun")
    assert (read(answer), answer.without) == ({"import": "5.001", "export": "0.250"}, ())

    peer.put(UNIT, 3, 40000, *image, *floating(213, nothing, nothing), *END)
    with pytest.raises(WrongAnswerError, match="unit 3 gives no value for register import: "):
        await bus.read("sun")


async def test_a_serial_number_of_a_sunspec_device_is_text_in_utf_8(peer: Peer, bus: MeterBus) -> None:
    serial = METERS["utf"].serial or ""
    image = [*marker(), *common(serial.encode()), *integer(201, 1, 1, 0), *END]
    peer.put(6, 3, 40000, *image)
    assert (await bus.read("utf")).serial == serial == "Zähler 7"


async def test_a_sunspec_meter_is_looked_for_again_after_a_failure(peer: Peer, bus: MeterBus) -> None:
    await bus.read("sun")
    peer.script = [lambda _: b""] * 2
    with pytest.raises(NoAnswerError):
        await bus.read("sun")
    before = len(peer.asked)

    await bus.read("sun")

    assert len(peer.asked) - before == 8


async def test_a_meter_is_told_from_others_of_its_name_before_it_is_read(peer: Peer, bus: MeterBus) -> None:
    peer.put(4, 3, 0x0B, 71)
    with pytest.raises(WrongAnswerError, match=r"unit 4 holds 0047 in register 11 \(identification code\)"):
        await bus.read("em24")
    assert {each.address for each in peer.asked} <= {0x0B, 0xA000}


async def test_a_meter_without_the_words_of_the_model_is_no_such_meter(peer: Peer, bus: MeterBus) -> None:
    del peer.words[4, 3, 0x0B]
    with pytest.raises(WrongAnswerError, match=r"unit 4 refuses: exception 2 .* at register 11, which tells its model"):
        await bus.read("em24")


async def test_what_a_meter_refused_in_one_request_is_remembered_over_a_lost_connection(
    peer: Peer, bus: MeterBus
) -> None:
    peer.script = [lambda asked: asked.frame(b"\x84\x02")]
    await bus.read("sdm")
    peer.script = [close]
    with pytest.raises(LineDownError):
        await bus.read("sdm")
    before = len(peer.asked)

    await bus.read("sdm")

    assert [(each.address, each.count) for each in peer.asked[before:]] == [(72, 2), (74, 2)]


async def test_what_a_sunspec_device_refused_is_remembered_when_it_is_found_where_it_was(
    peer: Peer, bus: MeterBus
) -> None:
    peer.script = [*[lambda asked: asked.answer] * 7, lambda asked: asked.frame(b"\x83\x02")]
    await bus.read("sun")
    values = [(each.address, each.count) for each in peer.asked[8:]]
    assert len(values) == 2
    peer.script = [close]
    with pytest.raises(LineDownError):
        await bus.read("sun")

    await bus.read("sun")

    assert [(each.address, each.count) for each in peer.asked[-2:]] == values


async def test_it_is_told_apart_once_and_again_after_each_failure(peer: Peer, bus: MeterBus) -> None:
    await bus.read("em24")
    await bus.read("em24")
    assert [each.address for each in peer.asked] == [0x0B, 0xA000, 0x5000, 0x34, 0x4E, 0x34, 0x4E]

    peer.put(4, 3, 0xA000, 1)  # exchanged, or set to another application, while it could not be reached
    peer.script = [close]
    with pytest.raises(LineDownError):
        await bus.read("em24")
    with pytest.raises(WrongAnswerError, match="holds 0001 in register 40960"):
        await bus.read("em24")


def close(asked: Asked) -> None:
    """Not answered: the connection ends."""
