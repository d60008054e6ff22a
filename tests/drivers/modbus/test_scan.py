"""The search of a Modbus line, against simulated meters."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from drivers.modbus import driver
from drivers.modbus.passes import UNITS
from drivers.modbus.settings import BusSettings
from gateway.ports.field import Device, Scanner, ScanOrder, ScanProgress, ScanRefusedError, ScanTrouble
from simulators.modbus import Layout, Line, RtuLine, Unit, layouts_of_models, refusal, sunspec
from simulators.modbus.device import Device as Answerer
from simulators.pty import RtuWire

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.ports.field import Scanned

LAYOUTS = layouts_of_models()
UNREACHED = 11
COUNTS = {"import": 771234, "export": 3019}


class Gateway(Answerer):
    """What a gateway says for a unit that is not there."""

    def answer(self, request: bytes) -> bytes:
        return refusal(request[0], UNREACHED)


def unit(address: int, model: str, counts: dict[str, int] | None = None) -> Unit:
    return Unit(address=address, layout=LAYOUTS[model], counts=COUNTS if counts is None else counts)


def behind_gateway(*meters: Unit) -> list[Answerer]:
    units = {address: Gateway(address=address) for address in (*range(1, 248), 255)}
    return list({**units, **{each.address: each for each in meters}}.values())


async def found_on(units: Iterable[Answerer], order: ScanOrder | None = None) -> list[Scanned]:
    line = Line(units)
    bus = BusSettings(host="127.0.0.1", port=await line.start(), timeout=0.5)
    found = [each async for each in driver.scan(bus, order or ScanOrder())]
    await line.close()
    return found


def devices(found: Iterable[Scanned]) -> list[Device]:
    return [each for each in found if isinstance(each, Device)]


async def test_every_unit_behind_a_gateway_is_found_and_the_end_is_all_of_the_way() -> None:
    found = await found_on(behind_gateway(unit(1, "abb-b23"), unit(30, "carlo-gavazzi-em340"), unit(247, "abb-a43")))

    assert [each.facts["unit"] for each in devices(found)] == [1, 30, 247]
    last = found[-1]
    assert isinstance(last, ScanProgress)
    assert (last.percent, last.place) == (100, "unit 255")
    early = [each for each in found if isinstance(each, ScanProgress)][10]
    assert early.seconds_left is not None
    assert early.seconds_left < 60, "not 238 times the time-out: this gateway says at once that nobody is there"


@pytest.mark.parametrize("model", ["abb-b23", "carlo-gavazzi-em24-e1"])
async def test_fixed_words_of_the_maker_make_it_certain(model: str) -> None:
    [device] = devices(await found_on(behind_gateway(unit(5, model))))

    assert (device.wiring, device.facts["sure"]) == ({"address": 5, "model": model}, "certain")
    assert " is " in str(device.facts["why"])


async def test_a_fingerprint_is_likely_and_says_which_models_read_the_same() -> None:
    [device] = devices(await found_on(behind_gateway(unit(5, "eastron-sdm630"))))

    assert device.facts["sure"] == "likely"
    assert "import 7712.34 kWh, export 30.19 kWh; none fell or leapt" in str(device.facts["why"])
    assert "eastron-sdm630" in f"{device.facts['model']}, {device.facts['alike']}".split(", ")


async def test_a_serial_number_is_read_where_the_model_has_one() -> None:
    meter = unit(5, "carlo-gavazzi-em340")
    meter.serial = "274123S"

    [device] = devices(await found_on(behind_gateway(meter)))

    assert device.facts["serial"] == "274123S"


async def test_a_meter_that_shows_nothing_yet_is_not_named() -> None:
    [device] = devices(await found_on(behind_gateway(unit(5, "eastron-sdm630", {}))))

    assert (device.wiring, device.facts["sure"]) == ({"address": 5}, "possible")
    assert "says too little to tell" in str(device.facts["why"])


async def test_a_device_that_is_no_meter_is_told_all_the_same() -> None:
    relay = Unit(address=5, layout=Layout(counters={}))

    [device] = devices(await found_on(behind_gateway(relay)))

    assert (device.wiring, device.facts["why"]) == ({"address": 5}, "no model fits what it says")


async def test_a_counter_that_falls_between_two_reads_fits_no_model() -> None:
    class Falling(Unit):
        def answer(self, request: bytes) -> bytes:
            self.advance(-1)
            return super().answer(request)

    meter = Falling(address=5, layout=LAYOUTS["eastron-sdm630"], counts=dict(COUNTS))

    [device] = devices(await found_on(behind_gateway(meter)))

    assert (device.wiring, device.facts["model"]) == ({"address": 5}, None)


async def test_words_in_another_order_are_no_value() -> None:
    """12.34 kWh with the low word first is 80 million kWh, or nearly nothing as a float, with the high one first."""
    [integer] = devices(await found_on(behind_gateway(unit(5, "carlo-gavazzi-em340", {"import": 1234}))))

    assert integer.facts["model"] in {None, "carlo-gavazzi-em340"}
    assert "eastron" not in str(integer.facts["why"])


async def test_a_device_that_describes_itself_is_certain() -> None:
    meter = Unit(address=5, layout=sunspec(203), counts={"import": 1000})

    [device] = devices(await found_on(behind_gateway(meter)))

    assert device.wiring == {"address": 5, "model": "sunspec"}
    assert (device.facts["sure"], device.facts["serial"]) == ("certain", "0000001")


async def test_a_meter_that_answers_for_every_unit_id_is_one_meter() -> None:
    found = await found_on([unit(address, "abb-b23") for address in (*range(1, 248), 255)])

    assert [each.facts["unit"] for each in devices(found)] == [1]
    text = "one device answers for every unit id: it is asked as unit 1 only"
    assert ScanTrouble(place="the line", text=text) in found


@pytest.mark.parametrize("shown", [0, 1, 255])
async def test_a_meter_that_ignores_the_unit_and_answers_as_its_own_is_one_meter(shown: int) -> None:
    meter = unit(shown, "abb-b23")
    line = Line([])
    line.units = dict.fromkeys(range(256), meter)
    bus = BusSettings(host="127.0.0.1", port=await line.start(), timeout=0.5)
    found = [each async for each in driver.scan(bus, ScanOrder())]
    await line.close()

    assert [each.facts["unit"] for each in devices(found)] == [shown]
    troubles = [each.text for each in found if isinstance(each, ScanTrouble)]
    assert troubles == ["one device answers for every unit id, as another one: it is asked as unit 0, 1 and 255 only"]


async def rtu_over_tcp(units: Iterable[Answerer]) -> list[Scanned]:
    line = RtuLine(units)
    bus = BusSettings(host="127.0.0.1", port=await line.start(), framing="rtu", baud=115200, timeout=0.5)
    found = [each async for each in driver.scan(bus, ScanOrder())]
    await line.close()
    return found


async def test_units_behind_a_converter_for_rtu_frames_are_found() -> None:
    absent = [Gateway(address=address) for address in UNITS if address not in (1, 30)]

    found = await rtu_over_tcp([*absent, unit(1, "abb-b23"), unit(30, "carlo-gavazzi-em340")])

    assert [each.facts["unit"] for each in devices(found)] == [1, 30]
    assert {each.speed for each in devices(found)} == {115200}
    assert devices(found)[0].line == {"baud": 115200}
    assert not [each for each in found if isinstance(each, ScanTrouble)]


async def test_a_meter_behind_a_converter_that_answers_for_every_unit_id_is_one_meter() -> None:
    found = await rtu_over_tcp([unit(address, "abb-b23") for address in UNITS])

    assert [each.facts["unit"] for each in devices(found)] == [1]
    [trouble] = [each for each in found if isinstance(each, ScanTrouble)]
    assert trouble.text == "one device answers for every unit id: it is asked as unit 1 only"


async def test_a_search_goes_on_behind_the_unit_that_it_had_reached() -> None:
    meters = (unit(3, "abb-b23"), unit(9, "abb-b23"))
    line = Line(behind_gateway(*meters))
    bus = BusSettings(host="127.0.0.1", port=await line.start())
    rest = ""
    async with aclosing(driver.scan(bus, ScanOrder())) as found:
        async for each in found:
            if isinstance(each, ScanProgress):
                rest = each.rest
                if each.place == "unit 5":
                    break
    asked = meters[0].asked

    went_on = [each async for each in driver.scan(bus, ScanOrder(rest=rest))]
    await line.close()

    assert [each.facts["unit"] for each in devices(went_on)] == [9]
    assert meters[0].asked == asked


async def test_a_meter_is_found_at_its_speed_and_not_again_at_another_parity(tmp_path: Path) -> None:
    meter = unit(1, "abb-b23")
    meter.baud = 19200
    wire = RtuWire(tmp_path / "tty", [meter], baud=9600)
    wire.plug()
    bus = BusSettings(device=str(wire.link), timeout=0.1)
    async with aclosing(driver.scan(bus, ScanOrder(speeds=(19200,), parities=("even", "none")))) as found:
        device, progress = await anext(found), await anext(found)
    assert isinstance(progress, ScanProgress)
    asked = meter.asked
    at_the_last = progress.rest.replace('"unit": 2', '"unit": 247')
    async with aclosing(driver.scan(bus, ScanOrder(rest=at_the_last))) as found:
        last, first = await anext(found), await anext(found)
    wire.unplug()

    assert isinstance(device, Device)
    assert (device.speed, device.facts["parity"], device.facts["model"]) == (19200, "even", "abb-b23")
    assert isinstance(last, ScanProgress)
    assert isinstance(first, ScanProgress)
    assert (last.place, first.place) == ("unit 247 at 19200 baud, parity even", "unit 2 at 19200 baud, parity none")
    assert meter.asked == asked


async def test_two_meters_with_one_unit_id_are_told() -> None:
    meter = unit(1, "abb-b23")
    meter.fault = "noise_within"
    line = RtuLine([meter])
    bus = BusSettings(host="127.0.0.1", port=await line.start(), framing="rtu", timeout=0.1)
    async with aclosing(driver.scan(bus, ScanOrder())) as found:
        first = await anext(found)
    await line.close()

    assert isinstance(first, ScanTrouble)
    assert first.place.startswith("unit 1")
    assert "several devices have this unit id" in first.text


async def test_a_line_that_is_not_there_ends_the_search_at_once() -> None:
    with pytest.raises(Exception, match="no connection"):
        await anext(driver.scan(BusSettings(host="127.0.0.1", port=1), ScanOrder()))


@pytest.mark.parametrize(
    ("bus", "order", "text"),
    [
        (BusSettings(device="/dev/null"), ScanOrder(way="magic"), '"magic" is no way to search a Modbus line'),
        (BusSettings(device="/dev/null"), ScanOrder(speeds=(7,)), "7 is no usual baud rate of Modbus"),
        (BusSettings(device="/dev/null"), ScanOrder(parities=("mark",)), "'none', 'even' or 'odd'"),
        (BusSettings(host="here"), ScanOrder(speeds=(9600,)), "behind here are its own"),
        (BusSettings(device="/dev/null"), ScanOrder(rest="{}"), "search from the beginning"),
    ],
)
async def test_what_cannot_be_searched_is_refused(bus: BusSettings, order: ScanOrder, text: str) -> None:
    with pytest.raises(ScanRefusedError, match=text):
        await anext(driver.scan(bus, order))


def test_the_driver_is_a_scanner() -> None:
    assert isinstance(driver, Scanner)
