from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.adapters.importing import ENTRIES, HOUSE, Desk, line_of, new_desk

if TYPE_CHECKING:
    from pathlib import Path

OVERLAP = '[[occupancy]]\nid = "occ-2"\npoint = "flat-1"\nuser = "immo-ag"\nentry = 2026-10-14\n'
BACKWARDS = '[[occupancy]]\nid = "occ-3"\npoint = "flat-2"\nuser = "blumer"\nentry = 2026-03-02\nexit = 2026-03-01\n'
NO_METER = """\
[[register]]
id = "heat-1"
meter = "heat"
key = "heat"
energy_source = "heating"
unit = "kWh"
resolution = "0.001"
max_per_day = "500"
[[link]]
id = "heat-1"
register = "heat-1"
point = "flat-1"
"""
ACROSS = """\
[[register]]
id = "export"
meter = "power"
key = "export"
energy_source = "electricity"
unit = "kWh"
resolution = "0.001"
max_per_day = "500"
[[link]]
id = "across"
point = "cottage"
register = "export"
"""
OVER = """\
[[point]]
id = "loft"
building = "haus-a"
name = "Loft"
kind = "apartment"
quotity = "100"
[[link]]
id = "lift-3"
register = "power-lift"
point = "loft"
scope = "building"
key = "quotity" # too much
"""
RATE = """\
[[rate]]
id = "night"
facility = "sonnenhof"
energy_source = "electricity"
title = "Night"
component = "energy"
unit = "kWh"
prices = [{ from = 2026-12-01, price = "0.1" }]
tax = { category = "S", rate = "8.1", included = true }
"""
UNKNOWN_KEY = """\
[[occupancy]]
id = "occ-4"
point = "cottage"
user = "blumer"
entry = 2026-01-01
exitt = 2026-02-01
"""
MISTAKES = {
    "overlapping occupancy": (
        OVERLAP,
        "entry = 2026-10-14",
        (
            "occupancy[1].entry: occ-2: immo-ag (2026-10-14 to open) and blumer (2026-01-01 to 2026-10-14, occ-1) "
            "are both at flat-1: end the earlier stay before the later one begins"
        ),
    ),
    "exit before entry": (
        BACKWARDS,
        "exit = 2026-03-01",
        (
            "occupancy[1].exit: occ-3: blumer leaves flat-2 before entering it: exit is the last day paid, "
            "write the day of the entry or a later one"
        ),
    ),
    "unknown meter": (
        NO_METER,
        'meter = "heat"',
        "register[2].meter: heat-1: meter 'heat' is not known: add a [[meter]] with this id, or correct the name",
    ),
    "link across facilities": (
        ACROSS,
        'point = "cottage"\nregister',
        (
            "link[3].point: across: register export belongs to facility sonnenhof, point cottage to mondhof: "
            "link inside one"
        ),
    ),
    "over-allocated building": (
        OVER,
        'key = "quotity" # too much',
        (
            "link[3].key: lift-3: power-lift: its units take 1100 quotity, more than the 1000 of building haus-a: "
            "lower theirs or raise the building's"
        ),
    ),
    "rate overlap": (
        RATE,
        "prices = [{ from = 2026-12-01",
        (
            "rate[1].prices: night: the price from 2026-12-01 on overlaps one of electricity for the same "
            "electricity energy: end the earlier one first"
        ),
    ),
    "unknown key": (UNKNOWN_KEY, "exitt", "occupancy[1].exitt: this key is not known; did you mean exit?"),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path)


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_one_sentence_with_its_place(desk: Desk, name: str) -> None:
    more, part, sentence = MISTAKES[name]
    text = f"{HOUSE}\n{more}"
    assert desk.refused(text) == [f"{line_of(text, part)}: {sentence}"]


def test_all_seven_are_told_at_once_in_the_order_of_the_file(desk: Desk) -> None:
    text = "\n".join([HOUSE, *(more for more, _, _ in MISTAKES.values())])
    sentences = desk.refused(text)
    places = sorted(line_of(text, part) for _, part, _ in MISTAKES.values())
    assert [int(sentence.split(":")[0]) for sentence in sentences] == places
    for _, _, sentence in MISTAKES.values():
        said = sentence.split(": ", 1)[1]
        assert sum(one.endswith(said) for one in sentences) == 1


def test_mistakes_are_told_before_anything_is_applied_in_a_store_that_holds_something(desk: Desk) -> None:
    desk.take(HOUSE)
    assert len(desk.refused(OVERLAP + RATE)) == 2
    assert len(desk.rows()) == ENTRIES


def test_a_mistake_in_what_the_file_does_not_hold_is_told_with_kind_and_id(desk: Desk) -> None:
    desk.take(HOUSE)
    smaller = '[[building]]\nid = "haus-a"\nfacility = "sonnenhof"\nname = "Haus A"\nquotity = "999"\n'
    assert desk.refused(smaller) == [
        (
            "link lift-2: power-lift: its units take 1000 quotity, more than the 999 of building haus-a: "
            "lower theirs or raise the building's"
        ),
    ]


