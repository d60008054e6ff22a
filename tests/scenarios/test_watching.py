"""`submeter read` beside a meter: its words, and its values every second."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from simulators.mbus import Line as MBusLine
from simulators.mbus import Slave, captured_telegrams
from simulators.modbus import Line, Unit, layouts_of_models
from tests.scenarios.plant import PATIENCE, begin, submeter

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

SHORT = "timeout = 1.0"
METER = """\
site = "s"
gateway = "g"
store = "sqlite:///gateway.db"

[[bus]]
id = "b"
driver = "{driver}"
poll = "15min"
host = "127.0.0.1"
port = {port}
{patience}

[[bus.meter]]
id = "flat-1"
model = "{model}"
address = 1
"""


def em24() -> Unit:
    layout = layouts_of_models()["carlo-gavazzi-em24-e1"]
    return Unit(address=1, layout=layout, counts={"import": 70000, "export": 5}, serial="BX0450012345K")


def settings(folder: Path, driver: str, model: str, port: int, patience: str = "") -> str:
    file = folder / "gateway.toml"
    meter = METER.format(driver=driver, model=model, port=port, patience=patience or PATIENCE[driver])
    file.write_text(meter, encoding="utf-8")
    return str(file)


async def test_the_words_of_every_register_are_shown_with_their_value(tmp_path: Path) -> None:
    line = Line([em24()])
    config = settings(tmp_path, "modbus", "carlo-gavazzi-em24-e1", await line.start())

    code, out, err = await submeter("--config", config, "read", "flat-1", "--raw")
    _, as_json, _ = await submeter("--config", config, "--json", "read", "flat-1", "--raw")
    await line.close()

    assert code == 0, err
    assert "register: name import, function 3, address 52, words 1170 0001, value 7000.0 kWh" in out
    assert "identity: name identification code, function 3, address 11, words 0670, value as the model says" in out
    assert "serial: name serial number, function 3, address 20480, words" in out
    assert "value BX0450012345K" in out
    told = {each["name"]: each for each in json.loads(as_json)["frames"]}
    assert (told["import"]["words"], told["import"]["value"]) == (["1170", "0001"], "7000.0 kWh")


async def test_words_that_give_no_value_are_shown_all_the_same(tmp_path: Path) -> None:
    meter = em24()
    meter.missing = {"import", "export"}
    line = Line([meter])
    config = settings(tmp_path, "modbus", "carlo-gavazzi-em24-e1", await line.start())

    code, out, err = await submeter("--config", config, "read", "flat-1", "--raw")
    await line.close()

    assert code == 1
    assert "name import, function 3, address 52, words ffff 7fff, problem" in out
    assert "name export, function 3, address 78, words ffff 7fff, problem" in out
    assert "unit 1 gives no value for register import" in err


async def test_a_register_without_a_value_is_named_beside_the_others(tmp_path: Path) -> None:
    meter = em24()
    meter.missing = {"export"}
    line = Line([meter])
    config = settings(tmp_path, "modbus", "carlo-gavazzi-em24-e1", await line.start())

    code, out, err = await submeter("--config", config, "read", "flat-1", "--raw")
    _, as_json, _ = await submeter("--config", config, "--json", "read", "flat-1")
    process = await begin("--config", config, "read", "flat-1", "--watch")
    watched = await line_of(process)
    await interrupted(process)
    await line.close()

    assert (code, err) == (0, "")
    assert "  import: 7000.0 kWh  (1-0:1.8.0)\n  export: no value, not available (0x7fffffff)\n" in out
    assert "name export, function 3, address 78, words ffff 7fff, problem" in out
    told = json.loads(as_json)
    assert [each["register"] for each in told["registers"]] == ["import"]
    assert told["without"] == [{"register": "export", "why": "not available (0x7fffffff)"}]
    assert watched[10:] == "import 7000.0 kWh  export no value\n"


async def test_a_meter_that_is_silent_has_no_words(tmp_path: Path) -> None:
    line = Line([])
    config = settings(tmp_path, "modbus", "eastron-sdm630", await line.start(), SHORT)

    code, out, err = await submeter("--config", config, "read", "flat-1", "--raw")
    await line.close()

    assert (code, out) == (4, "")
    assert "unit 1 gives no answer" in err


async def line_of(process: asyncio.subprocess.Process, part: str = "") -> str:
    """The next line with this part: before it may stand what was read before the test had its turn."""
    assert process.stdout is not None
    while part not in (line := (await process.stdout.readline()).decode()):
        assert line, "it has ended"
    return line


async def interrupted(process: asyncio.subprocess.Process) -> tuple[int | None, bytes]:
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    return process.returncode, err


async def test_a_watched_meter_shows_what_it_has_counted_since(tmp_path: Path) -> None:
    meter = em24()
    line = Line([meter])
    config = settings(tmp_path, "modbus", "carlo-gavazzi-em24-e1", await line.start())
    process = await begin("--config", config, "read", "flat-1", "--watch")

    first = await line_of(process)
    meter.advance(3)
    second = await line_of(process, "(+0.3)")
    ended = await interrupted(process)
    await line.close()

    assert first[10:] == "import 7000.0 kWh  export 0.5 kWh\n"
    assert second[10:] == "import 7000.3 kWh (+0.3)  export 0.8 kWh (+0.3)\n"
    assert ended == (130, b"")


async def test_a_watched_meter_that_falls_silent_is_told_and_asked_again(tmp_path: Path) -> None:
    meter = em24()
    line = Line([meter])
    config = settings(tmp_path, "modbus", "carlo-gavazzi-em24-e1", await line.start())
    process = await begin("--config", config, "--json", "read", "flat-1", "--watch")
    assert process.stderr is not None

    first = json.loads(await line_of(process))
    meter.fault = "silence"
    told = (await process.stderr.readline()).decode()
    meter.fault = None
    meter.advance(-2)
    second = json.loads(await line_of(process, "-0.2"))
    ended = await interrupted(process)
    await line.close()

    assert [each["difference"] for each in first["registers"]] == [None, None]
    assert "flat-1: unit 1 gives no answer" in told
    assert [each["difference"] for each in second["registers"]] == ["-0.2", "-0.2"]
    assert ended[0] == 130


@pytest.mark.parametrize("option", [("--bus", "b"), ("--model", "new.toml")])
async def test_only_a_meter_of_the_settings_is_watched(tmp_path: Path, option: tuple[str, str]) -> None:
    config = settings(tmp_path, "mbus", "itron-cf-55", 1)

    code, _, err = await submeter("--config", config, "read", "flat-1", "--watch", *option)

    assert (code, err) == (3, "--watch follows a meter of the settings; leave --bus and --model out\n")


async def test_an_mbus_meter_is_watched_and_its_battery_is_told(tmp_path: Path) -> None:
    heat = captured_telegrams()["itron-cf-55"]
    line = MBusLine([Slave(address=1, captured=heat, serial="11127667")])
    config = settings(tmp_path, "mbus", "itron-cf-55", await line.start())
    process = await begin("--config", config, "read", "flat-1", "--watch")

    shown = [await line_of(process), await line_of(process)]
    code, err = await interrupted(process)
    await line.close()

    assert "(+" not in shown[0]
    assert "(+0" in shown[1]
    assert code == 130
    assert b"the battery of flat-1 bears" in err


async def test_a_modbus_meter_is_read_by_its_address_and_a_model_before_it_is_in_the_settings(tmp_path: Path) -> None:
    stranger = em24()
    stranger.address = 7
    line = Line([em24(), stranger])
    config = settings(tmp_path, "modbus", "carlo-gavazzi-em24-e1", await line.start())
    stranger.counts["import"] = 81234
    at = ("--config", config, "read", "7", "--bus", "b", "--model", "carlo-gavazzi-em340")

    code, out, err = await submeter(*at)
    _, raw, _ = await submeter(*at, "--raw")
    process = await begin(*at, "--watch")
    first = await line_of(process)
    stranger.advance(5)
    second = await line_of(process, "(+0.5)")
    ended = await interrupted(process)
    await line.close()

    assert code == 0, err
    assert "status 0\n  import: 8123.4 kWh  (1-0:1.8.0)\n" in out
    assert "register: name import, function 3, address 52, words 3d52 0001, value 8123.4 kWh" in raw
    assert first[10:] == "import 8123.4 kWh  export 0.5 kWh\n"
    assert "(+0.5)" in second
    assert ended == (130, b"")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("7", "--bus", "b"), "--model NAME is missing: `submeter scan modbus b` says which one it may be\n"),
        (("x7", "--bus", "b", "--model", "abb-b23"), "'x7' is no address on a modbus line; write a number such as 1\n"),
        (("300", "--bus", "b", "--model", "abb-b23"), "address: 300 is too large; write 255 or less\n"),
        (("7", "--bus", "b", "--model", "abb-b32"), "no Modbus model 'abb-b32'; write e.g. abb-b23"),
        (("7", "--bus", "c", "--model", "abb-b23"), "no line 'c' in the settings; there are: b\n"),
        (("flat-1", "--model", "abb-b23"), "the model of flat-1 stands in the settings; leave --model out"),
    ],
)
async def test_what_names_no_meter_of_a_modbus_line_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    config = settings(tmp_path, "modbus", "eastron-sdm630", 1)

    code, out, err = await submeter("--config", config, "read", *arguments)

    assert (code, out) == (3, "")
    assert err.startswith(text)
    assert err.count("\n") == 1
