"""`submeter doctor`: green where all is well, else a sentence with what to do, and nobody disturbed."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gateway import doctor, drivers
from gateway.clock import SystemClock
from gateway.core.event import Alarm
from gateway.lines import Told
from gateway.mqtt.probe import ProbeError, probe
from gateway.mqtt.security import Security
from gateway.ports.health import LineHealth, MeterHealth
from gateway.settings import Settings, load
from gateway.store import Store, StoreView
from gateway.store.lock import Lock, holder
from simulators.mbus import Line, Slave, captured_telegrams
from tests.adapters.stores import new_store, poll, reading
from tests.broker import Broker, free_port
from tests.delivery import GATEWAY, listening
from tests.scenarios.plant import begin, submeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.postgres import Postgres

MODEL, SERIAL = "emu-professional-375", "00032621"
SYNCHRONISED = "from pathlib import Path; from gateway import cli, clock; clock.TIMESYNC = Path('/'); cli.main()"
"""a command on a machine whose clock is right"""
UNIT = "LoadState=loaded\\nWatchdogUSec=1min\\n"


class Box:
    """A meter, a broker, a systemd that says what it is told to, and the settings of it all."""

    def __init__(self, folder: Path, slave: Slave, port: int, broker: Broker) -> None:
        self.folder = folder
        self.slave = slave
        self.broker = broker
        self.config = folder / "gateway.toml"
        self.text = (
            f'site = "{GATEWAY.site}"\ngateway = "{GATEWAY.name}"\nstore = "sqlite:///gateway.db"\n'
            f'[mqtt]\nhost = "{broker.host}"\n'
            f'port = {broker.port}\n[[bus]]\nid = "mbus-1"\ndriver = "mbus"\nhost = "127.0.0.1"\nport = {port}\n'
            f'baud = 9600\nlatency = 0.01\npoll = "1s"\n[[bus.meter]]\nid = "power-01"\n'
            f'model = "{MODEL}"\naddress = 1\n'
        )
        self.config.write_text(self.text, encoding="utf-8")
        self.url = new_store(folder)
        (folder / "bin").mkdir()
        self.systemd(UNIT)

    def systemd(self, says: str) -> None:
        program = self.folder / "bin" / "systemctl"
        program.write_text(f"#!/bin/sh\nprintf '{says}'\n", encoding="utf-8")
        program.chmod(0o755)

    async def examined(self, config: Path | None = None) -> tuple[int, dict[str, tuple[bool, str]]]:
        """The exit code, and by check whether all is well with the text."""
        arguments = ("-c", SYNCHRONISED, "--config", str(config or self.config), "--json", "doctor")
        process = await begin(*arguments, program=(), PATH=f"{self.folder}/bin:/usr/bin:/bin")
        out, err = await process.communicate()
        assert err == b""
        told = json.loads(out)
        assert told["ok"] == all(each["ok"] for each in told["findings"])
        return process.returncode or 0, {each["check"]: (each["ok"], each["text"]) for each in told["findings"]}

    @asynccontextmanager
    async def running(self, told: str = "readings/") -> AsyncIterator[asyncio.subprocess.Process]:
        """The daemon, once the meter has been read, or something else has been told."""
        asked = ("-c", SYNCHRONISED, "--config", str(self.config), "run")
        async with listening(self.broker.host, self.broker.port) as ear:
            daemon = await begin(*asked, program=(), SUBMETER_CLOCK="")
            try:
                await ear.until(lambda: bool(ear.events(told)))  # told once it is kept
            except TimeoutError:
                daemon.kill()
                raise
        try:
            yield daemon
        finally:
            daemon.terminate()
            _, self.log = await daemon.communicate()


@pytest.fixture
async def box(tmp_path: Path, broker: Broker) -> AsyncIterator[Box]:
    slave = Slave(address=1, captured=captured_telegrams()[MODEL], serial=SERIAL, counts={})
    line = Line([slave])
    yield Box(tmp_path, slave, await line.start(), broker)
    await line.close()


async def test_where_all_is_well_everything_is_green_and_nobody_is_disturbed(box: Box) -> None:
    async with box.running() as daemon:
        code, found = await box.examined()
        assert [check for check, (well, _) in found.items() if not well] == []
        assert (code, set(found)) == (0, {"store", "daemon", "disk", "clock", "watchdog", "bus", "line", "broker"})
        assert found["daemon"][1] == f"runs as process {daemon.pid}, which holds the store's lock"
        assert found["clock"][1].startswith("the gateway trusts it, ")
        assert found["bus"][1].startswith("1 of 1 meters answered")
        assert re.fullmatch(r"a round takes \d\.\d s, the wire needs 0\.3 s", found["line"][1])
        assert found["broker"][1] == "speaks MQTT 5 and lets the gateway in"
    lines = box.log.decode().splitlines()
    assert [line for line in lines if "is there, in" in line] == [line for line in lines if "roker" in line]
    async with StoreView(box.url) as view:
        assert await view.open_alarms() == []


async def test_the_running_gateway_tells_what_its_lines_have_counted(box: Box) -> None:
    async with box.running():
        code, out, err = await submeter("--config", str(box.config), "--json", "doctor")
    assert (code, err) == (1, ""), "no watchdog here"
    (told,) = [each["line"] for each in json.loads(out)["findings"] if each["check"] == "line"]
    (meter,) = told["meters"]
    assert (told["baud"], told["echo"], meter["meter"]) == (9600, False, "power-01")
    assert meter["reads"] >= 1
    assert meter["failed"] == meter["repeats"] == meter["damaged"] == 0


async def test_a_meter_that_the_running_gateway_does_not_hear_is_named(box: Box) -> None:
    more = box.folder / "more.toml"
    more.write_text(f'{box.text}[[bus.meter]]\nid = "power-02"\nmodel = "{MODEL}"\naddress = 2\n', encoding="utf-8")
    async with box.running():
        code, found = await box.examined(more)
    assert code == 1
    assert found["bus"] == (
        False,
        "1 of 2 meters answered in the last two rounds; look at the cable, address and settings of power-02",
    )


OTHER = "itron-cf-55"
ALARMS = (
    ("heat-01", "meter_wrong", "address 1: the key does not fit (security mode 5)"),
    ("heat-02", "meter_wrong", "address 2 repeats a telegram instead of sending the next; its answer is not used"),
    ("heat-03", "meter_status", "the meter reports power low; see its manual. What it counts is still billed"),
)


async def test_a_running_gateway_that_meets_another_makers_meter_says_so(box: Box) -> None:
    other = Slave(address=2, captured=captured_telegrams()[OTHER], serial="11127662", counts={})
    line = Line([box.slave, other])
    port = re.sub(r"\nport = \d+\nbaud", f"\nport = {await line.start()}\nbaud", box.text)
    box.config.write_text(f'{port}[[bus.meter]]\nid = "power-02"\nmodel = "{MODEL}"\naddress = 2\n', encoding="utf-8")
    async with box.running("alarms/"):
        code, found = await box.examined()
    await line.close()
    assert (code, found["bus"]) == (1, (False, "1 of 2 meters answered in the last two rounds"))
    async with StoreView(box.url) as view:
        (alarm,) = await view.open_alarms()
    assert (alarm.code, alarm.source) == ("meter_wrong", "power-02")
    assert found["meter"] == (False, alarm.text)


async def heard(box: Box, alarms: tuple[tuple[str, str, str], ...], *others: str) -> list[doctor.Finding]:
    """What is found of a gateway that has just heard its meters and has these alarms open."""
    meters = (f'[[bus.meter]]\nid = "{each}"\nmodel = "{MODEL}"\naddress = {at}\n' for at, each in enumerate(others, 2))
    box.config.write_text(box.text + "".join(meters), encoding="utf-8")
    loaded = load(box.config, drivers)
    assert isinstance(loaded, Settings)
    now = SystemClock().now()
    async with Store(box.url) as store:
        await store.keep([poll(replace(reading(now), meter=each)) for each in ("power-01", *others)])
        for at, (source, code, text) in enumerate(alarms):
            since = now - timedelta(hours=len(alarms) - at)
            await store.raise_alarm(Alarm(code=code, source=source, severity="error", since=since, text=text))
    return [each async for each in doctor.examine(loaded)]


async def test_a_meter_that_answers_and_has_an_alarm_of_its_own_is_not_well(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_listening", lambda _: True)
    found = await heard(box, ALARMS, *(source for source, _, _ in ALARMS))
    (bus,) = [each for each in found if each.check == "bus"]
    assert (bus.well, bus.text) == (False, "2 of 4 meters answered in the last two rounds")
    told = [(each.subject, each.well, each.text) for each in found if each.check == "meter"]
    assert told == [(source, False, text) for source, _, text in ALARMS]


async def test_a_line_that_is_down_is_told_with_its_reason(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_listening", lambda _: True)
    lost = "127.0.0.1:10001 closed the connection; check the converter"
    meter = MeterHealth(
        meter="power-01", reads=0, failed=3, requests=3, repeats=0, damaged=0, unasked=0, ms=None, wire_ms=None
    )
    told = Told(lines={"mbus-1": LineHealth(baud=2400, echo=False, meters=(meter,))})
    monkeypatch.setattr(doctor, "_told", lambda _: told)
    found = await heard(box, (("mbus-1", "line_down", lost),))
    (bus,) = [each for each in found if each.check == "bus"]
    assert [each.text for each in found if each.check == "line"] == ["no meter has been read yet"], "no wires guessed"
    assert (bus.well, bus.text) == (False, f"1 of 1 meters answered in the last two rounds; {lost}")


async def test_what_settling_holds_is_counted_and_the_first_three_are_told(box: Box) -> None:
    held = tuple((f"register-{at}", "index_decrease", f"register-{at} counts backwards") for at in range(5))
    (hold,) = [each for each in await heard(box, held) if each.check == "hold"]
    first = "; ".join(text for _, _, text in held[:3])
    assert (hold.well, hold.text) == (False, f"5 open in settling: {first}; and 2 more: see submeter alarm list")


async def test_a_meter_that_is_read_seldom_for_its_battery_is_not_called_silent(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = f'[[bus.meter]]\nid = "heat-01"\nmodel = "{MODEL}"\naddress = 2\n'
    box.config.write_text(box.text.replace('"1s"', '"1min"') + meter, encoding="utf-8")
    loaded = load(box.config, drivers)
    assert isinstance(loaded, Settings)
    monkeypatch.setattr(doctor, "_listening", lambda _: True)
    long_ago = reading(SystemClock().now() - timedelta(hours=13))
    async with Store(box.url) as store:
        await store.keep([poll(long_ago), poll(replace(long_ago, meter="power-01"))])
    bus = loaded.buses[0]
    monkeypatch.setattr(
        type(bus.driver), "reads_per_day", lambda _, wiring: 2 if wiring == bus.meters["heat-01"] else None
    )
    (found,) = [each async for each in doctor.examine(loaded) if each.check == "bus"]
    assert found.text.startswith("1 of 2 meters answered in the last two rounds; ")
    assert found.text.endswith("settings of power-01")


async def test_a_battery_meter_before_its_first_read_is_no_failure(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = f'[[bus.meter]]\nid = "heat-01"\nmodel = "{MODEL}"\naddress = 2\n'
    box.config.write_text(box.text + meter, encoding="utf-8")
    loaded = load(box.config, drivers)
    assert isinstance(loaded, Settings)
    monkeypatch.setattr(doctor, "_listening", lambda _: True)
    bus = loaded.buses[0]
    monkeypatch.setattr(
        type(bus.driver), "reads_per_day", lambda _, wiring: 1 if wiring == bus.meters["heat-01"] else None
    )
    async with Store(box.url) as store:
        await store.keep([poll(replace(reading(SystemClock().now()), meter="power-01"))])
    (found,) = [each async for each in doctor.examine(loaded) if each.check == "bus"]
    told = "1 of 2 meters answered in the last two rounds; not read yet: heat-01: due at 00:00 UTC"
    assert (found.well, found.text) == (True, told)
    silent = Alarm(code="meter_silent", source="heat-01", severity="warning", since=SystemClock().now(), text="silent")
    async with Store(box.url) as store:
        await store.raise_alarm(silent)
    (found,) = [each async for each in doctor.examine(loaded) if each.check == "bus"]
    assert (found.well, found.text) == (False, "1 of 2 meters answered in the last two rounds")


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


def test_a_broker_that_refuses_is_quoted(tmp_path: Path) -> None:
    closed = Broker(tmp_path, "allow_anonymous false")
    closed.start()
    with pytest.raises(ProbeError, match="it refuses the gateway: Not authorized"):
        probe(closed.host, closed.port, Security())
    closed.stop()


async def test_a_broker_of_the_older_protocol_is_asked_in_it_and_one_that_is_none_is_told() -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(1000)
        five = b"MQTT\x05" in hello
        writer.write(bytes([0x20, 0x03, 0x00, 0x84, 0x00]) if five else bytes([0x20, 0x02, 0x00, 0x00]))
        await reader.read()
        writer.close()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.close()

    for behaviour, answer in ((old, "MQTT 3.1.1"), (mute, None)):
        async with await asyncio.start_server(behaviour, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            if answer:
                assert await asyncio.to_thread(probe, "127.0.0.1", port, Security()) == answer
            else:
                with pytest.raises(ProbeError, match="is this the port of a broker"):
                    await asyncio.to_thread(probe, "127.0.0.1", port, Security())


async def test_the_holder_of_a_lock_is_known_without_touching_it(tmp_path: Path) -> None:
    database = tmp_path / "gateway.db"
    assert holder(database) is None
    new_store(tmp_path)
    assert holder(database) is None  # the file of the lock is left behind
    async with Store(f"sqlite:///{database}"):
        assert holder(database) is not None
    with Lock(database):
        pass
    assert holder(database) is None
