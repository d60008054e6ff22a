"""`submeter doctor`: green where all is well, else a sentence with what to do, and nobody disturbed."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gateway import doctor, drivers
from gateway.clock import SystemClock
from gateway.core.event import Alarm
from gateway.lines import Told
from gateway.settings import Settings, load
from gateway.store import Store, StoreView
from tests.adapters.stores import poll, reading
from tests.broker import free_port
from tests.scenarios.box import Box, box
from tests.scenarios.plant import submeter

if TYPE_CHECKING:
    from tests.postgres import Postgres

__all__ = ["box"]


async def test_where_all_is_well_everything_is_green_and_nobody_is_disturbed(box: Box) -> None:
    async with box.running() as daemon:
        code, found = await box.examined()
        assert [check for check, (well, _) in found.items() if not well] == []
        assert (code, set(found)) == (0, {"store", "daemon", "disk", "clock", "watchdog", "bus", "line", "broker"})
        assert found["daemon"][1] == f"runs as process {daemon.pid}, which holds the store's lock"
        assert found["clock"][1].startswith("the gateway trusts it, ")
        assert found["bus"][1].startswith("1 of 1 meters answered")
        assert re.fullmatch(r"a round takes \d\.\d s, the wire needs 2\.3 s", found["line"][1])
        assert found["broker"][1] == "speaks MQTT 5 and lets the gateway in"
    lines = box.log.decode().splitlines()
    assert [line for line in lines if "is there, in" in line] == [line for line in lines if "roker" in line]
    async with StoreView(box.url) as view:
        assert await view.open_alarms() == []


async def test_a_store_in_postgresql_is_looked_at_too(box: Box, postgres: Postgres) -> None:
    box.url = postgres.new()
    box.config.write_text(box.text.replace("sqlite:///gateway.db", box.url), encoding="utf-8")
    async with box.running():
        code, found = await box.examined()
        assert [check for check, (well, _) in found.items() if not well] == []
        assert (code, "disk" in found) == (0, False)
        assert found["daemon"] == (True, "runs")
    code, found = await box.examined()
    assert (code, found["daemon"][1]) == (1, "does not run: sudo systemctl start submeter")
    postgres.stop()
    try:
        code, found = await box.examined()
    finally:
        postgres.start()
    assert (code, found["store"][0]) == (1, False)
    assert found["store"][1].endswith(": start the server, or correct the store in the settings")


async def test_where_the_gateway_does_not_run_its_line_is_opened_and_one_meter_read(box: Box) -> None:
    code, found = await box.examined()
    assert code == 1
    assert [check for check, (well, _) in found.items() if not well] == ["daemon"]
    assert found["daemon"][1].endswith("sudo systemctl start submeter")
    assert found["bus"][1] == "can be opened, power-01 answers"
    box.slave.fault = "silence"
    assert (await box.examined())[1]["bus"][1].startswith("can be opened, but power-01 is not understood: ")
    box.config.write_text(box.text.replace("port = ", f"port = {free_port()} # "), encoding="utf-8")
    _, found = await box.examined()
    assert not found["bus"][0]
    assert "can be opened" not in found["bus"][1]
    assert not found["broker"][0]
    assert found["broker"][1].startswith("it cannot be reached (")


async def test_a_process_that_holds_the_lock_and_takes_no_commands_is_named(box: Box) -> None:
    holding = (
        "import sys; from pathlib import Path; from gateway.store.lock import Lock; "
        f"lock = Lock(Path('{box.folder}/gateway.db')); print(flush=True); sys.stdin.read()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", holding, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    _, found = await box.examined()
    await process.communicate(b"")
    assert found["daemon"] == (
        False,
        f"process {process.pid} holds the store's lock and takes no commands: wait for it, or end it",
    )


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("LoadState=not-found\\nWatchdogUSec=infinity\\n", "systemd knows no submeter.service"),
        ("LoadState=loaded\\nWatchdogUSec=0\\n", "give it WatchdogSec=60"),
        ("", "no systemd here"),
    ],
)
async def test_a_unit_without_a_watchdog_is_told(box: Box, says: str, told: str) -> None:
    box.systemd(says)
    well, text = (await box.examined())[1]["watchdog"]
    assert not well
    assert told in text


async def test_without_store_and_folder_both_say_so(box: Box) -> None:
    box.config.write_text(box.text.replace("sqlite:///", "sqlite:///none/"), encoding="utf-8")
    _, found = await box.examined()
    assert found["store"] == (False, f"{box.folder}/none/gateway.db: there is no store yet: run `submeter migrate`")
    assert found["disk"][1].startswith(f"{box.folder}/none: No such file or directory: make the folder")


async def test_a_disk_that_is_nearly_full_or_closed_to_us_is_told(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(box.config, drivers)
    assert isinstance(loaded, Settings)
    monkeypatch.setattr(doctor, "ROOM", 10**18)
    texts = {each.check: each async for each in doctor.examine(loaded)}
    assert "make room" in texts["disk"].text
    monkeypatch.setattr("os.access", lambda *_: False)
    texts = {each.check: each async for each in doctor.examine(loaded)}
    assert "this user cannot write there" in texts["disk"].text


async def test_a_clock_that_is_not_synchronised_is_told(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(box.config, drivers)
    assert isinstance(loaded, Settings)
    monkeypatch.setattr("gateway.clock.SystemClock.trusted", lambda _: False)
    texts = {each.check: each async for each in doctor.examine(loaded)}
    assert not texts["clock"].well
    assert "timedatectl" in texts["clock"].text


@pytest.mark.parametrize(
    ("trusted", "text"), [(True, "the gateway trusts it, 2031-05-01 12:00 UTC"), (False, "jumped")]
)
async def test_where_the_gateway_runs_its_own_clock_counts(
    box: Box, monkeypatch: pytest.MonkeyPatch, *, trusted: bool, text: str
) -> None:
    stepped = datetime(2031, 5, 1, 12, tzinfo=UTC)
    monkeypatch.setattr("gateway.clock.SystemClock.trusted", lambda _: not trusted)
    monkeypatch.setattr(doctor, "_listening", lambda _: True)
    monkeypatch.setattr(doctor, "_told", lambda _: Told(clock_trusted=trusted, now=stepped))
    async with Store(box.url) as store:
        await store.keep([poll(replace(reading(stepped - timedelta(minutes=1)), meter="power-01"))])
    loaded = load(box.config, drivers)
    assert isinstance(loaded, Settings)
    found = {each.check: each async for each in doctor.examine(loaded)}
    assert found["clock"].well is trusted
    assert text in found["clock"].text
    assert found["bus"].well, "judged by the same clock"


async def test_what_was_lost_because_the_store_refused_it_is_told(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_listening", lambda _: True)
    monkeypatch.setattr(doctor, "_told", lambda _: Told(clock_trusted=True, now=SystemClock().now(), given_up=3))
    loaded = load(box.config, drivers)
    assert isinstance(loaded, Settings)
    (found,) = [each async for each in doctor.examine(loaded) if each.check == "backlog"]
    assert not found.well
    assert found.text.startswith(
        "3 rounds of readings or alarms could not be stored since the start and are lost: look"
    )


async def test_a_broker_that_refuses_the_running_gateway_is_not_well_though_we_can_reach_it(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = '[mqtt]\nuser = "gw"\npassword_file = "credential:mqtt"\n'
    box.config.write_text(box.text.replace("[mqtt]\n", hidden), encoding="utf-8")
    loaded = load(box.config, drivers)
    assert isinstance(loaded, Settings), loaded

    async def broker() -> tuple[bool, str]:
        (found,) = [each async for each in doctor.examine(loaded) if each.check == "broker"]
        return found.well, found.text

    only = "can be reached; only the service has its credentials: see journalctl -u submeter"
    assert await broker() == (True, only)
    text = "The broker cannot be used: it refuses user and password."
    async with Store(box.url) as store:
        since = SystemClock().now()
        await store.raise_alarm(
            Alarm(code="broker_unusable", source="gateway", severity="error", since=since, text=text)
        )
    assert await broker() == (True, only), "which may have ended with the gateway"
    monkeypatch.setattr(doctor, "_listening", lambda _: True)
    assert await broker() == (False, text)


async def test_people_get_a_line_for_each_and_exit_code_1(box: Box) -> None:
    code, out, err = await submeter("--config", str(box.config), "doctor", PATH=f"{box.folder}/bin:/usr/bin:/bin")
    assert (code, err) == (1, "")
    assert [line.split()[0] for line in out.splitlines() if "clock:" not in line] == [
        "ok",
        "FAIL",
        "ok",
        "ok",
        "ok",
        "ok",
        "meter",
        "power-01",
        "ok",
    ]
    assert "ok   bus mbus-1: can be opened, power-01 answers" in out.splitlines()
    row = out.splitlines()[-2].split()
    assert row == ["power-01", "1", "0", "0", "0", "0", *row[6:8], "-"]
