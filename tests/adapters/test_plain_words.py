"""What a person typed or wrote is answered in words of the field, with an example that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway import control
from tests.adapters.importing import HOUSE, Desk, new_desk
from tests.adapters.served import serving

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    one = new_desk(tmp_path)
    assert one.take(HOUSE).exit_code == 0
    return one


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("[[occupancy]]\nentry = 2027-01-01\n", ["occ-1", "flat-1", "blumer"]),
        ('[[register]]\nid = "r"\n', ["power-1"]),
        ('[[link]]\nid = "l"\n', ["power-1-import", "flat-1"]),
        ('[[building]]\nname = "Haus"\n', ["haus-a", "sonnenhof"]),
        ('[[meter]]\nname = "Power"\n', ["power-1", "sonnenhof"]),
        ("[[user]]\n", ["blumer"]),
    ],
)
def test_what_is_missing_has_an_example_of_its_own(desk: Desk, entry: str, said: list[str]) -> None:
    found = "\n".join(desk.refused(entry))
    assert all(f'is missing; write e.g. "{example}"' in found for example in said), found


def test_what_is_missing_names_the_words_that_can_be_written(desk: Desk) -> None:
    found = desk.submeter("user", "add", "meier").stderr.splitlines()
    assert found[0] == 'user meier: kind: is missing; write one of "natural", "legal"'
    assert desk.submeter("user", "add", "meier", "--kind", "person").stderr.splitlines()[0] == (
        "user meier: kind: \"person\" is not one of 'natural' or 'legal'"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("point", "add", "p", "--building", "haus-a", "--kind", "villa", "--name", ""), "point p: name: is missing"),
        (("point", "set", "flat-1", "--name", ""), "point flat-1: name: is missing"),
        (("rate", "set", "electricity", "--tax-rate", ""), "rate electricity: tax.rate: is missing"),
    ],
)
def test_what_is_given_empty_is_missing(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    done = desk.submeter(*arguments)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith(f"{said}; write e.g. ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("occupancy", "add", "--help"), "Add an occupancy."),
        (("owner", "set", "--help"), "Change an owner."),
        (("user", "end", "--help"), "End a user"),
        (("rate", "set", "--help"), "--from DATE: the day from which a changed value holds."),
        (("link", "set", "--help"), "--from DATE: beside --value, the day from which that holds; else the first"),
    ],
)
def test_help_is_english(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    assert said in desk.submeter(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("charges", "--point", "nix"), "point nix: there is none of this id; there are: _remainder, cottage, flat-1"),
        (("charges", "--facility", "nix"), "facility nix: there is none of this id; there are: mondhof, sonnenhof"),
        (("accruals", "--point", "nix"), "point nix: there is none of this id; there are: cottage, flat-1"),
        (("audit", "--kind", "nope"), "'nope' is no table; there are: facility, building, point"),
        (
            ("reading", "add", "power", "import", "2026-10-01", "-5", "--reason", "x"),
            "-5 is no index: a meter does not count below 0; write what it shows",
        ),
        (
            ("reading", "add", "power", "import", "2026-10-01", "--reason", "x", "--", "-5"),
            "-5 is no index: a meter does not count below 0; write what it shows",
        ),
        (
            ("reading", "void", "power", "import", "2026-10-01T10:00", "--reason", "x"),
            "nothing was read from power-1 at 2026-10-01T10:00:00+02:00; nothing was ever read",
        ),
        (("decode", "mbus", "680"), "refused: '680' has an odd number of digits; write two digits"),
        (("decode", "mbus", "6 80"), "refused: '6 80' has an odd number of digits; write two digits"),
        (("decode", "mbus", "68zz"), "refused: '68zz' is not hex; write two digits"),
        (("decode", "mbus", "e5"), "refused: e5 is an acknowledgement"),
    ],
)
def test_what_is_not_there_or_cannot_be_is_one_sentence(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    done = desk.submeter(*arguments)
    assert (done.exit_code, done.output.count("\n")) == (3, 1), done.output
    assert said in done.output


def test_charges_of_what_is_there_may_be_none(desk: Desk) -> None:
    assert desk.submeter("charges", "--point", "flat-2", "--facility", "sonnenhof").stdout == "0 charges\n"
    assert desk.submeter("charges", "--point", "_remainder").stdout == "0 charges\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("accruals", "--point", "flat-1"), "0 running totals\n"),
        (("alarm", "list"), "0 alarms\n"),
        (("audit", "--id", "nix"), "0 changes\n"),
    ],
)
def test_an_answer_without_anything_says_so(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    assert desk.submeter(*arguments).stdout == said
    assert desk.submeter("--json", *arguments).stdout == "[]\n"


def test_overlapping_prices_are_told_in_days_of_the_house(desk: Desk) -> None:
    night = HOUSE[HOUSE.index("[[rate]]") :].replace('id = "electricity"', 'id = "night"')
    night = night.replace('{ from = 2026-01-01, price = "0.2500" },', "")
    (sentence,) = desk.refused(night)
    assert "night: the price from 2026-10-16 on overlaps one of electricity" in sentence


@pytest.mark.parametrize("name", ["property.toml", "property.json"])
def test_a_byte_order_mark_at_the_start_of_a_file_is_skipped(desk: Desk, name: str) -> None:
    file = desk.folder / name
    text = desk.submeter(*(["--json"] if name.endswith("json") else []), "export").stdout
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    done = desk.submeter("import", str(file))
    assert (done.exit_code, "0 added, 0 changed" in done.stdout) == (0, True), done.output


def test_an_import_that_is_too_large_names_its_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LIMIT", 300)
    with serving(desk):
        done = desk.submeter("import", str(desk.folder / "property.toml"))
    sentence = "the command is longer than 300 bytes; give it in parts"
    assert (done.exit_code, done.stderr) == (3, f"{desk.folder / 'property.toml'}: {sentence}\n")
