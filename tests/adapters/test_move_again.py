"""A move that was entered with the wrong day is put right by the same command with the right one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.adapters.importing import HOUSE, Desk, new_desk

if TYPE_CHECKING:
    from pathlib import Path

OPEN = HOUSE.replace("exit = 2026-10-14\n", "")
ENTERED = "2026-10-15"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A house in which immo-ag has taken flat-1 over from blumer."""
    one = new_desk(tmp_path)
    assert one.take(OPEN).exit_code == 0
    assert one.submeter("move", "flat-1", ENTERED, "--to", "immo-ag").exit_code == 0
    return one


def days(desk: Desk) -> dict[str, tuple[str, str | None]]:
    stays = json.loads(desk.submeter("--json", "occupancy", "list").stdout)
    return {one["user"]: (one["entry"], one.get("exit")) for one in stays}


@pytest.mark.parametrize(
    ("day", "last", "said"),
    [
        (
            "2026-10-20",
            "2026-10-19",
            "immo-ag enters flat-1 on 2026-10-20 instead of 2026-10-15, blumer stays until 2026-10-19",
        ),
        ("2026-10-10", "2026-10-09", "immo-ag enters flat-1 on 2026-10-10 instead of 2026-10-15"),
    ],
)
def test_the_boundary_is_shifted_in_one_change(desk: Desk, day: str, last: str, said: str) -> None:
    desk.close("sonnenhof", ["2026-09", "2026-10"], datetime(2026, 11, 3, tzinfo=UTC))
    done = desk.submeter("move", "flat-1", day, "--to", "immo-ag")
    assert done.exit_code == 0, done.output
    told = done.stdout.splitlines()
    assert told[2:4] == [said, "closed months settled again: 2026-10"]
    assert told[-1] == "0 added, 2 changed, 0 unchanged"
    assert days(desk) == {"blumer": ("2026-01-01", last), "immo-ag": (day, None)}


def test_the_sentence_is_also_json(desk: Desk) -> None:
    told = json.loads(desk.submeter("--json", "move", "flat-1", "2026-10-20", "--to", "immo-ag").stdout)
    assert (len(told["changes"]), told["said"][:14]) == (2, "immo-ag enters")


def test_the_same_day_again_and_a_stay_after_a_vacancy_are_not_shifted(desk: Desk) -> None:
    again = desk.submeter("move", "flat-1", ENTERED, "--to", "immo-ag")
    assert (again.exit_code, "is there on 2026-10-15 already" in again.stderr) == (3, True)
    assert desk.submeter("move", "flat-2", "2026-05-01", "--to", "blumer").exit_code == 0
    first = desk.submeter("move", "flat-2", "2026-06-01", "--to", "blumer")
    assert (first.exit_code, "is there on 2026-06-01 already" in first.stderr) == (3, True)


def test_what_a_later_move_has_ended_is_not_shifted(desk: Desk) -> None:
    assert desk.submeter("move", "flat-1", "2026-12-01").exit_code == 0
    assert desk.submeter("move", "flat-1", "2026-10-20", "--to", "immo-ag").exit_code == 3
