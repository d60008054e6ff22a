"""How much a register can count in a day is said by its fuses, its size or its power as well as by a number."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.units import Scaled
from gateway.service.property import book_of
from tests.adapters.importing import HOUSE, Desk, new_desk

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.metering import Register

LIFT = HOUSE[HOUSE.index('[[register]]\nid = "power-lift"') :].partition("\n\n")[0]
NUMBER = 'max_per_day = "100"'
FORMS = [
    ("fuse", "3x63 A", "electricity", "kWh", "1836.1728"),
    ("pipe", "Q3 2.5", "cold_water", "m3", "75"),
    ("power", "15 kW", "heating", "kWh", "450"),
    ("max_per_day", "100", "electricity", "kWh", "100"),
]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    one = new_desk(tmp_path)
    assert one.take(HOUSE).exit_code == 0
    return one


def kept(desk: Desk) -> dict[str, Any]:
    """The register as it is kept and shown."""
    value: dict[str, Any] = json.loads(desk.submeter("--json", "register", "show", "power-lift").stdout)
    return value


def known(desk: Desk) -> Register:
    return book_of(desk.rows()).registers["power-lift"]


def limits(value: dict[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in ("fuse", "pipe", "power", "max_per_day") if key in value}


@pytest.mark.parametrize(("key", "text", "source", "unit", "most"), FORMS)
def test_each_form_is_kept_shown_and_exported_as_given_and_counts_as_computed(
    desk: Desk, key: str, text: str, source: str, unit: str, most: str
) -> None:
    options = ("--energy-source", source, "--unit", unit, f"--{key.replace('_', '-')}", text)
    assert desk.submeter("register", "set", "power-lift", *options).exit_code == 0

    assert limits(kept(desk)) == {key: text}
    assert f"  {key}: {text}" in desk.submeter("register", "show", "power-lift").stdout.splitlines()
    exported = tomllib.loads(desk.submeter("export").stdout)
    assert [limits(one) for one in exported["register"] if one["id"] == "power-lift"] == [{key: text}]
    register = known(desk)
    assert (register.max_per_day, register.limit) == (Scaled.parse(most), key)


def test_a_form_in_a_file_takes_the_place_of_the_number_and_the_other_way_round(desk: Desk) -> None:
    for told, shown in (('fuse = "3x25 A"', {"fuse": "3x25 A"}), (NUMBER, {"max_per_day": "100"})):
        (change,) = desk.plan(LIFT.replace(NUMBER, told))["changes"]
        assert limits(change["after"]) == shown
        assert desk.take(LIFT.replace(NUMBER, told)).exit_code == 0
        assert limits(kept(desk)) == shown


def test_the_same_amount_said_otherwise_settles_nothing_again(desk: Desk) -> None:
    assert desk.submeter("register", "set", "power-lift", "--power", "10 kW").exit_code == 0
    desk.close("sonnenhof", ["2026-10"], datetime(2026, 11, 3, tzinfo=UTC))
    told = json.loads(desk.submeter("--json", "register", "set", "power-lift", "--max-per-day", "300").stdout)
    assert (limits(told["changes"][0]["after"]), told["settled_again"]) == ({"max_per_day": "300"}, [])
    told = json.loads(desk.submeter("--json", "register", "set", "power-lift", "--power", "11 kW").stdout)
    assert told["settled_again"]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            "",
            ': how much it can count in a day is missing; write e.g. fuse = "3x63 A", pipe = "Q3 2.5", power',
        ),
        (f'{NUMBER}\nfuse = "3x63 A"', ".max_per_day: fuse and max_per_day say the same thing; keep one of them"),
        ('power = "15 kW"\nfuse = "3x63 A"', ": fuse and power say the same thing; keep one of them"),
        ('fuse = "63 A"', '.fuse: "63 A" is no phases and rated current; write e.g. "3x63 A"'),
        ('pipe = "Q3 2.5"', ".pipe: is for registers in m3 or l, not kWh; write fuse, power or max_per_day instead"),
        ("power = 15", ".power: 15 "),
    ],
)
def test_a_mistake_in_the_form_is_one_sentence(desk: Desk, told: str, said: str) -> None:
    (line,) = desk.refused(LIFT.replace(NUMBER, told))
    assert f"register[0]{said}" in line
