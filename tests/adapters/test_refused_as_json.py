"""Who reads stdout as JSON finds an object there whatever happens; a person finds the sentence on stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.adapters.importing import Desk, new_desk

if TYPE_CHECKING:
    from pathlib import Path

READING = [
    "accruals --facility castle",
    "allocation show --facility castle --energy-source electricity",
    "allocation show --facility castle --energy-source wood",
    "audit --kind nonsense",
    "backup gateway.toml",
    "charges --month 2026-13",
    "charges --point castle",
    "decode nonsense 00",
    "explain zz",
    "explain 0000",
    "point show castle",
    "read castle",
    "restore nothing.db",
]
CHANGING = ["move castle 2026-01-01", "alarm end 5f1c-1 --reason x", "user end castle", "import nothing.toml"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return new_desk(tmp_path_factory.mktemp("desk"))


@pytest.mark.parametrize("line", READING)
def test_a_refusal_is_a_sentence_on_stderr_and_with_json_an_object_on_stdout(
    desk: Desk, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    plain, told = desk.submeter(*line.split()), desk.submeter("--json", *line.split())
    assert (plain.exit_code, plain.stdout) == (3, "")
    assert (told.exit_code, told.stderr) == (3, plain.stderr)
    assert json.loads(told.stdout) == {"ok": False, "error": plain.stderr.rstrip("\n")}


@pytest.mark.parametrize("line", CHANGING)
def test_a_refused_change_names_each_problem_with_its_place(
    desk: Desk, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    plain, told = desk.submeter(*line.split()), desk.submeter("--json", *line.split())
    assert (plain.exit_code, plain.stdout) == (3, "")
    assert (told.exit_code, told.stderr) == (3, plain.stderr)
    found = json.loads(told.stdout)
    assert found["ok"] is False
    assert len(found["problems"]) == len(plain.stderr.splitlines())
    assert all(one["text"] in plain.stderr for one in found["problems"])


def test_settings_that_are_wrong_are_told_both_ways(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    (tmp_path / "gateway.toml").write_text("site = 7\n", encoding="utf-8")
    for line in ("charges", "check"):
        told = desk.submeter("--json", line)
        assert told.exit_code == 3
        assert "site" in told.stderr
        assert json.loads(told.stdout)["ok"] is False
