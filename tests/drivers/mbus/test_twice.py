"""One meter stands under one id: what its settings, and what its answers, say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from drivers.mbus.driver import MBusDriver, driver
from drivers.mbus.settings import BusSettings, MeterSettings
from gateway.settings import Settings, load
from simulators.mbus import Slave, captured_telegrams
from simulators.pty import MBusWire
from tests.drivers.mbus.test_secondary import NoClock

if TYPE_CHECKING:
    from pathlib import Path

HEAT, POWER = 'model = "itron-cf-55"', 'model = "emu-professional-375"'
HEAD = """site = "s"
gateway = "g"
store = "sqlite:///gateway.db"
[[bus]]
id = "m"
driver = "mbus"
poll = "15min"
device = "/dev/null"
"""


class Installed:
    @staticmethod
    def find(name: str) -> MBusDriver:
        assert name == "mbus"
        return driver

    @staticmethod
    def find_reader(name: str) -> Any:  # noqa: ANN401 - there is none
        raise LookupError(name)

    find_machine = find_reader


def mistakes(folder: Path, *meters: str) -> list[str]:
    path = folder / "gateway.toml"
    tables = (f'[[bus.meter]]\nid = "m{at}"\n{keys}\n' for at, keys in enumerate(meters))
    path.write_text(HEAD + "".join(tables), encoding="utf-8")
    loaded = load(path, Installed())
    return [] if isinstance(loaded, Settings) else [str(each).removeprefix(f"{folder}/") for each in loaded]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ('secondary = "11127667"', 'secondary = "11127667"', "secondary: {} this selects it too; give each the 16"),
        ('secondary = "1112766777040A0C"', 'secondary = "1112766777040a0c"', "secondary: {} this selects it too"),
        ('secondary = "1112766777040A0C"', 'secondary = "11127667"', "secondary: {} this selects it too"),
        ('secondary = "11127667"', 'secondary = "1112766777040A0C"', "secondary: {} this selects it too"),
        ('secondary = "11127667FFFF0A0C"', 'secondary = "1112766777040AFF"', "secondary: {} this selects it too"),
        ('secondary = "11127667"\nfabrication = "5"', 'secondary = "11127667"', "secondary: {} this selects it too"),
        ("address = 1", "address = 1", "address: {} it has address 1 too; give each its own"),
        ('fabrication = "17"', 'fabrication = "00017"', "fabrication: {} it has the same fabrication number; give"),
        ('address = 1\nserial = "17"', 'address = 2\nserial = "0017"', "serial: {} it has the number 00000017 too"),
        ('address = 1\nserial = "11127667"', 'secondary = "11127667"', "secondary: {} it has the number 11127667"),
        ('fabrication = "5"\nserial = "17"', 'address = 2\nserial = "17"', "serial: {} it has the number 00000017"),
    ],
)
def test_one_meter_under_two_ids_is_refused_with_its_line(tmp_path: Path, one: str, other: str, expected: str) -> None:
    key, _, why = expected.partition(" {}")
    found = mistakes(tmp_path, f"{HEAT}\n{one}", f"{HEAT}\n{other}")
    assert len(found) == 1, found
    assert f"bus[0].meter[1].{key} this may be the meter in line 9 once more:{why}" in found[0]
    where = (HEAD + f"[[bus.meter]]\nid\n{HEAT}\n{one}\n[[bus.meter]]\nid\n{HEAT}\n{other}").splitlines()
    line = int(found[0].split(":")[1])
    assert where[line - 1].startswith(key.rstrip(":"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f'{HEAT}\nsecondary = "11127667"', f'{HEAT}\nsecondary = "11127668"'),
        (f'{HEAT}\nsecondary = "1112766777040A0C"', f'{HEAT}\nsecondary = "1112766777040A0D"'),
        (f'{HEAT}\nsecondary = "11127667"\nfabrication = "1"', f'{HEAT}\nsecondary = "11127667"\nfabrication = "2"'),
        (f'{HEAT}\nfabrication = "1"', f'{HEAT}\nsecondary = "11127667"'),
        (f'{HEAT}\naddress = 1\nserial = "17"', f'{POWER}\naddress = 2\nserial = "17"'),
        (f"{HEAT}\naddress = 1", f"{HEAT}\naddress = 2"),
    ],
)
def test_what_may_well_be_two_meters_is_taken(tmp_path: Path, one: str, other: str) -> None:
    assert mistakes(tmp_path, one, other) == []


def test_a_serial_number_that_is_not_the_one_in_the_secondary_address_is_refused(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, f'{HEAT}\nsecondary = "11127667"\nserial = "11127668"')
    assert found == (
        "gateway.toml:13: bus[0].meter[0].serial: 11127668 is not the number in secondary (11127667); correct one, or"
        " leave serial out"
    )
    assert MeterSettings(model="itron-cf-55", secondary="00000017", serial="17").serial == "17"


@pytest.mark.parametrize("text", ["1112766F", "ffffffff", "1112FFFF77040A0C"])
def test_digits_that_fit_many_meters_are_for_a_search_and_not_for_the_settings(text: str) -> None:
    with pytest.raises(ValidationError, match="has digits F, which fit many meters; write all 8 digits of the number"):
        MeterSettings(model="itron-cf-55", secondary=text)


async def test_an_answer_tells_one_device_from_another_however_it_is_asked(tmp_path: Path) -> None:
    heat = captured_telegrams()["itron-cf-55"]
    slaves = [Slave(address=1, captured=heat, serial="11127667"), Slave(address=2, captured=heat, serial="11127668")]
    wire = MBusWire(tmp_path / "ttyUSB0", slaves, baud=38400)
    wire.plug()
    meters = {
        "first": MeterSettings(model="itron-cf-55", address=1),
        "again": MeterSettings(model="itron-cf-55", secondary="11127667"),
        "other": MeterSettings(model="itron-cf-55", address=2),
    }
    bus = driver.open(BusSettings(device=str(wire.link), baud=38400), meters, NoClock())
    try:
        heard = {meter: (await bus.read(meter)).device for meter in meters}
    finally:
        await bus.close()
        wire.unplug()
    assert heard["first"] == heard["again"] == "ACW 11127667, version 11, medium 12, fabrication number 11127667"
    assert heard["other"] == "ACW 11127668, version 11, medium 12, fabrication number 11127668"
