"""What a change does to months whose charges are made: it names them, and leaves the terms that they were made with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.adapters.importing import HOUSE, Desk, line_of, new_desk

if TYPE_CHECKING:
    from pathlib import Path

NOVEMBER = datetime(2026, 11, 3, tzinfo=UTC)
CLOSED = ["2026-08", "2026-09", "2026-10"]
TERMS = {
    "time_zone": ('"Europe/Zurich"', '"Europe/London"', "time zone", "Europe/Zurich"),
    "currency": ('"CHF"', '"EUR"', "currency", "CHF"),
    "money_quantum": ('"CHF"', '"CHF"\nmoney_quantum = "0.05"', "money quantum", "0.01"),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A house with three closed months."""
    one = new_desk(tmp_path)
    assert one.take(HOUSE).exit_code == 0
    one.close("sonnenhof", CLOSED, NOVEMBER)
    return one


@pytest.mark.parametrize("plan", [(), ("--plan",)])
@pytest.mark.parametrize("key", TERMS)
def test_the_terms_of_closed_months_cannot_be_changed_by_a_file(desk: Desk, key: str, plan: tuple[str, ...]) -> None:
    old, new, name, held = TERMS[key]
    text = HOUSE.replace(old, new, 1)
    (sentence,) = desk.refused(text, *plan)
    line = line_of(text, key) if key in text else 1
    assert sentence == (
        f"{line}: facility[0].{key}: sonnenhof: its {name} cannot change any more, months are closed with {held}: "
        "make a new facility, or correct the word"
    )
    assert not desk.dirty()


@pytest.mark.parametrize("key", TERMS)
def test_the_terms_of_closed_months_cannot_be_changed_by_command(desk: Desk, key: str) -> None:
    value = {"time_zone": "Europe/London", "currency": "EUR", "money_quantum": "0.05"}[key]
    done = desk.submeter("facility", "set", "sonnenhof", f"--{key}", value)
    assert done.exit_code == 3
    assert f"its {TERMS[key][2]} cannot change any more, months are closed with {TERMS[key][3]}" in done.stderr


def test_terms_may_change_while_no_month_is_closed(desk: Desk) -> None:
    assert (
        desk.submeter("facility", "set", "mondhof", "--currency", "EUR", "--time-zone", "Europe/Paris").exit_code == 0
    )
    assert desk.submeter("facility", "set", "sonnenhof", "--grace-hours", "24").exit_code == 0


def test_the_id_of_a_facility_with_closed_months_is_not_taken_again(desk: Desk) -> None:
    desk.close("abend", ["2026-10"], NOVEMBER)
    given = ("--name", "Abend", "--time-zone", "Europe/Rome", "--currency", "EUR", "--owner", "blumer")
    done = desk.submeter("facility", "add", "abend", *given)
    assert (done.exit_code, "choose another one" in done.stderr) == (3, True)


@pytest.mark.parametrize("plan", [(), ("--plan",)])
def test_an_import_names_the_closed_months_that_are_settled_again(desk: Desk, plan: tuple[str, ...]) -> None:
    earlier = HOUSE.replace("exit = 2026-10-14", "exit = 2026-09-20")
    assert "\nclosed months settled again: 2026-09, 2026-10\n" in desk.take(earlier, *plan).stdout


def test_a_command_names_the_closed_months_that_are_settled_again(desk: Desk) -> None:
    done = desk.submeter("--json", "move", "flat-1", "2026-09-20")
    assert json.loads(done.stdout)["settled_again"] == CLOSED[1:]
    since_exchange = "\nclosed months settled again: 2026-08, 2026-09, 2026-10\n"  # of March: nothing was read since
    done = desk.submeter("reading", "add", "power", "import", "2026-10-02T10:00", "8600", "--reason", "at the door")
    assert since_exchange in done.stdout
    done = desk.submeter("reading", "add", "power", "import", "2026-10-20T10:00", "8700", "--reason", "once more")
    assert "\nclosed months settled again: 2026-10\n" in done.stdout
    done = desk.submeter("reading", "void", "power", "import", "2026-10-02T10:00", "--reason", "wrong door")
    assert since_exchange in done.stdout


def test_what_touches_no_closed_month_names_none(desk: Desk) -> None:
    assert "settled again" not in desk.submeter("meter", "set", "power", "--name", "Power").stdout
    assert (
        json.loads(desk.submeter("--json", "move", "flat-2", "2026-11-20", "--to", "blumer").stdout)["settled_again"]
        == []
    )