def test_mistakes_are_also_json(desk: Desk) -> None:
    text = f"{HOUSE}\n{OVERLAP}"
    file = desk.folder / "property.toml"
    file.write_text(text, encoding="utf-8")
    done = desk.submeter("--json", "import", str(file))
    (problem,) = json.loads(done.stdout)["problems"]
    assert (done.exit_code, json.loads(done.stdout)["ok"]) == (3, False)
    assert done.stderr == f"{file}:{problem['line']}: {problem['path']}: {problem['text']}\n"
    assert (problem["file"], problem["path"]) == (str(file), "occupancy[1].entry")
    assert problem["line"] == line_of(text, "entry = 2026-10-14")


@pytest.mark.parametrize(
    ("old", "new", "part", "said"),
    [
        (
            'price = "0.2500"',
            "price = 0.2500",
            "price = 0.25",
            'rate[0].prices[0].price: write price as a string: "0.25"',
        ),
        ('quotity = "1000"', "quotity = 1000", "quotity =", 'building[0].quotity: write quotity as a string: "1000"'),
        ('value = "4"', "value = 4", "value = 4", 'point[0].people[1].value: write value as a string: "4"'),
        ('rate = "8.1"', "rate = true", "tax", 'rate[0].tax.rate: write rate as a string: "84.5"'),
        ('"0.2500"', '"0,25"', '"0,25"', "rate[0].prices[0].price: '0,25' is not a plain decimal number such as 12.40"),
        ('"0.2500"', '"-1"', '"-1"', 'rate[0].prices[0].price: "-1" is below zero; write 0 or more'),
        ('"0.001"', '"0.005"', '"0.005"', 'register[0].resolution: "0.005" is no power of ten; write e.g. "1", "0.1"'),
        ('max_per_day = "500"', 'max_per_day = "0"', "max_per_day", 'register[0].max_per_day: "0" is not above zero'),
        (
            'id = "direct"',
            'id = "Direct"',
            "Direct",
            'link[0].id: "Direct" is no id; write 1 to 40 of a-z, 0-9 and -',
        ),
        ("Europe/Zurich", "Europe/Zürich", "Zürich", 'facility[0].time_zone: "Europe/Zürich" is no time zone; did you'),
        ("Europe/Zurich", "/etc/passwd", "/etc", 'facility[0].time_zone: "/etc/passwd" is no time zone; write e.g.'),
        ("CHF", "Fr.", "Fr.", 'facility[0].currency: "Fr." does not fit: write three capital letters'),
        ("CHF", "FRS", "FRS", 'facility[0].currency: "FRS" is no currency of ISO 4217; write e.g. "CHF"'),
        ('"apartment"', '"flat"', '"flat"', "point[0].kind: \"flat\" is not one of 'apartment', 'villa'"),
        (
            "entry = 2026-01-01",
            'entry = "2026-01-01"',
            "entry",
            'occupancy[0].entry: "2026-01-01" is no date',
        ),
        (
            "entry = 2026-01-01",
            "entry = 0026-01-01",
            "entry",
            "occupancy[0].entry: 0026-01-01 lies outside of",
        ),
        (
            "10:30:00+01:00",
            "10:30:00",
            "exchanges",
            "register[0].exchanges[0].at: 2026-03-12 10:30:00 has no offset from UTC",
        ),
        (
            'unit = "kWh"',
            'unit = "kwh"',
            "kwh",
            'register[0].unit: "kwh" is no unit that is counted in; write one of GJ',
        ),
        (
            'first_name = "Anna"',
            'company = "A"',
            '[[user]]\nid = "blumer"',
            'user[0]: kind = "natural" goes with first_name and',
        ),
        (
            'facility = "sonnenhof"\n\n[[owner',
            "\n[[owner",
            '[[owner]]\nid = "owner-s',
            "owner[0]: an owner owns exactly one of",
        ),
        (
            'key = "quotity"',
            "",
            '[[link]]\nid = "lift-1"',
            "link[1]: a common link has scope and key, a direct one neither",
        ),
        (
            'key = "quotity"',
            'key = "percentage"',
            '[[link]]\nid = "lift-1"',
            "link[1]: a link by percentage has its own value",
        ),
        (
            'register = "power-1"',
            'register = "power-1"\nvalue = "1"',
            '[[link]]\nid = "direct"',
            "link[0]: a value belongs to a",
        ),
        (
            'category = "S"',
            'category = "Z"',
            "tax",
            'rate[0].tax: category "Z" does not go with the rate "8.1"; only "S"',
        ),
        (
            'component = "energy"',
            'component = "volume"',
            '[[rate]]\nid = "electricity"',
            "rate[0]: kWh is no unit of component",
        ),
        ("from = 2026-10-16", "from = 2026-01-01", "prices = [", "rate[0].prices: write the entries in order of time"),
        ("from = 2026-10-15, ", "", "people", "point[0].people: write the entries in order of time"),
        (
            "from = 2026-01-01, price",
            "from = 2026-01-01, until = 2026-01-01, price",
            "until",
            "rate[0].prices[0]: this price ends on 2026-01-01, before it begins",
        ),
        ('unit = "kWh"\nprices', 'unit = "kWh"\npoints = []\nprices', "points", "rate[0].points: is empty; write at"),
        ('name = "Haus A"', 'name = ""', 'name = ""', "building[0].name: is no text of one line; write 1 to 200"),
        (
            'kind = "villa"\n',
            'kind = "villa"\n[[tenant]]\nid = "b"\n',
            "[[tenant]]",
            "tenant: this table is not known; remove",
        ),
        (
            'title = "Electricity"\n',
            "",
            '[[rate]]\nid = "electricity"',
            'rate[0].title: is missing; write e.g. "Electricity"',
        ),
        (
            'start = "12.0"',
            'start = "12.0", stop = "1"',
            "stop",
            "register[0].exchanges[0].stop: this key is not known",
        ),
        (
            'serial = "4711" }',
            'serial = "1" }, { at = 2026-03-12T09:30:00Z, final = "1", start = "2" }',
            "exchanges",
            "register[0].exchanges: two exchanges at the same instant; remove one",
        ),
    ],
)
def test_a_mistake_in_one_entry_is_one_sentence_with_its_line(
    desk: Desk, old: str, new: str, part: str, said: str
) -> None:
    text = HOUSE.replace(old, new, 1)
    (sentence,) = desk.refused(text)
    assert sentence.startswith(f"{line_of(text, part)}: {said}")


