from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import pepper
from gateway.cli import ask
from gateway.cli.property_file import read_entries
from gateway.clock import SystemClock
from gateway.core.access import SEALED
from gateway.core.book import problems
from gateway.core.occupancy import stay
from gateway.core.period import MAX, MIN, Period, midnight
from gateway.core.units import Scaled
from gateway.service.property import book, book_of, entities
from gateway.service.records import PropertyRow
from gateway.store.lock import Lock
from gateway.tomlfile import Document, parse, read
from tests.adapters.importing import ENTRIES, HOUSE, Desk, new_desk

if TYPE_CHECKING:
    from gateway.service.property_schema import Entity

DEMO = Path(__file__).parents[2] / "simulators" / "buildings" / "sonnenhof" / "property.toml"
ZURICH = "Europe/Zurich"
CLOSED = ["2026-08", "2026-09", "2026-10"]
NOVEMBER = datetime(2026, 11, 3, tzinfo=UTC)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path)


def entries(text: str) -> tuple[Entity, ...]:
    document = parse(text, "property.toml")
    assert isinstance(document, Document)
    file = read_entries(document)
    assert not file.mistakes
    return tuple(file.entities)


def summary(text: str) -> str:
    return text.splitlines()[-1]


def test_a_whole_building_is_taken_over_with_who_and_when(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "installer")
    before = SystemClock().now()
    done = desk.take(HOUSE)
    assert done.exit_code == 0, done.output
    assert summary(done.stdout) == f"{ENTRIES} added, 0 changed, 0 unchanged"
    rows = desk.rows()
    assert len(rows) == ENTRIES
    assert {row.recorded_by for row in rows} == {"installer"}
    assert all(before - timedelta(seconds=1) <= row.recorded_at <= SystemClock().now() for row in rows)


def test_what_is_kept_is_what_import_accepts(desk: Desk) -> None:
    desk.take(HOUSE)
    kept = entities(desk.rows())
    assert {(one.table, one.id): one for one in kept} == {(one.table, one.id): one for one in entries(HOUSE)}
    assert book_of(desk.rows()) == book(entries(HOUSE))
    row = next(row for row in desk.rows() if row.id == "power-1")
    assert row.value is not None
    assert json.loads(row.value) == {
        "energy_source": "electricity",
        "exchanges": [{"at": "2026-03-12T10:30:00+01:00", "final": "8502.7", "serial": "4711", "start": "12.0"}],
        "id": "power-1",
        "key": "import",
        "max_per_day": "500",
        "meter": "power",
        "resolution": "0.001",
        "unit": "kWh",
    }
    assert row.value == json.dumps(json.loads(row.value), sort_keys=True, separators=(",", ":"))


def test_importing_twice_changes_nothing(desk: Desk) -> None:
    desk.take(HOUSE)
    before = desk.rows()
    done = desk.take(HOUSE)
    assert (done.exit_code, done.stdout) == (0, f"0 added, 0 changed, {ENTRIES} unchanged\n")
    assert desk.rows() == before


def test_the_same_values_written_otherwise_change_nothing(desk: Desk) -> None:
    desk.take(HOUSE)
    other = (
        HOUSE.replace('"0.2500"', '"0.25"')
        .replace('quotity = "1000"', 'quotity = [{ value = "1000.0" }]')
        .replace("10:30:00+01:00", "09:30:00Z")
        .replace('currency = "CHF"', 'currency = "CHF"\nmoney_quantum = "0.010"\ngrace_hours = 48')
    )
    assert other != HOUSE
    assert desk.plan(other)["changes"] == []


