"""A file that was written before something was recorded takes nothing of it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway import pepper
from tests.adapters.importing import ENTRIES, HOUSE, Desk, line_of, new_desk

if TYPE_CHECKING:
    from pathlib import Path

REMEDY = (
    "is known but not in this file, which is older than what is known: export what is known (submeter export) "
    "and change that"
)
EXCHANGE = (
    *("exchange", "power", "--at", "2026-10-20T10:30", "--serial", "5000"),
    *("--final", "import=9000.5", "--final", "lift=7", "--start", "import=0", "--start", "lift=0.2"),
)
SERIAL = 'name = "Electricity"\n', 'name = "Electricity"\nserial = "4711"\n'
OPEN = HOUSE.replace("exit = 2026-10-14\n", "")
RECORDED = {
    "an exchange": (
        EXCHANGE,
        "exchanges = ",
        [
            f"register[0].exchanges: power-1: the exchange of 2026-10-20 {REMEDY}",
            f"register[1].exchanges: power-lift: the exchange of 2026-10-20 {REMEDY}",
        ],
    ),
    "a later price": (
        ("rate", "set", "electricity", "--price", "0.28", "--from", "2026-12-01"),
        "prices = ",
        [f"rate[0].prices: electricity: the price from 2026-12-01 {REMEDY}"],
    ),
    "a later value": (
        ("point", "set", "flat-1", "--people", "5", "--from", "2026-11-01"),
        "people = ",
        [f"point[0].people: flat-1: the people from 2026-11-01 {REMEDY}"],
    ),
    "a first later value": (
        ("point", "set", "flat-1", "--quotity", "500", "--from", "2026-11-01"),
        'quotity = "600',
        [f"point[0].quotity: flat-1: the quotity from 2026-11-01 {REMEDY}"],
    ),
    "an exit": (
        ("occupancy", "end", "occ-1", "--exit", "2026-10-31"),
        "[[occupancy]]",
        [f"occupancy[0].exit: occ-1: the exit of 2026-10-31 {REMEDY}"],
    ),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path)


@pytest.mark.parametrize("plan", [(), ("--plan",)])
@pytest.mark.parametrize("case", RECORDED)
def test_an_older_file_is_refused(desk: Desk, case: str, plan: tuple[str, ...]) -> None:
    text = OPEN if case == "an exit" else HOUSE
    assert desk.take(text).exit_code == 0
    command, place, sentences = RECORDED[case]
    assert desk.submeter(*command).exit_code == 0
    found = desk.refused(text, *plan)
    assert [line.partition(": ")[2] for line in found] == sentences
    assert found[0].startswith(f"{line_of(text, place)}: ")


def test_the_serial_that_an_exchange_brought_is_not_taken_back(desk: Desk) -> None:
    text = HOUSE.replace(*SERIAL, 1)
    desk.take(text)
    desk.submeter(*EXCHANGE)
    meter = text[text.index("[[meter]]") : text.index("[[register]]")]
    (found,) = desk.refused(meter)
    assert "meter[0].serial: power: the serial 5000, since the exchange of 2026-10-20, is known but not" in found
    assert desk.take(meter.replace('"4711"', '"5000"').replace("Electricity", "Power")).exit_code == 0
    assert len(desk.refused(text)) == 3


def test_what_was_exported_afterwards_is_accepted_and_may_be_changed(desk: Desk) -> None:
    desk.take(HOUSE.replace(*SERIAL, 1))
    for command, _, _ in RECORDED.values():
        assert desk.submeter(*command).exit_code == 0
    now = desk.submeter("export").stdout
    assert desk.take(now).stdout.endswith(f"0 added, 0 changed, {ENTRIES} unchanged\n")
    changed = now.replace('price = "0.28"', 'price = "0.29"').replace('final = "7"', 'final = "8"')
    assert desk.take(changed).stdout.endswith(f"0 added, 2 changed, {ENTRIES - 2} unchanged\n")


def test_a_key_that_the_file_leaves_out_keeps_its_value(desk: Desk) -> None:
    desk.take(HOUSE)
    for command in (
        ("point", "set", "flat-2", "--surface", "40"),
        ("facility", "set", "sonnenhof", "--grace-hours", "24", "--money-quantum", "0.05"),
        ("user", "set", "immo-ag", "--language", "fr"),
        ("rate", "end", "electricity", "--until", "2027-01-01"),
        ("link", "end", "lift-2", "--until", "2027-01-01"),
        ("register", "set", "power-lift", "--modulus", "100000"),
    ):
        assert desk.submeter(*command).exit_code == 0
    before = desk.rows()
    assert desk.take(HOUSE).stdout == f"0 added, 0 changed, {ENTRIES} unchanged\n"
    assert desk.rows() == before


def test_a_badge_that_is_blocked_stays_so_and_keeps_its_digest(desk: Desk) -> None:
    pepper.create(desk.folder / "gateway.toml")
    told = '\n[[badge]]\nid = "b"\nuser = "blumer"\npoint = "flat-1"\naccess_points = ["laundry"]\n'
    given = told + 'identifier = "04A1B2C3"\n'
    assert desk.take(HOUSE + given).exit_code == 0
    desk.submeter("badge", "set", "b", "--state", "blocked")
    before = desk.rows()
    for text in (told, given):
        assert desk.take(text).stdout == "0 added, 0 changed, 1 unchanged\n"
    assert desk.rows() == before


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ('facility = "sonnenhof"\n\n[[owner]]', 'building = "haus-a"\n\n[[owner]]', "has no owner"),
        (
            'kind = "legal"\ncompany = "Immo AG"\nregistration = "CHE-1"',
            'kind = "natural"\nfirst_name = "I"\nlast_name = "M"',
            "",
        ),
        ('{ from = 2026-10-16, price = "0.2700" }', '{ from = 2026-10-16, price = "0.2700", until = 2026-12-01 }', ""),
        ('category = "S", rate = "8.1"', 'category = "Z", rate = "0"', ""),
        (
            '  { from = 2026-10-16, price = "0.2700" },\n',
            '  { from = 2026-10-16, price = "0.2700" },\n  { from = 2026-11-16, price = "0.29" },\n',
            "",
        ),
    ],
)
def test_what_stands_for_something_else_takes_its_place(desk: Desk, old: str, new: str, kept: str) -> None:
    desk.take(HOUSE)
    assert old in HOUSE
    done = desk.take(HOUSE.replace(old, new, 1))
    assert (done.exit_code, kept in done.output) == (3 if kept else 0, True), done.output


def test_a_new_price_before_a_known_end_holds_on(desk: Desk) -> None:
    desk.take(HOUSE)
    desk.submeter("rate", "end", "electricity", "--until", "2027-01-01")
    later = HOUSE.replace('price = "0.2700" },\n', 'price = "0.2700" },\n  { from = 2026-12-01, price = "0.3" },\n')
    assert desk.take(later).stdout.startswith("rate electricity: until from 2026-10-16: 2027-01-01 -> nothing; ")
