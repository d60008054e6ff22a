"""The commands about the wiring, as a person or a program calls them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import click
import pytest

from gateway.cli import group
from simulators.mbus import Line, Slave, captured_telegrams
from tests.scenarios.plant import submeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FRAMES = Path(__file__).parents[1] / "data" / "mbus-frames.jsonl"
ENCRYPTED = "681f1f680801727803491177040e162a101005f755fd4043d8088c4e50b8001f9093cfdd16"
"""54.321 m3 in security mode 5, key 00 01 ... 0f"""
MODEL, SERIAL = "itron-cf-55", "11127667"


def captured() -> dict[str, Any]:
    """A captured telegram of a heat meter with what it says."""
    cases = [json.loads(line) for line in FRAMES.read_text(encoding="utf-8").splitlines()]
    found: dict[str, Any] = next(case for case in cases if case["name"].endswith("itron_cf_55"))
    return found


def piped(text: str, *arguments: str) -> tuple[int, list[str], str]:
    command = [sys.executable, "-m", "gateway.cli", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


async def test_a_frame_is_decoded_into_one_json_object() -> None:
    case = captured()
    code, out, err = await submeter("--json", "decode", "mbus", case["hex"])
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["ok"], found["kind"]) == (True, "variable")
    assert found["header"] == case["header"]
    assert found["records"] == case["records"]


def test_frames_from_standard_input_give_one_line_each_and_3_if_any_failed() -> None:
    good = captured()["hex"]
    code, lines, err = piped(f"{good}\n\n6803\nxyz\n{good.upper()}\n", "--json", "decode", "mbus", "-")
    assert (code, err) == (3, "")
    found = [json.loads(line) for line in lines]
    assert [each["ok"] for each in found] == [True, False, False, True]
    assert found[2]["error"] == "'xyz' is not hex; write two digits 0-9 a-f for each byte"
    assert found[0] == found[3]


def test_an_encrypted_frame_is_decoded_with_the_key_in_a_file(tmp_path: Path) -> None:
    key = tmp_path / "water.key"
    key.write_text("000102030405060708090a0b0c0d0e0f\n")
    text = f"{ENCRYPTED}\n{captured()['hex']}\n"
    code, lines, err = piped(text, "--json", "decode", "mbus", "-", "--key", str(key))
    assert (code, err) == (0, "")
    assert [json.loads(line)["records"][0]["value"] for line in lines] == ["54.321", "11127667"]

    code, lines, err = piped(text, "--json", "decode", "mbus", "-", "--key", str(tmp_path / "none"))
    assert (code, [json.loads(line) for line in lines]) == (3, [{"ok": False, "error": err.rstrip("\n")}])
    assert err.endswith("cannot be read (No such file or directory); name a file with the key in hex digits\n")

    code, lines, _ = piped(f"{ENCRYPTED}\n", "--json", "decode", "modbus", "-", "--key", str(key))
    assert code == 3
    assert "leave the key out" in lines[0]


def test_the_reader_of_the_output_may_leave() -> None:
    command = f'"{sys.executable}" -m gateway.cli --json decode mbus - | head -n 1'
    text = f"{captured()['hex']}\n" * 2000
    done = subprocess.run(["bash", "-c", command], input=text, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_an_interrupted_command_ends_with_130() -> None:
    command = [sys.executable, "-m", "gateway.cli", "decode", "mbus", "-"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("00\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith("refused")
        for _ in range(10):  # a signal between two reads is seen with the next: one presses again
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):  # its input stays open: its end would be another way to end
                process.wait(timeout=2)
                break
        _, err = process.communicate()
    assert (process.returncode, err.strip()) == (130, "")


async def test_a_person_reads_header_and_records_line_by_line() -> None:
    code, out, _ = await submeter("decode", "mbus", captured()["hex"])
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("variable: id ")
    assert len(lines) == 1 + len(captured()["records"])


async def test_a_malformed_frame_is_one_sentence_and_3() -> None:
    code, out, err = await submeter("decode", "mbus", "680303")
    assert (code, err) == (3, "")
    assert out.startswith("refused: ")
    assert out.count("\n") == 1


async def test_an_unknown_protocol_is_refused_with_those_that_are_there() -> None:
    answer = await submeter("decode", "knx", "00")
    assert answer == (3, "", "no driver 'knx' is installed; installed are: mbus, modbus\n")


@pytest.mark.parametrize("arguments", [["fly"], ["--fast", "check"], ["read"], ["check", "--deep"]])
async def test_an_unknown_verb_or_option_ends_with_2(arguments: list[str]) -> None:
    code, out, err = await submeter(*arguments)
    assert (code, out) == (2, "")
    assert "Usage: " in err
    assert "Traceback" not in err


async def test_the_version_is_printed() -> None:
    code, out, _ = await submeter("--version")
    assert code == 0
    assert out[0].isdigit()


async def test_help_names_every_command() -> None:
    code, out, _ = await submeter("--help")
    assert code == 0
    assert {"check", "decode", "migrate", "read", "run"} <= {
        line.split()[0] for line in out.splitlines() if line.split()
    }


@pytest.fixture
async def heat() -> AsyncIterator[tuple[Slave, str]]:
    """A meter on a line, and the settings that wire it."""
    slave = Slave(address=1, captured=captured_telegrams()[MODEL], serial=SERIAL, counts={})
    line = Line([slave])
    port = await line.start()
    text = (
        'site = "s"\ngateway = "g"\nstore = "sqlite:///gateway.db"\n[[bus]]\nid = "mbus-1"\ndriver = "mbus"\n'
        f'host = "127.0.0.1"\nport = {port}\nbaud = 9600\nlatency = 1.0\npoll = "1h"\n[[bus.meter]]\nid = "heat-01"\n'
        f'model = "{MODEL}"\naddress = 1\nserial = "{SERIAL}"\n'
    )
    yield slave, text
    await line.close()


def settings_file(folder: Path, text: str) -> str:
    path = folder / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


async def test_a_meter_is_read_now(tmp_path: Path, heat: tuple[Slave, str]) -> None:
    config = settings_file(tmp_path, heat[1])
    code, out, err = await submeter("--config", config, "--json", "read", "heat-01", "--raw")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["meter"], found["serial"], found["status"]) == ("heat-01", SERIAL, 0)
    assert {each["register"] for each in found["registers"]} >= {"heat", "volume"}
    assert bytes.fromhex(found["raw"])[0] == 0x68
    code, out, _ = await submeter("--config", config, "read", "heat-01")
    assert out.splitlines()[0] == f"heat-01: serial {SERIAL}, status 0"
    assert any(line.startswith("  heat: ") for line in out.splitlines())
    heat[0].status = 0x14
    code, out, _ = await submeter("--config", config, "read", "heat-01")
    assert out.splitlines()[0] == f"heat-01: serial {SERIAL}, status 20 (power low, temporary error)"
    code, out, _ = await submeter("--config", config, "--json", "read", "heat-01")
    assert json.loads(out)["status_words"] == ["power low", "temporary error"]


async def test_a_silent_meter_ends_with_4_and_one_sentence(tmp_path: Path, heat: tuple[Slave, str]) -> None:
    heat[0].fault = "silence"
    code, out, err = await submeter("--config", settings_file(tmp_path, heat[1]), "read", "heat-01")
    assert (code, out, err.count("\n")) == (4, "", 1)


async def test_a_line_that_refuses_ends_with_4_and_one_sentence(tmp_path: Path, heat: tuple[Slave, str]) -> None:
    text = "\n".join("port = 1" if line.startswith("port") else line for line in heat[1].splitlines())
    code, out, err = await submeter("--config", settings_file(tmp_path, text), "read", "heat-01")
    assert (code, out, err.count("\n")) == (4, "", 1)


async def test_an_answer_that_cannot_be_believed_ends_with_1_and_one_sentence(
    tmp_path: Path, heat: tuple[Slave, str]
) -> None:
    heat[0].serial = "87654321"
    code, out, err = await submeter("--config", settings_file(tmp_path, heat[1]), "read", "heat-01")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "87654321" in err


async def test_an_unknown_meter_is_refused_with_those_that_are_there(tmp_path: Path, heat: tuple[Slave, str]) -> None:
    answer = await submeter("--config", settings_file(tmp_path, heat[1]), "read", "heat-02")
    assert answer == (3, "", "no meter 'heat-02' in the settings; there are: heat-01\n")


async def test_check_says_ok_or_every_mistake_also_as_json(tmp_path: Path, heat: tuple[Slave, str]) -> None:
    config = settings_file(tmp_path, heat[1])
    assert await submeter("--config", config, "check") == (0, f"{config}: ok (lines: 1, meters: 1)\n", "")
    assert await submeter("--config", config, "--json", "check") == (
        0,
        '{"ok": true, "problems": [], "warnings": []}\n',
        "",
    )
    settings_file(tmp_path, heat[1].replace('site = "s"', "site = 1"))
    code, out, err = await submeter("--config", config, "--json", "check")
    (problem,) = json.loads(out)["problems"]
    assert (problem["file"], problem["line"], problem["path"]) == (config, 1, "site")
    assert (code, err) == (3, f"{config}:1: site: {problem['text']}\n")


def test_a_settings_file_that_may_not_be_read_is_our_sentence_and_not_clicks() -> None:
    """Root may read everything, so the mistake itself cannot be made in every place where tests run."""
    (config,) = (one for one in group.params if one.name == "config")
    assert isinstance(config.type, click.Path)
    assert not config.type.readable
