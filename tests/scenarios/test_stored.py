"""A meter that was silent at the end of the month tells afterwards what it kept of that moment: whole daemon."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from tests.scenarios.plant import START, Plant, running, submeter
from tests.verifier import check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from simulators.truth import Truth
    from tests.broker import Broker

BEGIN = datetime(2026, 10, 31, 18, tzinfo=UTC)
MONTH_END = datetime(2026, 10, 31, 23, tzinfo=UTC)
"""midnight in Zurich, and by the meter's clock"""
SILENT, BACK = MONTH_END - timedelta(minutes=30), MONTH_END + timedelta(minutes=30)
CLOSED = MONTH_END + timedelta(hours=3)
DEVICES = """
name = "Lodge"
time_zone = "Europe/Zurich"
month = 2026-10-01
seed = 5
quantum = "0.001"
currency = "CHF"
owner = "immo-ag"
[building]
[[place]]
id = "flat"
stays = [{ who = "blumer", from = 2026-10-01 }]
[[price]]
source = "heating"
from = 2026-01-01
price = "0.1180"
[[profile]]
id = "home"
weekday = [9000, 7000, 31000, 19000, 26000, 24000, 62000, 33000]
weekend = [11000, 8000, 22000, 39000, 42000, 35000, 58000, 36000]
spread = 35
[[line]]
id = "mbus-1"
protocol = "mbus"
[[meter]]
id = "heat-1"
line = "mbus-1"
model = "elster-f96-plus"
address = 1
serial = "44493951"
[[meter.counters]]
register = "heat-1-heat"
key = "heat"
source = "heating"
start = "10234"
profile = "home"
place = "flat"
"""
PROPERTY = """
[[user]]
id = "immo-ag"
kind = "legal"
company = "Immo AG"
registration = "CHE-314.159.265"
address = "Bahnhofplatz 3, 8000 Zürich"
[[user]]
id = "blumer"
kind = "natural"
first_name = "Anna"
last_name = "Blumer"
address = "Sonnenweg 1, 8000 Zürich"
[[facility]]
id = "lodge"
name = "Lodge"
time_zone = "Europe/Zurich"
currency = "CHF"
grace_hours = 2
[[owner]]
id = "owner-lodge"
user = "immo-ag"
facility = "lodge"
[[building]]
id = "house"
facility = "lodge"
name = "House"
[[meter]]
id = "heat-1"
facility = "lodge"
name = "Heat"
serial = "44493951"
[[register]]
id = "heat-1-heat"
meter = "heat-1"
key = "heat"
energy_source = "heating"
unit = "kWh"
resolution = "1"
max_per_day = "4000"
[[point]]
id = "flat"
building = "house"
name = "Flat"
kind = "apartment"
[[link]]
id = "heat-1-heat-flat"
register = "heat-1-heat"
point = "flat"
[[occupancy]]
id = "flat-2026-10-01"
point = "flat"
user = "blumer"
entry = 2026-10-01
[[rate]]
id = "heating"
facility = "lodge"
energy_source = "heating"
title = "Heating"
component = "energy"
unit = "kWh"
prices = [{ from = 2026-01-01, price = "0.1180" }]
tax = { category = "S", rate = "8.1", included = true }
"""


@pytest.fixture
async def plant(tmp_path: Path, broker: Broker) -> AsyncIterator[Plant]:
    """The last five hours of October; the meter cannot be heard for half an hour before midnight and after it."""
    (tmp_path / "devices.toml").write_text(DEVICES, encoding="utf-8")
    (tmp_path / "property.toml").write_text(PROPERTY, encoding="utf-8")
    async with running(tmp_path, (broker.host, broker.port), building=tmp_path) as one:
        one.field.slaves["heat-1"].status = 0x04
        await stepped(one, BEGIN)
        await ok(one, "import", str(tmp_path / "property.toml"))
        at = BEGIN
        while at < CLOSED:
            at += timedelta(minutes=15)
            one.field.slaves["heat-1"].fault = "silence" if SILENT <= at < BACK else None
            await stepped(one, at)
        yield one


async def stepped(plant: Plant, at: datetime) -> None:
    await plant.step((at - START) // timedelta(minutes=1))


async def ok(plant: Plant, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    code, out, err = await submeter("--config", plant.config, "--json", *arguments)
    assert (code, err) == (0, ""), (out, err)
    return json.loads(out)


def shown(played: Truth, at: datetime) -> int:
    """What the counter really was."""
    return played.counts(played.devices[0].counters[0], at)


async def test_the_month_ends_at_what_the_meter_kept_costs_what_was_used_and_is_explained(plant: Plant) -> None:
    (charge,) = await ok(plant, "charges", "--month", "2026-10", "--standing")
    used = shown(plant.field.truth, MONTH_END) - shown(plant.field.truth, BEGIN)
    (segment,) = charge["evidence"]["segments"]
    assert used > 0
    assert Fraction(charge["quantity"]) == used
    assert (segment["until"]["value"], segment["until"]["quality"]) == (
        str(shown(plant.field.truth, MONTH_END)),
        "stored",
    )
    assert datetime.fromisoformat(segment["until"]["at"]) == MONTH_END
    assert segment["until"]["between"] is None
    for told in await plant.events("charge"):
        check(told, {})
    code, out, err = await submeter("--config", plant.config, "explain", charge["charge_id"])
    assert code == 0, err
    assert "kept by the meter itself for that date" in out
    assert out.count("(the meter reported power low)") == 2
    qualities = {one["quality"] for event in await plant.events("reading") for one in event["registers"]}
    assert qualities == {"measured"}
