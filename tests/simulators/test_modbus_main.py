"""The Modbus meters that a person starts by hand."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from simulators.modbus import FAULTS, with_crc
from simulators.modbus.__main__ import _bits, _meters, _options, main

if TYPE_CHECKING:
    from pathlib import Path


async def begin(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.modbus", *arguments, stdout=asyncio.subprocess.PIPE
    )


@pytest.mark.parametrize(
    ("framing", "asked", "answer"),
    [
        ([], bytes.fromhex("000700000006 02 03 9c40 0002"), bytes.fromhex("000700000007 02 03 04") + b"SunS"),
        (["--rtu"], with_crc(bytes.fromhex("02 03 9c40 0002")), with_crc(bytes.fromhex("02 03 04") + b"SunS")),
    ],
    ids=["tcp", "rtu"],
)
async def test_it_says_where_it_listens_answers_there_and_ends_with_ctrl_c(
    framing: list[str], asked: bytes, answer: bytes
) -> None:
    process = await begin("--meters", "2", "--kind", "sunspec-203", *framing)
    assert process.stdout is not None
    where = (await process.stdout.readline()).decode()
    assert "import 3:40116" in [(await process.stdout.readline()).decode() for _ in range(2)][1]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(where.split()[3].strip(";").split(":")[1]))
    writer.write(asked)
    assert await reader.readexactly(len(answer)) == answer
    process.send_signal(signal.SIGINT)
    rest = (await process.stdout.read()).decode().splitlines()
    assert [line.split(",")[0] for line in rest] == ["unit 1: 0 requests", "unit 2: 1 requests"]
    assert await process.wait() == 0
    writer.close()


async def test_a_device_comes_and_goes_with_it(tmp_path: Path) -> None:
    link = tmp_path / "ttyUSB0"
    process = await begin("--meters", "1", "--pty", str(link), "--kind", "eastron-sdm630")
    assert process.stdout is not None
    assert str(link) in (await process.stdout.readline()).decode()
    assert link.is_symlink()
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "80000"], "'80000' is no number between 0 and 65535"),
        (["--meters", "248"], "'248' is no number between 0 and 247"),
        (["--fault", "fire=1"], "'fire' is no fault; choose one of silence"),
        (["--kind", "abacus"], "invalid choice: 'abacus'"),
        (["--late", "-1"], "'-1' is no number between 0 and 3600"),
        (["--turnaround", "nan"], "'nan' is no number between 0 and 3600"),
        (["--parity", "mark"], "invalid choice: 'mark'"),
        (["--fault", "late=0.6", "--fault", "close=0.6"], "add up to more than 1"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert told in capsys.readouterr().err


def test_a_place_that_is_not_free_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--pty", str(tmp_path / "none" / "tty")]) == 3
    assert capsys.readouterr().err == (f"{tmp_path}/none/tty: No such file or directory; name a place that is free\n")


@pytest.mark.parametrize(
    ("arguments", "baud"),
    [(["--pty", "x"], 9600), (["--pty", "x", "--baud", "19200"], 19200), (["--rtu", "--baud", "19200"], None)],
)
def test_meters_at_a_serial_device_are_deaf_at_another_speed(arguments: list[str], baud: int | None) -> None:
    assert {unit.baud for unit in _meters(_options(arguments))} == {baud}


@pytest.mark.parametrize(
    ("arguments", "bits"),
    [
        ([], 11),
        (["--parity", "even"], 11),
        (["--parity", "none"], 10),
        (["--stopbits", "2"], 11),
        (["--parity", "odd", "--stopbits", "2"], 12),
    ],
)
def test_parity_and_stop_bits_say_how_long_an_octet_is(arguments: list[str], bits: int) -> None:
    assert _bits(_options(arguments)) == bits


def test_faults_counters_that_roll_over_and_their_times_are_set_from_the_command_line() -> None:
    [unit] = _meters(
        _options(
            [
                *("--meters", "1", "--kind", "carlo-gavazzi-em340", "--wrap", "2", "--late", "0.3", "--boot", "5"),
                *("--code", "11", "--fault", "exception"),
            ]
        )
    )
    assert (unit.late, unit.boot, unit.code) == (0.3, 5.0, 11)
    assert unit.answer(bytes.fromhex("03 0034 0002")) == bytes.fromhex("03 04 fffe 7fff")
    unit.advance(2)
    assert unit.answer(bytes.fromhex("03 0034 0002")) == bytes.fromhex("03 04 0000 0000")
    reply = unit.hear(bytes.fromhex("03 0034 0002"), 0.0)
    assert reply is not None
    assert reply.pdu == bytes.fromhex("83 0b")


def test_the_help_says_what_every_fault_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    told = capsys.readouterr().out.split("faults, as a part of the answers:")[1]
    assert all(fault in told for fault in FAULTS)
