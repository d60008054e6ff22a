"""A value that cannot be is told at once, shown, never dropped and never billed: whole daemon."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.plant import Plant, running, submeter
from tests.scenarios.test_stored import BEGIN, CLOSED, DEVICES, PROPERTY, ok, stepped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.broker import Broker

HOUR = timedelta(hours=1)
"""as often as its battery bears"""
SPIKE = BEGIN + 2 * HOUR
SERIAL = "44493951"
ALARM = ("reading_implausible", "heat-1-heat")


@pytest.fixture
async def plant(tmp_path: Path, broker: Broker) -> AsyncIterator[Plant]:
    (tmp_path / "devices.toml").write_text(DEVICES, encoding="utf-8")
    (tmp_path / "property.toml").write_text(PROPERTY, encoding="utf-8")
    async with running(tmp_path, (broker.host, broker.port), building=tmp_path) as one:
        await stepped(one, BEGIN)
        await ok(one, "import", str(tmp_path / "property.toml"))
        await stepped(one, BEGIN + HOUR)
        yield one


async def spiked(plant: Plant, at: datetime) -> None:
    """The meter shows 5 MWh too much at this instant."""
    plant.field.show(at)
    counts = plant.field.slaves["heat-1"].counts
    plant.field.slaves["heat-1"].counts = {key: count + 5000 for key, count in counts.items()}
    await plant.clock.step(at)


async def test_a_spike_is_told_at_once_shown_everywhere_and_ends_when_it_is_voided(plant: Plant) -> None:
    await spiked(plant, SPIKE)
    assert (await plant.alarms())[ALARM]
    await stepped(plant, SPIKE + HOUR)
    assert (await plant.alarms())[ALARM], "that the next value is right again ends nothing"
    assert len([minute for _, minute in await plant.polls()]) == 4, "all are kept and told"

    code, out, err = await submeter("--config", plant.config, "meter", "show", "heat-1")
    assert (code, err) == (0, "")
    assert "alarm reading_implausible of heat-1-heat: garbage suspected: " in out
    _, out, _ = await submeter("--config", plant.config, "doctor")
    assert "heat-1-heat" in out
    assert "garbage suspected: " in out

    void = ("reading", "void", "heat-1", "heat-1-heat", SPIKE.isoformat(), "--reason", "spike")
    await ok(plant, *void)
    await stepped(plant, SPIKE + 2 * HOUR)
    assert not (await plant.alarms())[ALARM]


async def test_another_meter_that_answers_holds_billing_until_the_exchange_is_entered(
    tmp_path: Path, broker: Broker
) -> None:
    unnamed = DEVICES.replace(f'serial = "{SERIAL}"\n', "")  # whose settings name a serial is not believed at all
    (tmp_path / "devices.toml").write_text(unnamed, encoding="utf-8")
    (tmp_path / "property.toml").write_text(PROPERTY, encoding="utf-8")
    async with running(tmp_path, (broker.host, broker.port), building=tmp_path) as plant:
        plant.field.slaves["heat-1"].serial = SERIAL
        await stepped(plant, BEGIN)
        await ok(plant, "import", str(tmp_path / "property.toml"))
        await stepped(plant, BEGIN + HOUR)
        plant.field.slaves["heat-1"].serial = "44493952"
        await stepped(plant, BEGIN + 2 * HOUR)

        told = [each["text"] for each in await plant.events("alarm") if each["code"] == ALARM[0]]
        assert len(told) == 1
        assert "exchange suspected: meter 44493952 answers since 2026-10-31T20:00:00Z where 44493951 did" in told[0]
        index = str(plant.field.slaves["heat-1"].counts["heat"])
        at = ("--at", (BEGIN + 3 * HOUR / 2).isoformat())
        indexes = ("--final", f"heat={index}", "--start", f"heat={index}")
        await ok(plant, "exchange", "heat-1", *at, *indexes, "--serial", "44493952")
        await stepped(plant, BEGIN + 3 * HOUR)
        assert not (await plant.alarms())[ALARM]


async def test_a_counter_that_begins_again_at_0_is_billed_without_an_alarm_and_explained(
    tmp_path: Path, broker: Broker
) -> None:
    """Nobody has entered a modulus: the model reads eight digits, and 15 kWh can flow in an hour."""
    (tmp_path / "devices.toml").write_text(DEVICES, encoding="utf-8")
    (tmp_path / "property.toml").write_text(PROPERTY.replace('max_per_day = "4000"', 'power = "20 kW"'), "utf-8")
    async with running(tmp_path, (broker.host, broker.port), building=tmp_path) as plant:
        await shows(plant, BEGIN, 99_999_980)
        await ok(plant, "import", str(tmp_path / "property.toml"))
        await shows(plant, BEGIN + HOUR, 99_999_990)
        at = BEGIN + HOUR
        while at < CLOSED:
            at += HOUR
            await shows(plant, at, 5)
        assert ALARM not in await plant.alarms()

        (charge,) = await ok(plant, "charges", "--month", "2026-10", "--standing")
        (segment,) = charge["evidence"]["segments"]
        assert (charge["quantity"], segment["from"]["value"], segment["until"]["value"]) == ("25", "99999980", "5")
        assert segment["modulus"] == "100000000"
        code, out, err = await submeter("--config", plant.config, "explain", charge["charge_id"])
        assert (code, err) == (0, "")
        assert "5 - 99999980 + 100000000 (the counter passed its highest number and began again at 0) = 25 kWh" in out


async def shows(plant: Plant, at: datetime, heat: int) -> None:
    """The meter shows this index at this instant."""
    plant.field.show(at)
    slave = plant.field.slaves["heat-1"]
    slave.counts = {**slave.counts, "heat": heat}
    await plant.clock.step(at)
