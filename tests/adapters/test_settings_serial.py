"""Serial devices in the settings file, with the drivers that are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway import drivers
from gateway.settings import Settings, load

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'site = "s"\ngateway = "g"\nstore = "sqlite:///gateway.db"\n'
BUS = """\
[[bus]]
id = "{id}"
driver = "{driver}"
{keys}
poll = "15min"
[[bus.meter]]
id = "{id}-meter"
model = "{model}"
address = 1
"""
MODELS = {"mbus": "itron-cf-55", "modbus": "eastron-sdm630"}


def bus(name: str, driver: str, keys: str) -> str:
    return BUS.format(id=name, driver=driver, keys=keys, model=MODELS[driver])


def problems(folder: Path, *buses: str) -> list[str]:
    file = folder / "gateway.toml"
    file.write_text(HEAD + "".join(buses), encoding="utf-8")
    loaded = load(file, drivers)
    return [] if isinstance(loaded, Settings) else [f"{each.line}: {each.text}" for each in loaded]


def test_lines_of_both_protocols_may_be_serial(tmp_path: Path) -> None:
    mbus = bus("a", "mbus", 'device = "/dev/ttyUSB0"\nbaud = 2400')
    modbus = bus("b", "modbus", 'device = "/dev/ttyUSB1"\nbaud = 19200\nparity = "even"\nstopbits = 1')
    assert problems(tmp_path, mbus, modbus) == []


def test_a_device_is_one_line_whatever_else_is_said_of_it(tmp_path: Path) -> None:
    first = bus("a", "mbus", 'device = "/dev/ttyUSB0"')
    for second in (
        bus("b", "mbus", 'device = "/dev/ttyUSB0"\nbaud = 300'),
        bus("b", "modbus", 'device = "/dev/ttyUSB0"'),
    ):
        assert problems(tmp_path, first, second) == [
            "13: this is the same line as in line 4; list all its meters there"
        ]


def test_a_port_is_one_line_whatever_else_is_said_of_it(tmp_path: Path) -> None:
    first = bus("a", "modbus", 'host = "10.0.0.1"')
    for second in (
        bus("b", "modbus", 'host = "10.0.0.1"\nport = 502\ntimeout = 2.0'),
        bus("b", "modbus", 'host = "10.0.0.1"\nport = 502\nframing = "rtu"'),
        bus("b", "mbus", 'host = "10.0.0.1"\nport = 502'),
    ):
        assert problems(tmp_path, first, second) == [
            "13: this is the same line as in line 4; list all its meters there"
        ]
    assert problems(tmp_path, first, bus("b", "modbus", 'host = "10.0.0.1"\nport = 503')) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("converter.house", "Converter.House."),
        ("localhost", "127.0.0.1"),
        ("::1", "LOCALHOST"),
        ("::1", "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("driver", ["mbus", "modbus"])
def test_a_host_is_one_however_it_is_written(tmp_path: Path, one: str, other: str, driver: str) -> None:
    first = bus("a", driver, f'host = "{one}"\nport = 4196')
    assert problems(tmp_path, first, bus("b", driver, f'host = "{other}"\nport = 4196')) == [
        "14: this is the same line as in line 4; list all its meters there"
    ]
    assert problems(tmp_path, first, bus("b", driver, f'host = "{other}"\nport = 4197')) == []
    assert problems(tmp_path, first, bus("b", driver, 'host = "10.0.0.9"\nport = 4196')) == []


def test_a_line_that_is_both_or_neither_is_one_sentence(tmp_path: Path) -> None:
    text = "4: name either host and port, or the device of a serial line such as /dev/ttyUSB0, and not both"
    for keys in ('host = "10.0.0.1"\nport = 1\ndevice = "/dev/ttyUSB0"', "baud = 2400"):
        assert problems(tmp_path, bus("a", "mbus", keys)) == [text]
