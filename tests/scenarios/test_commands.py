"""Commands while the daemon runs: through its socket, and closed months follow at once."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.outbox import HANGS
from tests.scenarios.plant import BUILDING, START, Plant, running, submeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.broker import Broker

BEGIN = datetime(2026, 10, 31, 18, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
"""an hour after the end of October in Zurich: meters with a battery have been read again"""
FIRST, LAST = ((instant - START) // timedelta(minutes=1) for instant in (BEGIN, NOVEMBER))

Charges = dict[str, list[dict[str, Any]]]
"""register -> the charges of October that stand for it"""


async def ok(plant: Plant, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    code, out, err = await submeter("--config", plant.config, "--json", *arguments)
    assert (code, err) == (0, ""), (out, err)
    return json.loads(out)


async def standing(plant: Plant) -> Charges:
    """Once everything that was asked for is settled."""
    await plant.clock.step(NOVEMBER)  # answered when all that is due is done
    found: Charges = {}
    for charge in await ok(plant, "charges", "--month", "2026-10", "--standing"):
        found.setdefault(charge["register"], []).append(charge)
    return found


async def total(plant: Plant) -> Fraction:
    """What all charges add up to, reversals included."""
    charges = await ok(plant, "charges", "--month", "2026-10")
    return sum((Fraction(charge["amount"]) for charge in charges), Fraction(0))


@pytest.fixture
async def plant(tmp_path: Path, broker: Broker) -> AsyncIterator[Plant]:
    """The last five hours of October, imported while the daemon runs; the month is closed, and November has begun."""
    file = tmp_path / "property.toml"
    text = (BUILDING / "property.toml").read_text(encoding="utf-8")
    file.write_text(text.replace('currency = "CHF"\n', 'currency = "CHF"\ngrace_hours = 0\n', 1), encoding="utf-8")
    async with running(tmp_path, (broker.host, broker.port)) as one:
        for minutes in (FIRST, FIRST + 15):
            await one.step(minutes)
        told = await ok(one, "import", str(file))
        assert told["added"] == text.count("\n[["), told["added"]
        for minutes in range(FIRST + 30, LAST + 1, 15):
            await one.step(minutes)
        yield one


async def test_a_closed_month_is_revised_after_each_command_through_the_socket(plant: Plant) -> None:
    first = await standing(plant)
    assert {charge["payer"]["id"] for charge in first["heat-1-heat"]} == {"blumer"}

    await ok(plant, "move", "flat-1", "2026-10-31", "--to", "weber")
    moved = await standing(plant)
    (old,), (new,) = first["heat-1-heat"], moved["heat-1-heat"]
    assert (new["payer"]["id"], new["revision"], new["reason"]) == ("weber", 2, "move")
    assert (new["quantity"], new["amount"]) == (old["quantity"], old["amount"])
    assert moved["heat-2-heat"] == first["heat-2-heat"]

    await ok(plant, "rate", "set", "heating", "--price", "0.2360", "--from", "2026-10-31")
    dearer = await standing(plant)
    (charge,) = dearer["heat-2-heat"]
    assert (charge["unit_price"], charge["rate"]["version"], charge["reason"]) == ("0.2360", 2, "rate")
    assert dearer["water-1-volume"] == moved["water-1-volume"]

    await ok(plant, "reading", "void", "heat-3", "heat", "2026-11-01T00:00", "--reason", "the display was misread")
    voided = await standing(plant)
    (before,), (after,) = dearer["heat-3-heat"], voided["heat-3-heat"]
    assert before["evidence"]["segments"][-1]["until"]["quality"] == "measured"
    assert after["evidence"]["segments"][-1]["until"]["quality"] == "interpolated"
    assert after["revision"] == before["revision"] + 1

    segment = voided["heat-4-heat"][0]["evidence"]["segments"][0]
    index = f"heat={segment['from']['value']}"
    await ok(plant, "exchange", "heat-4", "--at", "2026-10-31T19:05", "--final", index, "--start", index)
    exchanged = await standing(plant)
    assert len(exchanged["heat-4-heat"][0]["evidence"]["segments"]) == 2

    assert await total(plant) == sum(
        (Fraction(charge["amount"]) for charges in exchanged.values() for charge in charges), Fraction(0)
    )


async def test_what_the_daemon_was_told_is_audited_with_its_time_and_the_kernels_word(plant: Plant) -> None:
    await ok(plant, "meter", "set", "heat-1", "--name", "Heat, cellar")
    (*_, last) = await ok(plant, "audit", "--kind", "meter", "--id", "heat-1")
    assert (last["before"]["name"], last["after"]["name"]) == ("Heat flat 1", "Heat, cellar")
    assert (last["at"], last["by"]) == ("2026-11-01T00:00:00Z", pwd.getpwuid(os.getuid()).pw_name)
    _, log = await plant.end()
    assert [line.partition(": ")[2] for line in log if ": set: " in line] == ["set: 1 changed"]


async def test_accruals_are_what_the_open_month_has_cost_whoever_is_there_now(plant: Plant) -> None:
    await ok(plant, "move", "flat-1", "2026-11-01", "--to", "weber")
    (one,) = await ok(plant, "accruals", "--point", "flat-1")
    assert (one["month"], one["payer"]["id"], one["from"]) == ("2026-11", "weber", "2026-10-31T23:00:00Z")
    totals = {total["energy_source"]: total for total in one["totals"]}
    assert totals.keys() == {"heating", "electricity", "cold_water"}
    assert {total["until"] for total in one["totals"]} == {"2026-11-01T00:00:00Z"}
    assert Fraction(totals["electricity"]["amount"]) > 0


async def test_commands_go_on_after_the_daemon_was_killed_and_when_it_is_back(plant: Plant) -> None:
    first = await standing(plant)
    plant.daemon.kill()
    await plant.daemon.communicate()
    assert (plant.folder / "gateway.db.sock").exists(), "it had no time to tidy up"
    await ok(plant, "rate", "set", "heating", "--price", "0.2360", "--from", "2026-10-31")

    await plant.start_again()
    dearer = await standing(plant)
    assert {charge["unit_price"] for charge in dearer["heat-1-heat"]} == {"0.2360"}
    await ok(plant, "move", "flat-1", "2026-10-31", "--to", "weber")
    moved = await standing(plant)
    assert [charge["payer"]["id"] for charge in moved["heat-1-heat"]] == ["weber"]
    assert moved["heat-1-heat"][0]["revision"] == first["heat-1-heat"][0]["revision"] + 2
    code, log = await plant.end()
    assert code == 0, log
    assert not (plant.folder / "gateway.db.sock").exists()


async def test_a_move_shows_in_the_retained_state_of_its_point_at_once(plant: Plant, broker: Broker) -> None:
    await ok(plant, "move", "flat-1", "2026-11-01", "--to", "weber")
    payers: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def heard(_: Client, __: object, message: MQTTMessage) -> None:
        if message.payload:
            loop.call_soon_threadsafe(payers.put_nowait, json.loads(message.payload)["payer"]["id"])

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = heard
    client.connect(broker.host, broker.port)
    client.subscribe("submeter/v0/demo/gw-01/state/accruals/flat-1", 1)
    client.loop_start()
    try:
        async with asyncio.timeout(HANGS):
            while await payers.get() != "weber":
                pass
    finally:
        client.disconnect()
        client.loop_stop()