def test_a_changed_price_is_a_plan_of_one_line_and_keeps_what_was_known(desk: Desk) -> None:
    desk.take(HOUSE)
    before = desk.rows()
    changed = HOUSE.replace('price = "0.2700"', 'price = "0.2800"')
    done = desk.take(changed, "--plan")
    text = "rate electricity: price from 2026-10-16: 0.2700 -> 0.2800\n"
    assert (done.exit_code, done.stdout) == (0, f"{text}0 added, 1 changed, {ENTRIES - 1} unchanged\n")
    assert desk.rows() == before
    assert desk.take(changed).stdout == done.stdout
    now = {row.id: row for row in desk.rows()}
    assert '"0.2800"' in (now["electricity"].value or "")
    assert desk.rows(before[0].recorded_at) == before


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("exit = 2026-10-14", "exit = 2026-10-20", "occupancy occ-1: exit: 2026-10-14 -> 2026-10-20"),
        ('value = "4"', 'value = "5"', "point flat-1: people from 2026-10-15: 4 -> 5"),
        ("included = true", "included = false", "rate electricity: tax included: true -> false"),
        ('start = "12.0"', 'start = "13"', "register power-1: start at 2026-03-12 10:30:00+01:00: 12.0 -> 13"),
        ('title = "Electricity"', 'title = "E"\npoints = ["flat-2"]', "rate electricity: title: Electricity -> E; "),
        (
            '  { from = 2026-10-16, price = "0.2700" },\n',
            '  { from = 2026-10-16, until = 2027-01-01, price = "0.2700" },\n',
            "rate electricity: until from 2026-10-16: nothing -> 2027-01-01",
        ),
    ],
)
def test_each_change_is_one_line_that_names_before_and_after(desk: Desk, old: str, new: str, line: str) -> None:
    desk.take(HOUSE)
    first, last = desk.take(HOUSE.replace(old, new), "--plan").stdout.splitlines()
    assert first.startswith(line)
    assert last == f"0 added, 1 changed, {ENTRIES - 1} unchanged"


def test_a_file_may_hold_only_some_tables_and_refer_to_what_is_known(desk: Desk) -> None:
    desk.take(HOUSE)
    move = '[[occupancy]]\nid = "occ-2"\npoint = "flat-1"\nuser = "immo-ag"\nentry = 2026-10-15\n'
    done = desk.take(move)
    assert done.stdout == (
        "occupancy occ-2: new: point flat-1, user immo-ag, entry 2026-10-15\n1 added, 0 changed, 0 unchanged\n"
    )
    assert len(desk.rows()) == ENTRIES + 1


def test_the_plan_is_also_json(desk: Desk) -> None:
    desk.take(HOUSE)
    plan = desk.plan(HOUSE.replace('name = "Cottage"', 'name = "Lodge"'))
    cottage = {"building": "haus-m", "id": "cottage", "kind": "villa", "name": "Cottage"}
    change = {"kind": "point", "id": "cottage", "before": cottage, "after": {**cottage, "name": "Lodge"}}
    counts = {"added": 0, "changed": 1, "ended": 0, "unchanged": ENTRIES - 1}
    assert plan == {"ok": True, "applied": False, **counts, "changes": [change], "settled_again": [], "foreseen": []}


@pytest.mark.parametrize(("name", "text"), [("e.toml", ""), ("e.toml", "# nothing yet\n"), ("e.json", '{"user": []}')])
def test_a_file_without_entries_changes_nothing_and_says_so(desk: Desk, name: str, text: str) -> None:
    file = desk.folder / name
    file.write_text(text, encoding="utf-8")
    for options in ([], ["--plan"]):
        done = desk.submeter("import", *options, str(file))
        assert (done.exit_code, done.stdout) == (0, "0 added, 0 changed, 0 unchanged\n")
        assert done.stderr == f"{file}: holds no entries, so that nothing changes; entries begin with e.g. [[user]]\n"


def test_while_another_process_holds_the_store_import_is_refused_and_a_plan_is_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "PATIENCE", 0.0)
    desk.take(HOUSE)
    changed = HOUSE.replace('"0.2700"', '"0.2800"')
    with Lock(desk.folder / "gateway.db"):
        (sentence,) = desk.refused(changed)
        assert "is using the store: stop it first" in sentence
        assert desk.take(changed, "--plan").exit_code == 0
    assert desk.take(changed).exit_code == 0


def test_without_a_store_the_remedy_is_told(desk: Desk) -> None:
    (desk.folder / "gateway.db").unlink()
    for options in ((), ("--plan",)):
        done = desk.take(HOUSE, *options)
        assert done.exit_code == 3
        assert "run `submeter migrate`" in done.stderr


