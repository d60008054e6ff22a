"""The bus that a person starts by hand."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from simulators.mbus import short_frame
from simulators.mbus.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


async def begin(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.mbus", *arguments, stdout=asyncio.subprocess.PIPE
    )


async def test_it_says_where_it_listens_answers_there_and_ends_with_ctrl_c() -> None:
    process = await begin("--meters", "2", "--baud", "38400", "--kind", "itron-cf-55")
    assert process.stdout is not None
    where = (await process.stdout.readline()).decode()
    numbers = [(await process.stdout.readline()).split()[3][:8].decode() for _ in range(2)]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(where.split()[3].strip(",").split(":")[1]))
    writer.write(short_frame(0x7B, 2))
    answer = await reader.readexactly(83)
    assert answer[10:6:-1].hex() == numbers[1]
    process.send_signal(signal.SIGINT)
    rest = (await process.stdout.read()).decode().splitlines()
    assert rest == [f"{numbers[0]}: 0 reads, 0 selections heard", f"{numbers[1]}: 1 reads, 0 selections heard"]
    assert await process.wait() == 0
    writer.close()


@pytest.mark.parametrize("kind", ["abb-delta", "berg-dz-plus", "sensus-pollutherm"])
async def test_a_meter_of_which_only_the_first_telegram_was_captured_comes_to_an_end(kind: str) -> None:
    process = await begin("--meters", "1", "--baud", "38400", "--kind", kind)
    assert process.stdout is not None
    where = (await process.stdout.readline()).decode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(where.split()[3].strip(",").split(":")[1]))
    answers = []
    for control in (0x7B, 0x5B):
        writer.write(short_frame(control, 1))
        head = await reader.readexactly(4)
        answers.append(head + await reader.readexactly(head[1] + 2))
    assert 0x1F in answers[0][19:]
    assert answers[1][19:-2] == b"\x0f"
    process.send_signal(signal.SIGINT)
    await process.communicate()
    writer.close()


async def test_the_same_seed_makes_the_same_meters_behind_a_device(tmp_path: Path) -> None:
    told = []
    for _ in range(2):
        link = tmp_path / "ttyUSB0"
        process = await begin("--meters", "3", "--unset", "--seed", "5", "--pty", str(link))
        assert process.stdout is not None
        told.append([await process.stdout.readline() for _ in range(4)])
        assert link.is_symlink()
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 0
        assert not link.is_symlink()
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "80000"], "'80000' is no number between 0 and 65535"),
        (["--meters", "x"], "'x' is no number between 0 and 250"),
        (["--lag", "331"], "'331' is no number between 0 and 330"),
        (["--fault", "fire=1"], "'fire' is no fault; choose one of silence"),
        (["--fault", "late=2"], "'2' is no number between 0 and 1"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert told in capsys.readouterr().err


def test_a_place_that_is_not_free_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--pty", str(tmp_path / "none" / "tty")]) == 3
    assert capsys.readouterr().err == (f"{tmp_path}/none/tty: No such file or directory; name a place that is free\n")
