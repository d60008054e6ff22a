"""An access point in the settings is a reader and a machine; every mistake there is one sentence."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.settings import Settings
from tests.adapters.test_settings import GOOD, ReaderKeys, RelayKeys, load_text

if TYPE_CHECKING:
    from pathlib import Path


LAUNDRY = """\
[[reader]]
id = "reader-1"
driver = "plain"
device = "/dev/ttyUSB0"
access_point = "washer-1"
[[machine]]
id = "washer-1"
driver = "relay"
access_point = "washer-1"
bus = "mbus-1"
meter = "heat-01"
register = "import"
point = "laundry"
quiet = "4min"
coil = 3
"""


def test_an_access_point_is_a_reader_and_a_machine(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, GOOD + LAUNDRY)
    assert isinstance(loaded, Settings), loaded
    (reader,), (machine,) = loaded.readers, loaded.machines
    assert (reader.access_point, reader.wiring) == ("washer-1", ReaderKeys(device="/dev/ttyUSB0"))
    assert (machine.bus, machine.meter, machine.register, machine.point) == ("mbus-1", "heat-01", "import", "laundry")
    assert (machine.window, machine.quiet) == (timedelta(minutes=5), timedelta(minutes=4))
    assert machine.wiring == RelayKeys(coil=3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('driver = "plain"', 'driver = "nfc"', "reader[0].driver: no driver 'nfc' is installed; installed are: plain"),
        ('device = "/dev/ttyUSB0"', "", 'reader[0].device: is missing; write e.g. "/dev/ttyUSB0"'),
        ('driver = "relay"', 'driver = "other-relay"', "machine[0].bus: mbus-1 is no line of the driver other"),
        ('bus = "mbus-1"', 'bus = "mbus-9"', 'machine[0].bus: no [[bus]] has id = "mbus-9"'),
        ('meter = "heat-01"', 'meter = "heat-09"', 'machine[0].meter: no [[bus.meter]] has id = "heat-09"'),
        (
            'register = "import"',
            'register = "heat"',
            "machine[0].register: heat-01 has no register 'heat'; it",
        ),
        ('quiet = "4min"', 'quiet = "4"', 'machine[0].quiet: "4" is no time from 1s to 24h'),
        ("coil = 3", "cool = 3", "machine[0].cool: this key is not known; did you mean coil?"),
    ],
)
def test_a_mistake_at_an_access_point_is_one_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    found = load_text(tmp_path, GOOD + LAUNDRY.replace(old, new))
    assert isinstance(found, list)
    assert len(found) == 1, found
    assert said in found[0]


def test_a_reader_without_a_machine_and_twice_one_access_point_are_told(tmp_path: Path) -> None:
    alone = load_text(tmp_path, GOOD + LAUNDRY[: LAUNDRY.index("[[machine]]")])
    assert isinstance(alone, list)
    assert alone[0].endswith('no [[machine]] has access_point = "washer-1"; add it, or correct this')
    twice = load_text(tmp_path, GOOD + LAUNDRY + LAUNDRY)
    assert isinstance(twice, list)
    said = "\n".join(twice)
    assert "reader[1].access_point: washer-1 is already used" in said
    assert "machine[1]: two machines have the same relay" in said
