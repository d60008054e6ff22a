"""A Modbus meter that gives no value for the register that is billed, and one for the other: whole daemon."""

from __future__ import annotations

import json
from datetime import timedelta

from tests.scenarios.plant import POLL, Plant, submeter
from tests.scenarios.test_modbus_exchange import OLD, billed, plant, polled, shown_kwh, wire
from tests.scenarios.test_stored import BEGIN, CLOSED, MONTH_END, ok, stepped

__all__ = ["plant"]
ALARM = ("meter_incomplete", "heat-1")
LOST, BACK = BEGIN + timedelta(hours=1), BEGIN + timedelta(hours=2)


async def found(plant: Plant) -> list[str]:
    _, out, _ = await submeter("--config", plant.config, "--json", "doctor")
    return [each["text"] for each in json.loads(out)["findings"] if each["subject"] == ALARM[1]]


async def test_the_other_register_is_kept_the_gap_told_and_the_month_billed_in_full(plant: Plant) -> None:
    wire(plant, OLD)
    await stepped(plant, BEGIN)
    await ok(plant, "import", str(plant.folder / "property.toml"))
    await polled(plant, BEGIN, LOST)

    plant.field.units["heat-1"].missing = {"import"}
    await polled(plant, LOST, BACK)
    assert (await plant.alarms())[ALARM]
    (told,) = [each["text"] for each in await plant.events("alarm") if each["code"] == ALARM[0]]
    assert "gives no value for import (not available (0x7fffffff)), so nothing of that is billed" in told
    assert await found(plant) == [told]
    keys = [[one["register"] for one in each["registers"]] for each in await plant.events("reading")]
    both, one = 1 + (LOST - BEGIN) // POLL, (BACK - LOST) // POLL
    assert keys == [["import", "export"]] * both + [["export"]] * one

    plant.field.units["heat-1"].missing = set()
    await polled(plant, BACK, CLOSED + POLL)
    assert not (await plant.alarms())[ALARM]
    assert ("meter_wrong", "heat-1") not in await plant.alarms()
    assert await found(plant) == []
    assert await billed(plant) == shown_kwh(plant, MONTH_END) - shown_kwh(plant, BEGIN)
