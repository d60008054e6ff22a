"""A Modbus meter that is exchanged unnoticed, with no serial number in the settings: whole daemon."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from simulators.modbus import layouts_of_models
from tests.scenarios.plant import POLL, Plant, running, submeter
from tests.scenarios.test_stored import BEGIN, CLOSED, DEVICES, MONTH_END, PROPERTY, ok, shown, stepped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from tests.broker import Broker

MODEL = "carlo-gavazzi-em340"
OLD, NEW = "274123S", "999999X"
ALARM = ("reading_implausible", "heat-1-heat")
EXCHANGED = BEGIN + timedelta(hours=2)
ON_MODBUS = {
    'protocol = "mbus"': 'protocol = "modbus"',
    'model = "elster-f96-plus"': f'model = "{MODEL}"',
    'serial = "44493951"\n': "",
    'key = "heat"': 'key = "import"',
}


@pytest.fixture
async def plant(tmp_path: Path, broker: Broker) -> AsyncIterator[Plant]:
    """Five hours of October behind a meter whose settings name no serial number."""
    devices, property_ = DEVICES, PROPERTY
    for old, new in ON_MODBUS.items():
        devices, property_ = devices.replace(old, new), property_.replace(old, new)
    (tmp_path / "devices.toml").write_text(devices, encoding="utf-8")
    (tmp_path / "property.toml").write_text(property_.replace('"1"\nmax', '"0.1"\nmax'), encoding="utf-8")
    async with running(tmp_path, (broker.host, broker.port), building=tmp_path) as one:
        yield one


def wire(plant: Plant, serial: str) -> None:
    """The meter that answers at the address from now on, of the same model; it goes on where the old one stood."""
    plant.field.units["heat-1"].layout = layouts_of_models()[MODEL]
    plant.field.units["heat-1"].serial = serial


async def polled(plant: Plant, start: datetime, until: datetime) -> None:
    """Each quarter of an hour after `start`."""
    while start < until:
        start += POLL
        await stepped(plant, start)


def shown_kwh(plant: Plant, at: datetime) -> Fraction:
    return Fraction(shown(plant.field.truth, at), 10)


async def billed(plant: Plant) -> Fraction:
    charges = await ok(plant, "charges", "--month", "2026-10", "--standing")
    return sum((Fraction(charge["quantity"]) for charge in charges), Fraction(0))


async def test_a_meter_swapped_between_two_polls_holds_billing_until_the_exchange_is_entered(plant: Plant) -> None:
    wire(plant, OLD)
    await stepped(plant, BEGIN)
    await ok(plant, "import", str(plant.folder / "property.toml"))
    await polled(plant, BEGIN, EXCHANGED)
    assert not await plant.events("alarm")

    wire(plant, NEW)
    await polled(plant, EXCHANGED, CLOSED)
    told = [each["text"] for each in await plant.events("alarm") if each["code"] == ALARM[0]]
    assert len(told) == 1
    assert f"exchange suspected: meter {NEW} answers since 2026-10-31T20:15:00Z where {OLD} did" in told[0]
    assert (await plant.alarms())[ALARM]
    assert await billed(plant) == shown_kwh(plant, EXCHANGED) - shown_kwh(plant, BEGIN), "as the old one counted"
    serials = [(each["at"], each["serial"]) for each in await plant.events("reading")]
    assert {serial for at, serial in serials if at <= "2026-10-31T20:00:00"} == {OLD}
    assert {serial for at, serial in serials if at >= "2026-10-31T20:15:00"} == {NEW}
    _, out, _ = await submeter("--config", plant.config, "read", "heat-1")
    assert f"serial {NEW}" in out

    index = f"import={float(shown_kwh(plant, EXCHANGED)):.1f}"
    at = ("--at", (EXCHANGED + timedelta(minutes=1)).isoformat())
    await ok(plant, "exchange", "heat-1", *at, "--final", index, "--start", index, "--serial", NEW)
    await polled(plant, CLOSED, CLOSED + 4 * POLL)
    assert not (await plant.alarms())[ALARM]
    assert await billed(plant) == shown_kwh(plant, MONTH_END) - shown_kwh(plant, BEGIN)


async def test_a_number_that_an_earlier_release_did_not_read_is_no_exchange(plant: Plant) -> None:
    """What is kept without a number was the same meter: neither the judge nor settling holds anything."""
    await stepped(plant, BEGIN)
    await ok(plant, "import", str(plant.folder / "property.toml"))
    await polled(plant, BEGIN, EXCHANGED)
    plant.field.units["heat-1"].fault = "silence"
    await polled(plant, EXCHANGED, EXCHANGED + POLL)
    plant.field.units["heat-1"].fault = None
    wire(plant, NEW)
    await polled(plant, EXCHANGED + POLL, CLOSED + POLL)
    serials = [each["serial"] for each in await plant.events("reading")]
    assert serials == sorted(serials)
    assert set(serials) == {"", NEW}
    assert ALARM not in await plant.alarms()
    assert await billed(plant) == shown_kwh(plant, MONTH_END) - shown_kwh(plant, BEGIN)
