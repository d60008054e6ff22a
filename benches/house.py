"""A house of 60 flats with a meter each on one M-Bus line, and a laundry with a badge reader where it is wanted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.washing import WASHING, badge

if TYPE_CHECKING:
    from pathlib import Path

METERS = 60
"""without the washing machine's"""
HEAT_METERS = 40
BADGES = tuple(f"04A1B2C3D4E5{number:02X}" for number in range(4))
MACHINE = "washer"
MONTH = "2026-10"
START, UNTIL = datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC)
"""the month in Zurich"""

_TRUTH = """\
name = "Sixty"
time_zone = "Europe/Zurich"
month = 2026-10-01
seed = 60
quantum = "0.001"
currency = "CHF"
owner = "ag"
building = {}
price = []
[[line]]
id = "mbus-1"
protocol = "mbus"
[[profile]]
id = "heating"
weekday = [500, 600, 1900, 1200, 900, 1000, 1500, 1100]
weekend = [500, 500, 1400, 1700, 1300, 1200, 1600, 1200]
spread = 25
[[profile]]
id = "cold_water"
weekday = [1, 0, 28, 10, 14, 9, 24, 12]
weekend = [2, 0, 14, 26, 18, 12, 22, 14]
spread = 60
"""
_TOLD = """\
facility = [{ id = "house", name = "Sixty", time_zone = "Europe/Zurich", currency = "CHF" }]
building = [{ id = "a", facility = "house", name = "A" }]
owner = [{ id = "o", user = "ag", facility = "house" }]
[[user]]
id = "ag"
kind = "legal"
company = "AG"
registration = "1"
address = "Bahnhofplatz 1"
"""
_LAUNDRY_TRUTH = """\
[[line]]
id = "modbus-1"
protocol = "modbus"
[[profile]]
id = "nothing"
weekday = [0, 0, 0, 0, 0, 0, 0, 0]
weekend = [0, 0, 0, 0, 0, 0, 0, 0]
spread = 0
[[place]]
id = "laundry"
[[meter]]
id = "power"
line = "modbus-1"
model = "eastron-sdm630"
address = 1
[[meter.counters]]
register = "power-import"
key = "import"
source = "electricity"
start = "812.40"
profile = "nothing"
place = "laundry"
[[machine]]
id = "washer"
access_point = "washer"
line = "modbus-1"
relay = 2
meter = "power"
"""
_SOURCES = {
    "heating": ("heat", "heat", "sensus-pollustat", "kWh", "energy"),
    "cold_water": ("water", "volume", "itron-bm-plus-m", "m3", "volume"),
}
"""energy source -> prefix of the meters, key, model, unit, component"""


def write(folder: Path, *, laundry: bool = False) -> Path:
    """Write devices.toml and property.toml, the truth and what the gateway is told; the folder."""
    folder.mkdir(exist_ok=True)
    numbers = range(METERS)
    truth = [_TRUTH, *map(_place, numbers), *map(_device, numbers)]
    told = [_TOLD, *map(_rate, _SOURCES), *map(_flat, numbers), *map(_meter, numbers)]
    if laundry:
        truth.append(_LAUNDRY_TRUTH)
        told += [WASHING, *map(_badge, range(len(BADGES)))]
    (folder / "devices.toml").write_text("".join(truth), encoding="utf-8")
    (folder / "property.toml").write_text("".join(told), encoding="utf-8")
    return folder


def _source(number: int) -> str:
    return "heating" if number < HEAT_METERS else "cold_water"


def _place(number: int) -> str:
    return f'[[place]]\nid = "flat-{number}"\n'


def _device(number: int) -> str:
    source = _source(number)
    prefix, key, model, *_ = _SOURCES[source]
    return f"""\
[[meter]]
id = "{prefix}-{number}"
line = "mbus-1"
model = "{model}"
address = {number + 1}
serial = "{_serial(number)}"
[[meter.counters]]
register = "{prefix}-{number}-{key}"
key = "{key}"
source = "{source}"
start = "{1000 + number}"
profile = "{source}"
place = "flat-{number}"
"""


def _serial(number: int) -> str:
    return str(10_000_000 + number)


def _flat(number: int) -> str:
    return f"""\
[[point]]
id = "flat-{number}"
building = "a"
name = "Flat {number}"
kind = "apartment"
[[user]]
id = "user-{number}"
kind = "natural"
first_name = "Anna"
last_name = "Number {number}"
address = "Sonnenweg {number}"
[[occupancy]]
id = "stay-{number}"
point = "flat-{number}"
user = "user-{number}"
entry = 2020-01-01
"""


def _meter(number: int) -> str:
    source = _source(number)
    prefix, key, _, unit, _ = _SOURCES[source]
    register = f"{prefix}-{number}-{key}"
    return f"""\
[[meter]]
id = "{prefix}-{number}"
facility = "house"
name = "Meter {number}"
serial = "{_serial(number)}"
[[register]]
id = "{register}"
meter = "{prefix}-{number}"
key = "{key}"
energy_source = "{source}"
unit = "{unit}"
resolution = "0.001"
max_per_day = "500"
[[link]]
id = "link-{number}"
register = "{register}"
point = "flat-{number}"
"""


def _rate(source: str) -> str:
    prefix, _, _, unit, component = _SOURCES[source]
    return f"""\
[[rate]]
id = "{prefix}"
facility = "house"
energy_source = "{source}"
title = "{source}"
component = "{component}"
unit = "{unit}"
prices = [{{ price = "0.1180" }}]
tax = {{ category = "S", rate = "8.1", included = true }}
"""


def _badge(number: int) -> str:
    return badge(f"badge-{number}", f"user-{number}", f"flat-{number}", BADGES[number])
