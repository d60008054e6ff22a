"""An exchange that contradicts what is known is refused; one that was a mistake is taken back."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gateway.service.property import book_of
from gateway.store import Store
from tests.adapters.importing import HOUSE, Desk, new_desk
from tests.adapters.stores import poll, reading

if TYPE_CHECKING:
    from pathlib import Path

EXCHANGES = 'exchanges = [{ at = 2026-03-12T10:30:00+01:00, final = "8502.7", start = "12.0", serial = "4711" }]\n'
WIRED = HOUSE.replace(EXCHANGES, "").replace('name = "Electricity"\n', 'name = "Electricity"\nserial = "100"\n', 1)
NOON = "2026-03-12T12:00"
INDEXES = ("--final", "import=500", "--final", "lift=50", "--start", "import=10", "--start", "lift=0")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A meter with two registers, of which one was read at 8 and at 16 o'clock."""
    one = new_desk(tmp_path)
    assert one.take(WIRED).exit_code == 0
    read(one, "08:00", "490")
    read(one, "16:00", "20")
    return one


def read(desk: Desk, clock: str, value: str) -> None:
    done = desk.submeter("reading", "add", "power", "import", f"2026-03-12T{clock}", value, "--reason", "by hand")
    assert done.exit_code == 0, done.output


def exchange(desk: Desk, at: str, *words: str) -> tuple[int, list[str]]:
    done = desk.submeter("exchange", "power", "--at", at, *words)
    return done.exit_code, done.stderr.splitlines()


def shown(desk: Desk, kind: str, entity: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(desk.submeter("--json", kind, "show", entity).stdout)
    return found


def test_indexes_that_lie_between_the_readings_around_them_are_taken(desk: Desk) -> None:
    assert exchange(desk, NOON, *INDEXES) == (0, [])


@pytest.mark.parametrize(
    ("serial", "words", "told"),
    [("4712", (), True), ("", (), False), ("4712", ("--serial", "4712"), False)],
)
def test_who_names_no_serial_number_is_told_that_a_crossed_meter_is_believed(
    desk: Desk, serial: str, words: tuple[str, ...], *, told: bool
) -> None:
    async def polled() -> None:
        async with Store(desk.url) as store:
            at = datetime(2026, 3, 12, 16, tzinfo=UTC)
            await store.keep([poll(reading(at, "21", meter="power", register="import", serial=serial))])

    asyncio.run(polled())
    done = desk.submeter("exchange", "power", "--at", NOON, *INDEXES, *words)
    assert done.exit_code == 0, done.output
    said = (
        "no --serial was given: the first meter that answers from then on is believed, also a crossed one (the last"
        " reading is of 4712); to name the new one, take the exchange back (--mistaken) and enter it with --serial"
    )
    assert (said in done.stdout.splitlines()) == told
    assert ("no --serial" in done.stdout) == told


def test_the_same_exchange_typed_again_a_minute_later_is_refused(desk: Desk) -> None:
    assert exchange(desk, NOON, *INDEXES) == (0, [])
    before = desk.rows()
    code, told = exchange(desk, "2026-03-12T12:01", *INDEXES)
    assert code == 3
    first = "2026-03-12T12:00:00+01:00"
    flow = "is more than the largest possible flow above"
    remedy = f"take that one back first (`submeter exchange power --mistaken --at {first}`)"
    assert told == [
        f"meter power: final: power-1: 500 {flow} 10.000 kWh of the exchange of {first}; correct it, or {remedy}",
        f"meter power: final: power-lift: 50 {flow} 0.000 kWh of the exchange of {first}; correct it, or {remedy}",
    ]
    assert desk.rows() == before
    code, told = exchange(desk, "2026-03-12T11:59", *INDEXES)
    assert (code, told[0].split(": ")[1]) == (3, "start")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("final", "import=480", "480 is less than the reading of 2026-03-12T08:00:00+01:00, 490.000 kWh"),
        ("final", "import=990", "990 is more than the largest possible flow above the reading of 2026-03-12T08:00"),
        ("start", "import=30", "after 30, what follows is less than it: the reading of 2026-03-12T16:00:00+01:00, 20"),
    ],
)
def test_an_index_that_cannot_be_beside_a_reading_is_refused_until_that_is_void(
    desk: Desk, field: str, value: str, problem: str
) -> None:
    words = [value if word == f"import={500 if field == 'final' else 10}" else word for word in INDEXES]
    code, (told,) = exchange(desk, NOON, *words)
    assert code == 3
    assert told.startswith(f"meter power: {field}: power-1: {problem}")
    remedy = told[told.index("`submeter ") + len("`submeter ") : -2].removesuffix("TEXT").split()
    assert desk.submeter(*remedy, "misread").exit_code == 0
    assert exchange(desk, NOON, *words) == (0, [])


