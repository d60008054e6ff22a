"""What `make bench` prints and writes, by figures that are not measured."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from benches import modbus_thingsboard
from benches.__main__ import INTERRUPTED, MISSED, REACHED, REFUSED, main
from benches.catalogue import BENCHES
from benches.figure import Figure, UnmeasurableError

if TYPE_CHECKING:
    from pathlib import Path

    from benches.figure import Bench


def fake(name: str, value: float, limit: float = 80, *, at_least: bool = False) -> Bench:
    async def measure(folder: Path) -> Figure:
        assert not list(folder.iterdir())
        peers = {"demo": value - 1}
        return Figure(name=name, unit="MB", value=value, limit=limit, at_least=at_least, peers=peers, note="VmHWM")

    return measure


async def unmeasurable(_: Path) -> Figure:
    message = "there is no loop device here"
    raise UnmeasurableError(message)


async def interrupted(_: Path) -> Figure:
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "build" / "bench.json"


def test_a_figure_that_reaches_its_limit_is_ok_in_the_table_and_in_the_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main({"rss_mb": fake("rss_mb", 77.25)}, "", file) == REACHED
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["figure", "value", "limit", "unit", "beside", "it"]
    assert row.split() == ["rss_mb", "77.2", "<=", "80", "MB", "ok", "demo", "76.2;", "VmHWM"]
    entry = {"value": 77.25, "unit": "MB", "limit": 80.0, "ok": True, "peers": {"demo": 76.25}, "note": "VmHWM"}
    assert json.loads(file.read_bytes()) == {"rss_mb": entry}


@pytest.mark.parametrize(("value", "at_least"), [(80.1, False), (79.9, True)])
def test_a_figure_that_misses_its_limit_ends_with_1(
    file: Path, capsys: pytest.CaptureFixture[str], value: float, *, at_least: bool
) -> None:
    assert (
        main({"good": fake("good", 80, at_least=at_least), "bad": fake("bad", value, at_least=at_least)}, "", file)
        == MISSED
    )
    assert "MISSED" in capsys.readouterr().out
    assert [each["ok"] for each in json.loads(file.read_bytes()).values()] == [True, False]


def test_a_figure_that_cannot_be_measured_says_why_and_is_not_ok(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main({"written": unmeasurable}, "", file) == MISSED
    assert "NOT MEASURED  there is no loop device here" in capsys.readouterr().out
    found = json.loads(file.read_bytes())["written"]
    assert (found["value"], found["ok"], found["note"]) == (None, False, "there is no loop device here")


def test_only_takes_some_and_an_unknown_name_is_refused_with_those_there_are(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main({"one": fake("one", 1), "two": unmeasurable, "three": fake("three", 3)}, "three, one", file) == REACHED
    assert list(json.loads(file.read_bytes())) == ["three", "one"]
    before = file.read_bytes()
    capsys.readouterr()
    assert main({"one": fake("one", 1), "two": fake("two", 2)}, "one,nonsense", file) == REFUSED
    assert capsys.readouterr() == ("", "ONLY=one,nonsense: there is no figure nonsense; there are: one, two.\n")
    assert file.read_bytes() == before


def test_ctrl_c_leaves_what_was_measured(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main({"one": fake("one", 1), "two": interrupted, "three": fake("three", 3)}, "", file) == INTERRUPTED
    assert list(json.loads(file.read_bytes())) == ["one"]
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("one")
    assert f"Interrupted: 1 of 3 figures are in {file}." in err


async def test_a_peer_that_is_not_installed_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modbus_thingsboard, "PROGRAM", tmp_path / "thingsboard-gateway")
    with pytest.raises(UnmeasurableError, match="thingsboard-gateway is not installed"):
        await modbus_thingsboard.measure(tmp_path, 1, warm=1, seconds=1)
    assert not list(tmp_path.iterdir())


def test_each_figure_of_the_catalogue_is_named_as_it_is_listed() -> None:
    assert set(BENCHES) >= {
        "ready_s",
        "rss_mb",
        "written_bytes_per_reading",
        "outbox_per_s",
        "settle_vs_read",
        "tap_feedback_p95_ms",
    }
