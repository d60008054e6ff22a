"""A meter that encrypts, first with a wrong key in its file: whole daemon."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, get_args

import pytest

from gateway.service.settle import AGAIN
from simulators.mbus.secure import Mode
from tests.scenarios.plant import running, submeter
from tests.scenarios.test_stored import BEGIN, CLOSED, DEVICES, MONTH_END, PROPERTY, ok, shown, stepped
from tests.verifier import check

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker
    from tests.scenarios.plant import Plant

KEY, WRONG = "000102030405060708090a0b0c0d0e0f", "ff" * 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)
CORRECTED = MONTH_END + timedelta(minutes=30)


def mistyped(folder: Path) -> Path:
    """A building, and the file of its meter's key, which is wrong."""
    (folder / "devices.toml").write_text(DEVICES, encoding="utf-8")
    (folder / "property.toml").write_text(PROPERTY, encoding="utf-8")
    file = folder / "heat-1.key"
    file.write_text(WRONG, encoding="utf-8")
    return file


@pytest.mark.parametrize("mode", get_args(Mode))
async def test_what_was_answered_before_its_key_was_put_right_is_read_at_its_own_time_and_billed(
    tmp_path: Path, broker: Broker, mode: Mode
) -> None:
    file = mistyped(tmp_path)
    async with running(tmp_path, (broker.host, broker.port), building=tmp_path, keys={"heat-1": file}) as plant:
        slave = plant.field.slaves["heat-1"]
        slave.key, slave.mode = bytes.fromhex(KEY), mode
        await stepped(plant, BEGIN)
        await ok(plant, "import", str(tmp_path / "property.toml"))
        await until(plant, BEGIN, CORRECTED)
        assert await plant.alarms() == {("meter_wrong", "heat-1"): True}
        (alarm,) = await plant.events("alarm")
        assert alarm["text"].startswith("address 1: the key does not fit")
        assert WRONG not in json.dumps(alarm)
        assert all(event["registers"] == [] for event in await plant.events("reading"))
        kept = raw(plant)
        assert len(kept) == 1 + (MONTH_END - BEGIN) // HOUR
        assert all(bytes.fromhex(slave.serial)[::-1] in each for each in kept), "the header is not encrypted"

        file.write_text(KEY, encoding="utf-8")
        await until(plant, CORRECTED + QUARTER, CLOSED)
        assert await plant.alarms() == {("meter_wrong", "heat-1"): False}
        await today_is_shown(plant)
        await stepped(plant, BEGIN + AGAIN)  # without a calendar that rings, months are looked at once a day
        (charge,) = await ok(plant, "charges", "--month", "2026-10", "--standing")
        await billed_by_its_own_readings(plant, charge)
        _, log = await plant.end()
    assert [text for line in log for text in ("heat-1: unavailable", "heat-1: recovered") if text in line] == [
        "heat-1: unavailable",
        "heat-1: recovered",
    ]
    assert not [line for line in log if KEY in line or WRONG in line]


@pytest.mark.parametrize("killed", [False, True])
async def test_what_was_answered_before_a_restart_is_read_once_at_its_own_time_and_billed(
    tmp_path: Path, broker: Broker, *, killed: bool
) -> None:
    file = mistyped(tmp_path)
    async with running(tmp_path, (broker.host, broker.port), building=tmp_path, keys={"heat-1": file}) as plant:
        plant.field.slaves["heat-1"].key = bytes.fromhex(KEY)
        await stepped(plant, BEGIN)
        await ok(plant, "import", str(tmp_path / "property.toml"))
        at = BEGIN + 2 * HOUR
        await until(plant, BEGIN, at)
        for end, key in ((CORRECTED, WRONG), (CLOSED, KEY), (CLOSED + HOUR, KEY)):
            if killed:
                plant.daemon.kill()
                await plant.daemon.communicate()
            else:
                await plant.end()
            file.write_text(key, encoding="utf-8")
            await plant.start_again()
            await until(plant, at + QUARTER, end)
            at = end
        assert await plant.alarms() == {("meter_wrong", "heat-1"): False}
        await stepped(plant, BEGIN + AGAIN)
        (charge,) = await ok(plant, "charges", "--month", "2026-10", "--standing")
        await billed_by_its_own_readings(plant, charge)
        assert kept_at(plant, "SELECT at, count(*) FROM poll GROUP BY at") == {
            BEGIN + hour * HOUR: 2 if BEGIN + hour * HOUR < CORRECTED else 1 for hour in range(9)
        }, "as it came, and once more with its readings"
        assert kept_at(plant, "SELECT at, count(*) FROM conflict GROUP BY at") == {}


async def until(plant: Plant, begin: datetime, end: datetime) -> None:
    for quarter in range((end - begin) // QUARTER + 1):
        await stepped(plant, begin + quarter * QUARTER)


def raw(plant: Plant) -> list[bytes]:
    """The answers in the store, as they came."""
    with closing(sqlite3.connect(plant.folder / "gateway.db")) as connection:
        return [answer for (answer,) in connection.execute("SELECT raw FROM poll ORDER BY seq")]


def kept_at(plant: Plant, query: str) -> dict[datetime, int]:
    """How many rows the store has of each instant up to the closing."""
    with closing(sqlite3.connect(plant.folder / "gateway.db")) as connection:
        rows = {EPOCH + timedelta(microseconds=at): count for at, count in connection.execute(query)}
    return {at: count for at, count in rows.items() if at <= CLOSED}


async def billed_by_its_own_readings(plant: Plant, charge: Any) -> None:  # noqa: ANN401 - JSON
    times = {datetime.fromisoformat(event["at"]) for event in await plant.events("reading") if event["registers"]}
    assert times >= {BEGIN + hour * HOUR for hour in range((CLOSED - BEGIN) // HOUR)}
    (segment,) = charge["evidence"]["segments"]
    assert segment["until"]["quality"] == "measured"
    assert datetime.fromisoformat(segment["until"]["at"]) == MONTH_END
    used = shown(plant.field.truth, MONTH_END) - shown(plant.field.truth, BEGIN)
    assert used > 0
    assert Fraction(charge["quantity"]) == used
    for told in await plant.events("charge"):
        check(told, {})


async def today_is_shown(plant: Plant) -> None:
    _, out, _ = await submeter("--config", plant.config, "--json", "doctor")
    (line,) = [each["line"] for each in json.loads(out)["findings"] if each["check"] == "line"]
    (meter,) = line["meters"]
    assert meter["bears"] == 300
    assert 3 <= meter["today"] <= 3 + meter["repeats"], "three reads since midnight, and repeats on a busy machine"
