"""What `submeter doctor` says of lines, meters and their readings."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from click.testing import CliRunner

from gateway import doctor, drivers
from gateway.cli import group
from gateway.clock import SystemClock
from gateway.core.event import Alarm
from gateway.lines import Told
from gateway.ports.health import LineHealth, MeterHealth
from gateway.settings import Settings, load
from gateway.store import Store, StoreView
from simulators.mbus import Line, Slave, captured_telegrams
from tests.adapters.stores import poll, reading
from tests.scenarios.box import MODEL, Box, box
from tests.scenarios.plant import submeter

if TYPE_CHECKING:
    import pytest

__all__ = ["box"]
OTHER = "itron-cf-55"
ALARMS = (
    ("heat-01", "meter_wrong", "address 1: the key does not fit (security mode 5)"),
    ("heat-02", "meter_wrong", "address 2 repeats a telegram instead of sending the next; its answer is not used"),
    ("heat-03", "meter_status", "the meter reports power low; see its manual. What it counts is still billed"),
)


async def test_the_running_gateway_tells_what_its_lines_have_counted(box: Box) -> None:
    async with box.running():
        code, out, err = await submeter("--config", str(box.config), "--json", "doctor")
    assert (code, err) == (1, ""), "no watchdog here"
    (told,) = [each["line"] for each in json.loads(out)["findings"] if each["check"] == "line"]
    (meter,) = told["meters"]
    assert (told["baud"], told["echo"], meter["meter"]) == (1200, False, "power-01")
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


async def test_many_alike_are_one_line_for_people_and_each_one_in_json(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_listening", lambda _: True)
    meters = [f"heat-{number:02}" for number in range(70)]
    silent = [(each, "meter_silent", f"{each} does not answer") for each in meters[:64]]
    wrong = [(each, "meter_wrong", f"{each} is another maker's meter") for each in meters[64:69]]
    odd = [(f"{each}-heat", "reading_implausible", f"garbage of {each}") for each in meters[:6]]
    await heard(box, (*silent, *wrong, *odd), *meters)

    async def told(*options: str) -> str:
        arguments = ["--config", str(box.config), *options, "doctor"]
        return (await asyncio.to_thread(CliRunner().invoke, group, arguments)).stdout

    lines = [each for each in (await told()).splitlines() if each.startswith("FAIL meter") or "garbage" in each]
    assert lines == [
        (
            "FAIL register: 6 registers have readings that cannot be: heat-00-heat, heat-01-heat, heat-02-heat,"
            " heat-03-heat, heat-04-heat and 1 more. heat-00-heat: garbage of heat-00 (all: submeter alarm list)"
        ),
        (
            "FAIL meter: 64 meters of mbus-1 are silent: heat-00, heat-01, heat-02, heat-03, heat-04 and 59 more."
            " heat-00: heat-00 does not answer (all: submeter alarm list)"
        ),
        *(f"FAIL meter {each}: {text}" for each, _, text in wrong),
    ]
    findings = json.loads(await told("--json"))["findings"]
    assert [each["subject"] for each in findings if each["check"] == "meter"] == meters[:69]
    assert [each["text"] for each in findings if each["check"] == "register"] == [text for _, _, text in odd]


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


async def test_an_adapter_that_is_not_there_is_told_before_the_first_read(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_listening", lambda _: True)
    monkeypatch.setattr(doctor, "_not_read_yet", lambda *_: {"power-01": SystemClock().now()})
    device = box.folder / "ttyUSB0"
    box.config.write_text(re.sub(r'host = "127.0.0.1"\nport = \d+\nbaud', f'device = "{device}"\nbaud', box.text))
    loaded = load(box.config, drivers)
    assert isinstance(loaded, Settings)
    (found,) = [each async for each in doctor.examine(loaded) if each.check == "bus"]
    assert not found.well
    assert f"; {device} is not there now; plug the adapter in, or name one that " in found.text
    async with Store(box.url) as store:
        down = Alarm(code="line_down", source="mbus-1", severity="warning", since=SystemClock().now(), text="gone")
        await store.raise_alarm(down)
    (found,) = [each async for each in doctor.examine(loaded) if each.check == "bus"]
    assert "; gone; not read yet" in found.text, "once"
    assert "plug" not in found.text