def test_two_entries_of_one_id_are_refused_with_the_place_of_both(desk: Desk) -> None:
    text = f'{HOUSE}\n[[point]]\nid = "cottage"\nbuilding = "haus-a"\nname = "B"\nkind = "villa"\n'
    first, second = line_of(text, 'id = "cottage"'), line_of(text, 'id = "cottage"\nbuilding = "haus-a"')
    assert desk.refused(text) == [
        f"{second}: point[3].id: cottage is already the point in line {first}; give each its own id"
    ]
    assert desk.take(HOUSE.replace('id = "power"\n', 'id = "blumer"\n').replace('"power"', '"blumer"')).exit_code == 0


def test_what_is_not_toml_is_refused_with_its_line(desk: Desk) -> None:
    (sentence,) = desk.refused(HOUSE.replace('name = "Haus A"', 'name = "Haus A'))
    line = line_of(HOUSE, 'name = "Haus A"')
    assert sentence.startswith(f"{line}: this is not TOML")


def test_a_table_is_a_list_of_entries(desk: Desk) -> None:
    assert desk.refused('[point]\nid = "flat-1"\n') == ["1: point: this is no list of entries; write [[point]]"]


def test_references_to_a_refused_entry_are_not_told_again(desk: Desk) -> None:
    text = HOUSE.replace('name = "Haus A"', "name = 7")
    (sentence,) = desk.refused(text)
    assert sentence.startswith(f"{line_of(text, 'name = 7')}: building[0].name: 7 is no text; put it into quotes")


def test_what_is_known_of_a_refused_entry_gives_rise_to_no_other_mistake(desk: Desk) -> None:
    desk.take(HOUSE)
    smaller = HOUSE.replace('quotity = "1000"', 'quotity = "999"').replace('quotity = "600"', "quotity = 599")
    assert desk.refused(smaller) == [
        f'{line_of(smaller, "quotity = 599")}: point[0].quotity: write quotity as a string: "599"'
    ]


def test_an_entry_with_an_unknown_key_is_still_checked_against_the_others(desk: Desk) -> None:
    text = HOUSE.replace('quotity = "400"', 'quotity = [{ value = "401", vom = 2026-01-01 }]\ncolour = "red"')
    unknown, other, excess = desk.refused(text)
    assert "point[1].quotity[0].vom: this key is not known" in unknown
    assert "point[1].colour: this key is not known" in other
    assert "its units take 1001 quotity, more than the 1000 of building haus-a" in excess


def test_mistakes_of_one_entry_are_told_together(desk: Desk) -> None:
    text = HOUSE.replace('price = "0.2700"', "price = 0.27").replace('rate = "8.1"', "rate = 8.1")
    assert len(desk.refused(text)) == 2


@pytest.mark.parametrize("text", ["[" * 100_000, '{"user": [{"id": ' + "[" * 900 + "]" * 900 + "}]}"])
def test_json_that_is_nested_too_deep_is_one_sentence(desk: Desk, text: str) -> None:
    file = desk.folder / "property.json"
    file.write_text(text, encoding="utf-8")
    done = desk.submeter("import", str(file))
    assert (done.exit_code, done.stderr.count("\n")) == (3, 1), done.output
    assert done.stderr.startswith(f"{file}: ")