def test_a_file_that_is_not_there_is_refused_in_one_sentence(desk: Desk) -> None:
    done = desk.submeter("import", str(desk.folder / "none.toml"))
    assert done.exit_code == 3
    assert (
        done.stderr
        == f"{desk.folder / 'none.toml'}: cannot be read (No such file or directory); name a file that is there\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "months", "reason"),
    [
        ("exit = 2026-10-14", "exit = 2026-10-10", CLOSED[2:], "move"),
        ("exit = 2026-10-14", "exit = 2026-09-29", CLOSED[1:], "move"),
        ("exit = 2026-10-14", "exit = 2026-09-30", CLOSED[2:], "move"),
        ("exit = 2026-10-14", "exit = 2027-10-14", CLOSED[2:], "move"),
        ("entry = 2026-01-01", "entry = 2026-02-01", CLOSED, "move"),
        ('price = "0.2700"', 'price = "0.2800"', CLOSED[2:], "rate"),
        ("{ from = 2026-10-16", '{ from = 2026-09-16, price = "0.26" }, { from = 2026-10-16', CLOSED[1:], "rate"),
        ('title = "Electricity"', 'title = "Power"', CLOSED, "rate"),
        ('value = "4"', 'value = "5"', CLOSED[2:], "key"),
        ('quotity = "400"', 'quotity = [{ value = "400" }, { from = 2026-09-02, value = "1" }]', CLOSED[1:], "key"),
        ('point = "flat-1"\n\n', 'point = "flat-1"\nuntil = 2026-10-02\n\n', CLOSED[2:], "link"),
        ('start = "12.0"', 'start = "13"', CLOSED, "exchange"),
        ('max_per_day = "100"', 'max_per_day = "99"', CLOSED, "other"),
        ('price = "0.2700"', 'until = 2026-12-01, price = "0.2700"', [], ""),
        ('first_name = "Anna"', 'first_name = "Hanna"', [], ""),
        ('name = "Electricity"\n', 'name = "Power"\n', [], ""),
        ('name = "Haus A"', 'name = "Haus B"', [], ""),
    ],
)
def test_a_change_marks_the_closed_months_from_its_first_day_on(
    desk: Desk, old: str, new: str, months: list[str], reason: str
) -> None:
    desk.take(HOUSE)
    desk.close("sonnenhof", CLOSED, NOVEMBER)
    desk.close("mondhof", CLOSED, NOVEMBER)
    assert not desk.dirty()
    changed = HOUSE.replace(old, new, 1)
    assert desk.take(changed).exit_code == 0
    assert [(one.facility, one.month, one.reason) for one in desk.dirty()] == [
        ("sonnenhof", month, reason) for month in months
    ]


def test_of_several_changes_the_earliest_counts(desk: Desk) -> None:
    desk.take(HOUSE)
    desk.close("sonnenhof", CLOSED, NOVEMBER)
    late = '\n[[occupancy]]\nid = "occ-2"\npoint = "flat-2"\nuser = "immo-ag"\nentry = 2026-10-15\n'
    assert desk.take(HOUSE.replace("exit = 2026-10-14", "exit = 2026-09-20") + late).exit_code == 0
    assert [one.month for one in desk.dirty()] == CLOSED[1:]


def test_a_new_owner_marks_from_the_day_of_the_sale(desk: Desk) -> None:
    desk.take(HOUSE)
    desk.close("sonnenhof", CLOSED, NOVEMBER)
    sale = '[[owner]]\nid = "sold"\nuser = "blumer"\npoint = "flat-2"\nfrom = 2026-10-01\n'
    assert desk.take(sale).exit_code == 0
    assert [(one.month, one.reason) for one in desk.dirty()] == [("2026-10", "move")]


def test_a_meter_that_changes_the_facility_marks_both(desk: Desk) -> None:
    desk.take(HOUSE + '\n[[meter]]\nid = "spare"\nfacility = "sonnenhof"\nname = "Spare"\n')
    desk.close("sonnenhof", CLOSED[2:], NOVEMBER)
    desk.close("mondhof", CLOSED[2:], NOVEMBER)
    assert desk.take('[[meter]]\nid = "spare"\nfacility = "mondhof"\nname = "Spare"\n').exit_code == 0
    assert {one.facility for one in desk.dirty()} == {"sonnenhof", "mondhof"}


