"""The whole daemon as a process: real meters' protocols, a real store, a real broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.plant import Plant, begin, running, submeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.broker import Broker


@pytest.fixture
async def plant(tmp_path: Path, broker: Broker) -> AsyncIterator[Plant]:
    async with running(tmp_path, (broker.host, broker.port)) as one:
        assert await one.told() == "READY=1"
        yield one


async def test_every_meter_is_kept_at_every_quarter_hour_or_hour_once_the_step_is_answered(plant: Plant) -> None:
    await plant.step(0)
    for minute in (15, 30, 60):
        await plant.step(minute)
    assert await plant.polls() == plant.due((0, 15, 30, 45, 60))


async def test_sigterm_ends_with_0_and_systemd_is_told(plant: Plant) -> None:
    await plant.step(0)
    code, log = await plant.end()
    assert code == 0
    assert await plant.told() == "STOPPING=1"
    assert log[-1] == "<6>demo/gw-01: ended"
    assert all(line.startswith("<6>") for line in log), log


async def test_on_the_systems_clock_the_watchdog_is_fed_and_sigterm_ends_with_0(tmp_path: Path, broker: Broker) -> None:
    async with running(tmp_path, (broker.host, broker.port), SUBMETER_CLOCK="", WATCHDOG_USEC="100000") as plant:
        assert [await plant.told() for _ in range(3)] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
        code, log = await plant.end()
        assert code == 0, log


async def test_a_worker_without_a_sign_of_life_leaves_the_watchdog_hungry(tmp_path: Path, broker: Broker) -> None:
    all_stuck = ("-c", "from gateway import cli, lifetime; lifetime.STALE_AFTER = 0.0; cli.main()")
    address = (broker.host, broker.port)
    async with running(tmp_path, address, program=all_stuck, WATCHDOG_USEC="100000") as plant:
        assert await plant.told() == "READY=1"
        await plant.step(60)  # by then the watchdog's worker has looked at the others, too
        await plant.end()
        assert await plant.told() == "STOPPING=1"


async def test_sigterm_before_the_clock_has_started_ends_with_0(plant: Plant) -> None:
    code, log = await plant.end()
    assert code == 0, log


WHILE_LOADING = """
import os, signal, sys
class Loading:
    def find_spec(self, name, *_):
        if name == "gateway.daemon":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Loading())
from gateway import cli
cli.main()
"""
WHILE_OPENING = """
import os, signal
from gateway import cli, daemon
daemon._boot_id = lambda: os.kill(os.getpid(), signal.SIGTERM)
cli.main()
"""


@pytest.mark.parametrize("program", [WHILE_LOADING, WHILE_OPENING])
async def test_sigterm_ends_with_0_also_before_the_workers_have_begun(tmp_path: Path, program: str) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('site = "s"\ngateway = "g"\nstore = "sqlite:///gateway.db"\n', encoding="utf-8")
    assert (await submeter("--config", str(config), "migrate"))[0] == 0
    daemon = await begin("--config", str(config), "run", program=("-c", program))
    assert await daemon.communicate() == (b"", b"")
    assert daemon.returncode == 0


async def test_a_silent_and_a_lying_meter_are_told_once_and_cost_the_others_nothing(plant: Plant) -> None:
    await plant.step(0)
    silent, lying = [meter for meter, _ in plant.due((15,)) if meter in plant.field.slaves][:2]
    plant.field.slaves[silent].fault = "silence"
    plant.field.slaves[lying].fault = "bad_checksum"
    await plant.step(15)
    await plant.step(30)
    assert await plant.alarms() == {("meter_silent", silent): True, ("meter_wrong", lying): True}
    plant.field.slaves[silent].fault = plant.field.slaves[lying].fault = None
    await plant.step(45)
    assert await plant.alarms() == {("meter_silent", silent): False, ("meter_wrong", lying): False}
    _, log = await plant.end()
    for meter in (silent, lying):
        assert [line[:3] for line in log if f" {meter}: " in line or f">{meter}: " in line] == ["<4>", "<4>"], log
    others = [meter for meter in plant.meters if meter not in (silent, lying)]
    expected = plant.due((0, 15, 30, 45))
    assert await plant.polls() == [each for each in expected if each[0] in others or each[1] in (0, 45)]


async def test_a_line_that_goes_away_comes_back(plant: Plant) -> None:
    await plant.step(0)
    due = dict(plant.due((30,)))
    name = next(device.line for device in plant.field.truth.devices if device.id in due)
    line = plant.field.lines[name]
    await line.close()
    await plant.step(15)
    assert await plant.alarms() == {("line_down", name): True}
    await line.start(port=plant.ports[name])
    await plant.step(30)
    assert await plant.alarms() == {("line_down", name): False}
    gone = {device.id for device in plant.field.truth.devices if device.line == name and device.id in due}
    assert {meter for meter, minute in await plant.polls() if minute == 30} >= gone


async def test_a_second_writer_of_the_store_is_refused_in_one_sentence(plant: Plant) -> None:
    code, _, err = await submeter("--config", plant.config, "migrate")
    assert code == 3
    assert err.startswith(f"{plant.folder}/gateway.db: process {plant.daemon.pid} is using the store")
    assert err.count("\n") == 1


async def test_without_a_broker_the_meters_are_read_and_kept(tmp_path: Path, broker: Broker) -> None:
    broker.stop()
    async with running(tmp_path, (broker.host, broker.port)) as plant:
        await plant.step(0)
        assert len(await plant.polls()) == len(plant.meters)
        code, log = await plant.end()
        assert code == 0
        assert len([line for line in log if "broker" in line]) == 1, log


async def test_without_a_store_the_daemon_says_what_to_do(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('site = "s"\ngateway = "g"\nstore = "sqlite:///gateway.db"\n', encoding="utf-8")
    answer = await submeter("--config", str(config), "run")
    assert answer == (3, "", f"{tmp_path}/gateway.db: there is no store yet: run `submeter migrate`\n")


async def test_a_clock_socket_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('site = "s"\ngateway = "g"\nstore = "sqlite:///gateway.db"\n', encoding="utf-8")
    code, _, err = await submeter("--config", str(config), "run", SUBMETER_CLOCK=str(tmp_path / "none" / "clock"))
    assert (code, err.count("\n")) == (3, 1)
    assert err.startswith(f"SUBMETER_CLOCK={tmp_path}/none/clock: no socket can be made there")


async def test_three_mistakes_in_the_settings_are_all_told_with_their_lines(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        'site = "Sonnenhof"\ngateway = "g"\nstore = "sqlite:///gateway.db"\n[[bus]]\nid = "m"\ndriver = "mbus"\n'
        'host = "127.0.0.1"\nport = 1\npol = "15min"\npoll = "15min"\n[[bus.meter]]\nid = "a"\n'
        'model = "itron-cf-56"\naddress = 1\n',
        encoding="utf-8",
    )
    for command in ("check", "run", "migrate"):
        code, out, err = await submeter("--config", str(config), command)
        assert (code, out) == (3, "")
        lines = err.replace(f"{config}:", "").splitlines()
        assert [line.partition(": ")[0] for line in lines] == ["1", "9", "13"]
        assert "did you mean poll?" in lines[1]