def test_a_counter_that_passed_its_highest_number_before_it_was_exchanged_is_taken(desk: Desk) -> None:
    assert desk.submeter("register", "set", "power-1", "--modulus", "500").exit_code == 0
    words = ["import=5" if word == "import=500" else word for word in INDEXES]
    assert exchange(desk, NOON, *words) == (0, [])


def test_a_mistaken_exchange_is_taken_back_with_the_serial_of_the_meter(desk: Desk) -> None:
    before = {entity: shown(desk, *entity) for entity in [("meter", "power"), ("register", "power-1")]}
    assert exchange(desk, NOON, *INDEXES, "--serial", "200") == (0, [])
    assert shown(desk, "meter", "power")["serial"] == "200"
    assert exchange(desk, NOON, "--mistaken") == (0, [])
    assert {entity: shown(desk, *entity) for entity in before} == before


def test_the_serial_of_the_property_data_is_the_first_meters_of_registers_that_it_named(desk: Desk) -> None:
    def expected() -> dict[str, str]:
        return {one.key: one.serial for one in book_of(desk.rows()).registers.values() if one.meter == "power"}

    assert expected() == {"import": "100", "lift": "100"}
    assert exchange(desk, NOON, *INDEXES, "--serial", "200") == (0, [])
    assert expected() == {"import": "100", "lift": "100"}
    kind = ("--energy-source", "electricity", "--unit", "kWh", "--resolution", "0.001", "--max-per-day", "500")
    assert desk.submeter("register", "add", "power-3", "--meter", "power", "--key", "export", *kind).exit_code == 0
    assert expected() == {"import": "100", "lift": "100", "export": ""}, "100 counted what came of it before"
    assert exchange(desk, NOON, "--mistaken") == (0, [])
    assert expected() == {"import": "100", "lift": "100", "export": "100"}


def test_an_exchange_in_the_middle_leaves_the_serial_of_the_last_one(desk: Desk) -> None:
    assert exchange(desk, NOON, *INDEXES, "--serial", "200") == (0, [])
    later = ("--final", "import=30", "--final", "lift=1", "--start", "import=0", "--start", "lift=0")
    assert exchange(desk, "2026-03-13T12:00", *later, "--serial", "300") == (0, [])
    assert exchange(desk, NOON, "--mistaken") == (0, [])
    assert shown(desk, "meter", "power")["serial"] == "300"
    assert [step["serial"] for step in shown(desk, "register", "power-1")["exchanges"]] == ["300"]


def test_the_last_of_two_exchanges_leaves_the_serial_of_the_first(desk: Desk) -> None:
    assert exchange(desk, NOON, *INDEXES, "--serial", "200") == (0, [])
    assert desk.submeter("meter", "set", "power", "--serial", "999").exit_code == 0  # a typing mistake in between
    later = ("--final", "import=30", "--final", "lift=1", "--start", "import=0", "--start", "lift=0")
    assert exchange(desk, "2026-03-13T12:00", *later, "--serial", "300") == (0, [])
    assert exchange(desk, "2026-03-13T12:00", "--mistaken") == (0, [])
    assert shown(desk, "meter", "power")["serial"] == "200"


def test_what_was_no_exchange_cannot_be_taken_back(desk: Desk) -> None:
    assert exchange(desk, NOON, "--mistaken") == (
        3,
        ["meter power: at: no exchange of 2026-03-12T12:00:00+01:00 is known; there are: none"],
    )
    assert exchange(desk, NOON, *INDEXES) == (0, [])
    (told,) = exchange(desk, "2026-03-12T12:01", "--mistaken")[1]
    assert told.endswith("2026-03-12T12:01:00+01:00 is known; there are: 2026-03-12T12:00:00+01:00")
    (told,) = exchange(desk, NOON, "--mistaken", *INDEXES)[1]
    assert told == "meter power: a mistaken exchange has no indexes; leave out --final and --start"
