from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from gateway import pepper
from gateway.cli import COMMANDS, KINDS
from tests.adapters.importing import Desk, new_desk
from tests.adapters.served import serving

MANUAL = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
LINES = [shlex.split(line)[1:] for line in MANUAL.splitlines() if line.startswith("    submeter ")]
ELSEWHERE = {
    "check",
    "decode",
    "explain",
    "import",
    "mbus",
    "migrate",
    "read",
    "run",
    "backup",
    "restore",
    "doctor",
    "scan",
    "simulate",
}
"""commands that other pages are about"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    one = new_desk(tmp_path)
    pepper.create(tmp_path / "gateway.toml")
    return one


def test_every_line_of_the_manual_works_in_its_order(desk: Desk) -> None:
    for line in LINES:
        done = desk.submeter(*line)
        assert done.exit_code == 0, (line, done.output)


def test_the_same_lines_work_through_the_socket(desk: Desk) -> None:
    with serving(desk):
        for line in LINES:
            done = desk.submeter(*line)
            assert done.exit_code == 0, (line, done.output)


def test_the_manual_names_every_group_of_the_property_data() -> None:
    assert {line[0] for line in LINES} >= (COMMANDS.keys() - ELSEWHERE - {"register", "occupancy"})
    assert {"register", "link", "owner"} <= {line[0] for line in LINES} & set(KINDS)
