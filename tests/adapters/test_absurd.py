"""Values that nobody can mean are refused with one sentence each, before anything is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.importing import HOUSE, Desk, line_of, new_desk

if TYPE_CHECKING:
    from pathlib import Path

LONG = "is too long; write at most 12 digits before the point and 9 after it"
OUTSIDE = "lies outside of the years 1900 to 2199"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('rate = "8.1"', 'rate = "100.5"', 'rate[0].tax.rate: "100.5" is more than 100 percent'),
        ('"0.2700"', '"1234567890123"', f'rate[0].prices[1].price: "1234567890123" {LONG}'),
        ('"0.2700"', '"0.1234567890"', f'rate[0].prices[1].price: "0.1234567890" {LONG}'),
        ('quotity = "600"', 'quotity = "1000000000000"', f'point[0].quotity: "1000000000000" {LONG}'),
        ('max_per_day = "500"', 'max_per_day = "9999999999999"', f'register[0].max_per_day: "9999999999999" {LONG}'),
        ('final = "8502.7"', 'final = "8502.0000000001"', f'exchanges[0].final: "8502.0000000001" {LONG}'),
        ('max_per_day = "500"', 'modulus = "0.001"\nmax_per_day = "500"', "0.001 is not more than one step of its"),
        ('"0.2700"', f'"{"9" * 70}"', f"prices[1].price: '{'9' * 40}...' is not a plain decimal number"),
        ("entry = 2026-01-01", "entry = 1026-01-01", f"occupancy[0].entry: 1026-01-01 {OUTSIDE}"),
        ("entry = 2026-01-01", "entry = 2200-01-01", f"occupancy[0].entry: 2200-01-01 {OUTSIDE}"),
        ("2026-03-12T10:30:00+01:00", "0001-01-01T00:00:00+14:00", f"exchanges[0].at: 0001-01-01 {OUTSIDE}"),
    ],
)
def test_an_absurd_value_is_one_sentence_with_its_line(desk: Desk, old: str, new: str, said: str) -> None:
    text = HOUSE.replace(old, new, 1)
    (sentence,) = desk.refused(text)
    assert said in sentence
    assert sentence.startswith(f"{line_of(text, new)}: ")


def test_the_largest_values_are_accepted(desk: Desk) -> None:
    text = HOUSE.replace('rate = "8.1"', 'rate = "100"').replace('"0.2700"', '"999999999999.123456789"')
    text = text.replace("entry = 2026-01-01", "entry = 1900-01-01").replace("exit = 2026-10-14", "exit = 2199-12-31")
    assert desk.take(text).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("point", "show", "x" * 70), f"point {'x' * 57}...: there is none"),
        (("facility", "set", "sonnenhof", "--time-zone", "x" * 70), f'"{"x" * 57}..." is no time zone; '),
        (("register", "set", "power-1", "--unit", "x" * 70), f'"{"x" * 57}..." is no unit that is counted in; '),
        (("register", "set", "power-1", "--pipe", "x" * 70), f'"{"x" * 57}..." is no '),
        (("user", "end", "x" * 70), f'id: "{"x" * 57}..." is no id; write 1 to 40 of'),
        (("decode", "x" * 70, "00"), f"no driver '{'x' * 57}...' is installed; "),
        (("charges", "--month", "x" * 70), f"'{'x' * 57}...' is no month"),
        (("move", "flat-1", "1492-10-12"), f"day: 1492-10-12 {OUTSIDE}"),
        (("move", "flat-1", "x" * 70), f'day: "{"x" * 57}..." is no date'),
        (
            ("allocation", "show", "--facility", "sonnenhof", "--energy-source", "electricity", "--at", "0001-01-01"),
            f"0001-01-01 {OUTSIDE}",
        ),
        (("reading", "void", "power", "import", "0001-01-01T00:00", "--reason", "no"), f"0001-01-01T00:00 {OUTSIDE}"),
        (("reading", "void", "power", "import", "9" * 70, "--reason", "no"), f'"{"9" * 57}..." is no instant'),
        (
            ("reading", "add", "power", "import", "2026-10-01", "1234567890123", "--reason", "x"),
            "write at most 12 digits before the point and 9 after it, 18 in all",
        ),
        (
            ("reading", "add", "power", "import", "2026-10-01", "123456789012.1234567", "--reason", "x"),
            "write at most 12 digits before the point and 9 after it, 18 in all",
        ),
    ],
)
def test_an_absurd_argument_is_one_sentence(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    desk.take(HOUSE)
    done = desk.submeter(*arguments)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (3, "", 1), done.output
    assert said in done.stderr


TWICE = "occurs twice in Europe/Zurich, its clock is set back: write it with an offset"
NEVER = "never occurs in Europe/Zurich, its clock is set forward: write it with an offset, such as"


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2026-10-25T02:30", f"{TWICE}, 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"),
        ("2026-10-25T02:00", TWICE),
        ("2026-03-29T02:30", f"{NEVER} 2026-03-29T03:30:00+02:00"),
        ("2026-03-29T02:00", NEVER),
    ],
)
def test_a_local_instant_that_a_clock_change_makes_unclear_is_refused(desk: Desk, at: str, said: str) -> None:
    desk.take(HOUSE)
    for command in (
        ("reading", "add", "power", "import", at, "9000", "--reason", "at the door"),
        ("reading", "void", "power", "import", at, "--reason", "wrong"),
        ("exchange", "power", "--at", at, "--final", "import=1", "--start", "import=0"),
    ):
        done = desk.submeter(*command)
        assert (done.exit_code, done.stdout) == (3, ""), command
        assert f"{at} {said}" in done.stderr


@pytest.mark.parametrize(
    "at",
    ["2026-10-25T02:30+01:00", "2026-10-25T02:30+02:00", "2026-10-25T01:59", "2026-10-25T03:00", "2026-03-29T03:00"],
)
def test_an_instant_with_an_offset_or_beside_the_change_is_clear(desk: Desk, at: str) -> None:
    desk.take(HOUSE)
    assert desk.submeter("reading", "add", "power", "import", at, "9000", "--reason", "at the door").exit_code == 0