def test_civil_dates_are_midnights_of_the_facility() -> None:
    made = book(entries(HOUSE + '\n[[occupancy]]\nid = "m"\npoint = "cottage"\nuser = "blumer"\nentry = 2026-07-01\n'))
    assert not problems(made)
    assert made.occupancies["occ-1"].period == stay(date(2026, 1, 1), date(2026, 10, 14), ZURICH)
    assert made.occupancies["m"].period.start == datetime(2026, 6, 30, 23, tzinfo=UTC)
    change = midnight(date(2026, 10, 16), ZURICH)
    assert [price.period for price in made.rates["electricity"].prices] == [
        Period(midnight(date(2026, 1, 1), ZURICH), change),
        Period(change, MAX),
    ]
    steps = ((MIN, Scaled(2, 0)), (midnight(date(2026, 10, 15), ZURICH), Scaled(4, 0)))
    assert made.points["flat-1"].values["people"].steps == steps
    (exchange,) = made.registers["power-1"].exchanges
    assert (exchange.at, exchange.at.tzinfo) == (datetime(2026, 3, 12, 9, 30, tzinfo=UTC), UTC)
    assert made.registers["power-1"].exponent == -3


def test_a_price_ends_where_it_says() -> None:
    text = HOUSE.replace("from = 2026-01-01, price", "until = 2026-03-01, price")
    first = book(entries(text)).rates["electricity"].prices[0].period
    assert first == Period(MIN, midnight(date(2026, 3, 1), ZURICH))


@pytest.mark.parametrize(("resolution", "exponent"), [("1", 0), ("0.1", -1), ("0.10", -1), ("10", 1)])
def test_a_resolution_is_its_power_of_ten(resolution: str, exponent: int) -> None:
    text = HOUSE.replace('resolution = "0.001"', f'resolution = "{resolution}"')
    assert book(entries(text)).registers["power-1"].exponent == exponent


def test_the_order_of_the_tables_changes_nothing() -> None:
    parts = HOUSE.split("\n\n")
    for some in list(permutations(range(4)))[1:]:
        shuffled = "\n\n".join([*(parts[-number] for number in some), *parts[1:-3]])
        made = book(entries(shuffled))
        assert not problems(made)
        assert made == book(entries(HOUSE))


def test_the_demo_building_is_sound(desk: Desk) -> None:
    document = read(DEMO)
    assert isinstance(document, Document)
    file = read_entries(document)
    assert not file.problems(problems(book(file.entities)))
    pepper.create(desk.folder / "gateway.toml")
    command = [sys.executable, "-m", "gateway.cli", "--config", str(desk.folder / "gateway.toml"), "import", str(DEMO)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert summary(done.stdout) == f"{len(file.entities)} added, 0 changed, 0 unchanged"
    kept, told = book_of(desk.rows()), book(file.entities)
    assert replace(kept, badges={}) == replace(told, badges={})
    assert {badge.id: replace(badge, digest="") for badge in kept.badges.values()} == told.badges
    assert all(badge.digest.startswith(SEALED) for badge in kept.badges.values())
    assert summary(desk.submeter("import", str(DEMO)).stdout).startswith("0 added, 0 changed")


def test_an_ended_entity_is_no_longer_in_the_book() -> None:
    ended = PropertyRow(kind="user", id="blumer", value=None, recorded_at=NOVEMBER, recorded_by="manager")
    assert entities([ended]) == ()


def test_what_is_refused_marks_no_month(desk: Desk) -> None:
    desk.take(HOUSE)
    desk.close("sonnenhof", CLOSED, NOVEMBER)
    sale = '[[owner]]\nid = "owner-sonnenhof"\nuser = "blumer"\nfacility = "sonnenhof"\nfrom = 2026-10-01\n'
    assert "has no owner from the beginning" in desk.refused(sale)[0]
    assert not desk.dirty()
