"""A mistake in an entry hides none of its other ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.importing import HOUSE, Desk, new_desk

if TYPE_CHECKING:
    from pathlib import Path

NOT_KNOWN = {kind: f"is not known: add a [[{kind}]]" for kind in ("building", "meter", "point", "register", "facility")}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            '[[point]]\nid = "loft"\nbuilding = "haus-z"\nkind = "apartment"\n',
            ["point[3].name: is missing", f"point[3].building: loft: building 'haus-z' {NOT_KNOWN['building']}"],
        ),
        (
            '[[occupancy]]\nid = "occ-9"\npoint = "flat-9"\nentry = 2026-01-01\n',
            ["occupancy[1].user: is missing", f"occupancy[1].point: occ-9: point 'flat-9' {NOT_KNOWN['point']}"],
        ),
        (
            '[[link]]\npoint = "flat-9"\nregister = "lift-9"\n',
            [
                "link[3].id: is missing",
                f"link[3].point: point 'flat-9' {NOT_KNOWN['point']}",
                f"link[3].register: register 'lift-9' {NOT_KNOWN['register']}",
            ],
        ),
        (
            (
                '[[register]]\nid = "r"\nmeter = "power"\nkey = "lift"\nenergy_source = "steam"\nunit = "kWh"\n'
                'resolution = "0.001"\nmax_per_day = "0"\n'
            ),
            ["register[2].energy_source:", "register[2].max_per_day:", "register[2].key: r: register 'lift' of meter"],
        ),
        (
            (
                '[[rate]]\nid = "night"\nfacility = "sonnenhof"\nenergy_source = "electricity"\ncomponent = "energy"\n'
                'unit = "kWh"\nprices = [{ from = 2026-12-01, price = "0.1" }]\n'
                'tax = { category = "S", rate = "8.1" }\n'
            ),
            ["rate[1].title: is missing", "rate[1].tax.included: is missing", "rate[1].prices: night: the price from"],
        ),
    ],
)
def test_what_can_be_read_of_an_entry_is_judged_by_the_whole_book(desk: Desk, entry: str, said: list[str]) -> None:
    found = [line.partition(": ")[2] for line in desk.refused(f"{HOUSE}\n{entry}")]
    assert len(found) == len(said), found
    assert all(any(line.startswith(text) for line in found) for text in said), found


def test_references_to_an_entry_that_lacks_a_name_are_good(desk: Desk) -> None:
    found = desk.refused(HOUSE.replace('name = "Haus A"\n', ""))
    assert len(found) == 1
    assert "building[0].name: is missing" in found[0]
