"""What `list --json` and `show --json` print is what `import` accepts."""

from __future__ import annotations

import json
import shlex
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import pepper
from gateway.cli import KINDS
from tests.adapters.importing import Desk, new_desk
from tests.broker import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

SONNENHOF = ROOT / "simulators" / "buildings" / "sonnenhof" / "property.toml"
MANUAL = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
LINES = [shlex.split(line)[1:] for line in MANUAL.splitlines() if line.startswith("    submeter ")]


RATE = {
    "id": "r",
    "facility": "f",
    "energy_source": "electricity",
    "title": "Electricity",
    "component": "energy",
    "unit": "kWh",
    "tax": {"category": "Z", "rate": "0", "included": True},
}


def new(folder: Path) -> Desk:
    folder.mkdir()
    desk = new_desk(folder)
    pepper.create(folder / "gateway.toml")
    return desk


def asked(desk: Desk, *arguments: str) -> Any:  # noqa: ANN401 - what JSON holds
    done = desk.submeter("--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def listed(desk: Desk) -> dict[str, Any]:
    return {kind: asked(desk, kind, "list") for kind in KINDS}


def shown(desk: Desk) -> dict[str, Any]:
    return {kind: [asked(desk, kind, "show", one["id"]) for one in rows] for kind, rows in listed(desk).items()}


def take(desk: Desk, tables: Mapping[str, Any]) -> None:
    file = desk.folder / "listed.json"
    file.write_text(json.dumps(tables), encoding="utf-8")
    done = desk.submeter("import", str(file))
    assert done.exit_code == 0, done.output


@pytest.fixture(params=["a whole building", "all that was typed"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    desk = new(tmp_path / "told")
    lines = [["import", str(SONNENHOF)]] if request.param == "a whole building" else LINES
    for line in lines:
        assert desk.submeter(*line).exit_code == 0, line
    return desk


def test_what_is_listed_makes_the_same_book_in_an_empty_store(told: Desk, tmp_path: Path) -> None:
    other = new(tmp_path / "other")
    take(other, listed(told))
    assert listed(other) == listed(told)
    assert other.submeter("export").stdout == told.submeter("export").stdout


def test_what_is_shown_is_what_is_listed(told: Desk) -> None:
    assert shown(told) == listed(told)


DECIMALS = st.decimals(min_value="0.001", max_value="9999", places=3).map(str)
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
DAYS = st.dates(min_value=date(2000, 1, 1), max_value=date(2100, 1, 1)).map(str)
CHANGES = st.lists(DAYS, min_size=1, max_size=4, unique=True).map(sorted)


def dated(days: list[str], values: list[str]) -> list[dict[str, str]]:
    """A first value and one from each day on."""
    return [
        {"value": values[0]},
        *({"from": day, "value": value} for day, value in zip(days, values[1:], strict=False)),
    ]


VALUES = st.builds(dated, CHANGES, st.lists(DECIMALS, min_size=5, max_size=5))
PRICES = st.builds(
    lambda days, prices: [{"from": day, "price": price} for day, price in zip(days, prices, strict=False)],
    CHANGES,
    st.lists(DECIMALS, min_size=4, max_size=4),
)


@given(names=st.lists(NAMES, min_size=5, max_size=5), surface=VALUES, prices=PRICES, days=CHANGES)
@settings(max_examples=20)
def test_any_house_is_listed_as_it_was_told(
    names: list[str], surface: list[dict[str, str]], prices: list[dict[str, str]], days: list[str]
) -> None:
    firm = {"id": "u", "kind": "legal", "company": names[0], "registration": names[1], "address": names[2]}
    house = {
        "user": [firm],
        "facility": [{"id": "f", "name": names[3], "time_zone": "Europe/Zurich", "currency": "CHF"}],
        "owner": [{"id": "o", "user": "u", "facility": "f"}],
        "building": [{"id": "b", "facility": "f", "name": names[4]}],
        "point": [{"id": "p", "building": "b", "name": names[4], "kind": "apartment", "surface": surface}],
        "occupancy": [{"id": "s", "point": "p", "user": "u", "entry": days[0], "exit": days[-1]}],
        "rate": [{**RATE, "prices": prices}],
    }
    with tempfile.TemporaryDirectory() as folder:
        told, other = new(Path(folder) / "told"), new(Path(folder) / "other")
        take(told, house)
        take(other, listed(told))
        assert listed(other) == listed(told)
        assert [one["price"] for one in listed(told)["rate"][0]["prices"]] == [one["price"] for one in prices]
        assert listed(told)["user"] == house["user"]
