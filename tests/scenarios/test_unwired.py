"""A meter renamed in the settings is told at the next start, and not when the month is closed: whole daemon."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.adapters.test_metrics import asked, numbers
from tests.broker import free_port
from tests.scenarios.plant import Plant, running, submeter
from tests.scenarios.test_stored import BEGIN, DEVICES, PROPERTY, ok, stepped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.broker import Broker

HOUR = timedelta(hours=1)
ALARM = ("meter_unwired", "heat-1")


@pytest.fixture
async def plant(tmp_path: Path, broker: Broker) -> AsyncIterator[Plant]:
    (tmp_path / "devices.toml").write_text(DEVICES, encoding="utf-8")
    (tmp_path / "property.toml").write_text(PROPERTY, encoding="utf-8")
    async with running(tmp_path, (broker.host, broker.port), building=tmp_path) as one:
        await stepped(one, BEGIN)
        yield one


async def started_with(plant: Plant, *words: tuple[str, str]) -> None:
    """Another daemon, with other words in its settings: (before, after)."""
    await plant.end()
    config = Path(plant.config)
    text = config.read_text(encoding="utf-8")
    for before, after in words:
        assert before in text
        text = text.replace(before, after)
    config.write_text(text, encoding="utf-8")
    await plant.start_again()


async def numbers_of(plant: Plant, port: int) -> dict[str, float]:
    """What `/metrics` says, once it can be asked."""
    assert plant.daemon.stderr is not None
    await plant.daemon.stderr.readuntil(b"/metrics\n")
    return numbers((await asked(port))[1])


async def found(plant: Plant) -> list[tuple[str, str, bool, str]]:
    """What the doctor says of meters and of the property data."""
    _, out, _ = await submeter("--config", plant.config, "--json", "doctor")
    findings = json.loads(out)["findings"]
    return [
        (each["check"], each["subject"], each["ok"], each["text"])
        for each in findings
        if each["check"] in {"meter", "property"}
    ]


async def test_a_meter_renamed_in_the_settings_is_told_at_once_and_ends_when_it_has_its_id_again(plant: Plant) -> None:
    port = free_port()
    await ok(plant, "import", str(plant.folder / "property.toml"))
    await ok(plant, "meter", "set", "heat-1", "--name", "Cellar")
    await stepped(plant, BEGIN + HOUR)
    assert ALARM not in await plant.alarms(), "a meter that has another name has the same id"
    assert await found(plant) == []

    numbered = ("[mqtt]", f"[metrics]\nport = {port}\n[mqtt]")
    await started_with(plant, numbered, ('id = "heat-1"', 'id = "heat-01"'))
    await stepped(plant, BEGIN + 2 * HOUR)
    assert (await plant.alarms())[ALARM]
    assert {meter for meter, _ in await plant.polls()} == {"heat-1", "heat-01"}, "what is read is kept"
    told, unbilled = await found(plant)
    assert told[:3] == ("meter", "heat-1", False)
    assert "is on no line of the settings" in told[3]
    text = "the property data have no register of heat-01: what is read there is kept, and nobody is billed for it"
    assert unbilled == ("property", "", True, text)
    _, out, _ = await submeter("--config", plant.config, "meter", "show", "heat-1")
    assert "alarm meter_unwired of heat-1: meter heat-1 of the property data is on no line" in out
    shown = await numbers_of(plant, port)
    assert shown["submeter_alarms_open,code=meter_unwired,severity=error"] == 1
    assert shown["submeter_meters_unbilled"] == 1

    await started_with(plant, ('id = "heat-01"', 'id = "heat-1"'))
    await stepped(plant, BEGIN + 3 * HOUR)
    assert not (await plant.alarms())[ALARM]
    assert (await numbers_of(plant, port))["submeter_meters_unbilled"] == 0
    assert await found(plant) == []


async def test_property_data_that_name_another_meter_than_the_settings_are_told_as_they_come(plant: Plant) -> None:
    file = plant.folder / "typo.toml"
    file.write_text(PROPERTY.replace('"heat-1"', '"heat-7"'), encoding="utf-8")
    await ok(plant, "import", str(file))
    await stepped(plant, BEGIN + HOUR / 4)
    assert (await plant.alarms())["meter_unwired", "heat-7"]
    await ok(plant, "link", "end", "heat-1-heat-flat", "--mistaken")
    await stepped(plant, BEGIN + HOUR / 2)
    assert not (await plant.alarms())["meter_unwired", "heat-7"]
