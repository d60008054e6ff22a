"""A value that cannot be is told at once, shown, never dropped and never billed: whole daemon."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.plant import Plant, running, submeter
from tests.scenarios.test_stored import BEGIN, DEVICES, PROPERTY, ok, stepped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.broker import Broker

HOUR = timedelta(hours=1)
"""as often as its battery bears"""
SPIKE = BEGIN + 2 * HOUR
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
