"""One meter that two lines reach, under an id on each: whole daemon."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from simulators.modbus import layouts_of_models
from tests.scenarios.plant import running
from tests.scenarios.test_modbus_exchange import MODEL, OLD, ON_MODBUS
from tests.scenarios.test_stored import BEGIN, DEVICES, stepped

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker

SECOND = f"""
[[line]]
id = "modbus-2"
protocol = "modbus"
[[meter]]
id = "heat-2"
line = "modbus-2"
model = "{MODEL}"
address = 1
[[meter.counters]]
register = "heat-2-heat"
key = "import"
source = "heating"
start = "10234"
profile = "home"
place = "flat"
"""


async def test_a_meter_that_answers_on_two_lines_is_told(tmp_path: Path, broker: Broker) -> None:
    devices = DEVICES
    for old, new in ON_MODBUS.items():
        devices = devices.replace(old, new)
    (tmp_path / "devices.toml").write_text(devices + SECOND, encoding="utf-8")
    async with running(tmp_path, (broker.host, broker.port), building=tmp_path) as plant:
        for meter in ("heat-1", "heat-2"):
            plant.field.units[meter].layout = layouts_of_models()[MODEL]
            plant.field.units[meter].serial = OLD
        await stepped(plant, BEGIN)
        await stepped(plant, BEGIN + timedelta(minutes=15))
        (alarm,) = await plant.events("alarm")
        assert (alarm["code"], alarm["source"], alarm["ended"]) == ("meter_twice", "heat-2", None)
        assert alarm["text"].startswith("heat-1 on the line mbus-1 and heat-2 on the line modbus-2 are answered by the")
