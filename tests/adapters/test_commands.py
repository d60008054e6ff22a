"""Every verb, with the store to itself and through the socket of who holds it."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gateway import pepper
from gateway.service.property_schema import TABLES
from tests.adapters.importing import ENTRIES, HOUSE, Desk, new_desk
from tests.adapters.served import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INDEXES = ("--final", "import=9000.5", "--final", "power-lift=7", "--start", "import=0", "--start", "lift=0.2")
NOVEMBER = datetime(2026, 11, 3, tzinfo=UTC)
MINIMAL: dict[str, tuple[str, ...]] = {
    "facility": ("new", "--name", "Neuhof", "--time-zone", "Europe/Berlin", "--currency", "EUR", "--owner", "blumer"),
    "building": ("new", "--facility", "sonnenhof", "--name", "Haus B", "--surface", "620.0"),
    "point": ("new", "--building", "haus-a", "--name", "Attic", "--kind", "apartment", "--people", "3"),
    "user": ("new", "--kind", "natural", "--first-name", "Max", "--last_name", "Meier", "--address", "Weg 3"),
    "owner": ("new", "--user", "blumer", "--point", "flat-2", "--from", "2026-05-01"),
    "occupancy": ("new", "--point", "flat-2", "--user", "blumer", "--entry", "2026-11-01"),
    "meter": ("new", "--facility", "sonnenhof", "--name", "Heat", "--serial", "4711"),
    "register": (
        *("new", "--meter", "power", "--key", "export", "--energy-source", "electricity", "--unit", "kWh"),
        *("--resolution", "0.001", "--max_per_day", "100"),
    ),
    "link": ("new", "--register", "power-1", "--point", "flat-2", "--from", "2027-01-01"),
    "rate": (
        *("new", "--facility", "sonnenhof", "--energy-source", "heating", "--title", "Heat", "--component", "energy"),
        *("--unit", "kWh", "--price", "0.1180", "--from", "2026-01-01", "--points", "flat-1", "--points", "flat-2"),
        *("--tax-category", "S", "--tax-rate", "8.1", "--tax-included", "true"),
    ),
    "badge": (
        *("new", "--user", "blumer", "--point", "flat-1", "--identifier", "04:a1:b2:c3:d4:e5:f6"),
        *("--access-points", "laundry"),
    ),
}
CHANGED = {
    "facility": ("--grace-hours", "24"),
    "building": ("--quotity", "500"),
    "point": ("--name", "Attic left"),
    "user": ("--language", "fr"),
    "owner": ("--from", "2026-06-01"),
    "occupancy": ("--exit", "2026-12-31"),
    "meter": ("--name", "Heat, cellar"),
    "register": ("--modulus", "100000"),
    "link": ("--until", "2028-01-01"),
    "rate": ("--tax-rate", "7.7"),
    "badge": ("--state", "blocked"),
}
ENDED = {
    "occupancy": ("--exit", "2026-11-30"),
    "link": ("--until", "2027-02-01"),
    "rate": ("--until", "2027-01-01"),
    "badge": ("--until", "2027-01-01"),
}


@pytest.fixture(params=["alone", "served"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """A house, in a store that nobody uses or that somebody serves."""
    one = new_desk(tmp_path)
    pepper.create(tmp_path / "gateway.toml")
    if request.param == "alone":
        assert one.take(HOUSE).exit_code == 0
        yield one
        return
    with serving(one):
        assert one.take(HOUSE).exit_code == 0
        yield one


def done(desk: Desk, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    result = desk.submeter("--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(desk: Desk, *arguments: str) -> list[str]:
    """The sentences; and nothing has changed."""
    before = desk.rows()
    result = desk.submeter(*arguments)
    assert (result.exit_code, result.stdout) == (3, ""), result.output
    assert desk.rows() == before
    return result.stderr.splitlines()


def entries(desk: Desk, kind: str) -> dict[str, Any]:
    return {one["id"]: one for one in done(desk, kind, "list")}


@pytest.mark.parametrize("kind", TABLES)
def test_an_entry_is_added_changed_listed_shown_and_ended(desk: Desk, kind: str) -> None:
    if kind == "link":
        done(desk, "link", "end", "direct", "--until", "2027-01-01")
    added = done(desk, kind, "add", *MINIMAL[kind])["changes"][-1]
    assert (added["kind"], added["id"], added["before"]) == (kind, "new", None)
    assert done(desk, kind, "show", "new") == entries(desk, kind)["new"] == added["after"]

    (changed,) = done(desk, kind, "set", "new", *CHANGED[kind])["changes"]
    assert changed["before"] == added["after"]
    assert changed["after"] == entries(desk, kind)["new"] != added["after"]

    ended = done(desk, kind, "end", "new", *ENDED.get(kind, ()))["changes"][0]
    if kind not in ENDED:
        assert (ended["after"], "new" in entries(desk, kind)) == (None, False)
    else:
        assert ENDED[kind][1] in json.dumps(ended["after"])
        told = done(desk, kind, "end", "new", "--mistaken")
        assert (told["ended"], "new" in entries(desk, kind)) == (1, False)


def test_a_house_can_be_told_from_nothing_by_command_line_alone(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    legal = ("--kind", "legal", "--company", "Immo AG", "--registration", "CHE-1", "--address", "Platz 3")
    done(desk, "user", "add", "immo-ag", *legal)
    told = done(desk, "facility", "add", "hof", *MINIMAL["facility"][1:-1], "immo-ag")
    assert [(one["kind"], one["id"]) for one in told["changes"]] == [("owner", "hof-immo-ag"), ("facility", "hof")]
    done(desk, "building", "add", "haus", "--facility", "hof", "--name", "Haus")
    done(desk, "meter", "add", "power", "--facility", "hof", "--name", "Power")
    done(desk, "register", "add", "power-import", *MINIMAL["register"][1:])
    told = done(desk, "link", "add", "--new-point", "Rez gauche", "--register", "power-import", "--kind", "apartment")
    assert [one["after"] for one in told["changes"]] == [
        {"id": "rez-gauche", "name": "Rez gauche", "kind": "apartment", "building": "haus"},
        {"id": "power-import-rez-gauche", "register": "power-import", "point": "rez-gauche"},
    ]
    done(desk, *("user", "add"), *("blumer", *MINIMAL["user"][1:]))
    (moved,) = done(desk, "move", "rez-gauche", "2021-12-01", "--to", "blumer")["changes"]
    stay = {"id": "rez-gauche-2021-12-01", "point": "rez-gauche", "user": "blumer", "entry": "2021-12-01"}
    assert moved["after"] == stay


def test_what_export_prints_is_imported_again_and_changes_nothing(desk: Desk, tmp_path: Path) -> None:
    done(desk, "badge", "add", *MINIMAL["badge"])
    done(desk, "rate", "add", *MINIMAL["rate"])
    for option, name in (((), "export.toml"), (("--json",), "export.json")):
        printed = desk.submeter(*option, "export").stdout
        (tmp_path / name).write_text(printed, encoding="utf-8")
        told = done(desk, "import", str(tmp_path / name))
        assert (told["changes"], told["unchanged"]) == ([], ENTRIES + 2), name
    other = new_desk(_folder(tmp_path))
    assert tomllib.loads(desk.submeter("export").stdout).keys() == TABLES.keys()
    assert done(other, "import", str(tmp_path / "export.toml"))["added"] == ENTRIES + 2
    assert other.submeter("export").stdout == desk.submeter("export").stdout


def _folder(parent: Path) -> Path:
    folder = parent / "other"
    folder.mkdir()
    return folder


def test_a_badge_is_kept_without_its_identifier(desk: Desk) -> None:
    done(desk, "badge", "add", *MINIMAL["badge"])
    (row,) = (row for row in desk.rows() if row.kind == "badge")
    assert row.value is not None
    assert "04A1B2C3D4E5F6" not in row.value.upper()
    sealed = json.loads(row.value)["digest"]
    again = ("--user", "blumer", "--point", "flat-1", "--access-points", "laundry")
    (sentence,) = refused(desk, "badge", "add", "twin", *again, "--identifier", "04A1B2C3D4E5F6")
    assert "has the same identifier as" in sentence
    (changed,) = done(desk, "badge", "set", "new", "--identifier", "04A1B2C3D4E5F7")["changes"]
    assert changed["after"]["digest"] != sealed
    assert refused(desk, "badge", "add", "none", *again) == [
        'badge none: identifier: is missing; write e.g. identifier = "04A1B2C3"'
    ]
    for number in ("08A1B2C3", "04B1"):
        (sentence,) = refused(desk, "badge", "add", "bad", *again, "--identifier", number)
        assert number not in sentence


def test_a_move_ends_one_stay_and_begins_the_next(desk: Desk) -> None:
    done(desk, "occupancy", "set", "occ-1", "--exit", "")
    done(desk, "user", "add", *MINIMAL["user"])
    left, entered = done(desk, "move", "flat-1", "2026-10-20", "--to", "new")["changes"]
    assert (left["id"], left["after"]["exit"]) == ("occ-1", "2026-10-19")
    assert entered["after"] == {"id": "flat-1-2026-10-20", "point": "flat-1", "user": "new", "entry": "2026-10-20"}
    (vacant,) = done(desk, "move", "flat-1", "2026-12-01")["changes"]
    assert vacant["after"]["exit"] == "2026-11-30"
    (back,) = done(desk, "move", "flat-1", "2027-01-01", "--to", "blumer")["changes"]
    assert (back["before"], back["after"]["user"]) == (None, "blumer")


def test_a_move_that_was_recorded_too_late_is_moved_forward(desk: Desk) -> None:
    done(desk, "user", "add", *MINIMAL["user"])
    done(desk, "move", "flat-1", "2026-10-20", "--to", "new")
    left, entered = done(desk, "move", "flat-1", "2026-10-10", "--to", "new")["changes"]
    assert (left["after"]["exit"], entered["before"]["entry"], entered["after"]["entry"]) == (
        "2026-10-09",
        "2026-10-20",
        "2026-10-10",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("flat-9", "2026-11-01"), "point flat-9: there is none of this id; `submeter point list` names them"),
        (("flat-1", "2026-11-01", "--to", "x"), "user x: there is none of this id; `submeter user list` names them"),
        (("flat-2", "2026-11-01"), "point flat-2: nobody is there on 2026-11-01: it is vacant already"),
        (("flat-1", "2026-10-01", "--to", "blumer"), "point flat-1: blumer is there on 2026-10-01 already (occ-1): "),
        (("flat-1", "2026-01-01", "--to", "immo-ag"), "point flat-1: blumer enters on 2026-01-01 (occ-1): correct "),
        (("flat-1", "2025-06-01", "--to", "immo-ag"), "point flat-1: blumer enters on 2026-01-01 (occ-1): correct "),
        (("flat-1", "1.11.2026"), 'day: "1.11.2026" is no date; write e.g. 2026-01-31'),
        (("Flat 1", "2026-11-01"), 'point: "Flat 1" is no id; write 1 to 40 of a-z, 0-9 and -'),
    ],
)
def test_a_move_that_cannot_be_is_refused_in_one_sentence(
    desk: Desk, arguments: tuple[str, ...], sentence: str
) -> None:
    (told,) = refused(desk, "move", *arguments)
    assert told.startswith(sentence)


def test_a_price_holds_from_its_day_until_the_next(desk: Desk) -> None:
    (told,) = done(desk, "rate", "set", "electricity", "--price", "0.26", "--from", "2026-06-01")["changes"]
    assert told["after"]["prices"] == [
        {"from": "2026-01-01", "price": "0.2500", "version": 1},
        {"from": "2026-06-01", "price": "0.26", "version": 3},
        {"from": "2026-10-16", "price": "0.2700", "version": 2},
    ]
    done(desk, "rate", "end", "electricity", "--until", "2026-10-01")
    (told,) = done(desk, "rate", "set", "electricity", "--price", "0.30", "--from", "2026-09-01")["changes"]
    assert told["after"]["prices"][1:] == [
        {"from": "2026-06-01", "price": "0.26", "version": 3},
        {"from": "2026-09-01", "price": "0.30", "until": "2026-10-01", "version": 4},
    ]
    assert refused(desk, "rate", "end", "electricity", "--until", "2027-01-01") == [
        "rate electricity: until: has ended on 2026-10-01 already"
    ]
    assert refused(desk, "rate", "set", "electricity", "--price", "0.30") == [
        "rate electricity: from: say from which day the price holds (--from DATE)"
    ]


def test_a_value_holds_from_its_day_on(desk: Desk) -> None:
    (told,) = done(desk, "point", "set", "flat-2", "--people", "3")["changes"]
    assert told["after"]["people"] == "3"
    (told,) = done(desk, "point", "set", "flat-2", "--people", "4", "--from", "2026-11-01")["changes"]
    assert told["after"]["people"] == [{"value": "3"}, {"from": "2026-11-01", "value": "4"}]
    assert refused(desk, "point", "set", "flat-2", "--people", "5") == [
        "point flat-2: from: people has changed before: say from which day this value holds (--from DATE)"
    ]
    (told,) = done(desk, "point", "set", "flat-2", "--people", "")["changes"]
    assert "people" not in told["after"]


EVER = "would change since ever: change that by itself, without --from"
RULE = "a rule that begins on a day is for all points of its register: `submeter allocation set REGISTER --from DATE`"
OR_ANEW = "or end this rate on that day and add another one"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rate", "set", "electricity", "--price", "0.3", "--tax-rate", "8.5"), f"tax {EVER}, {OR_ANEW}"),
        (("rate", "set", "electricity", "--tax-rate", "8.5", "--title", "P"), f"tax and title {EVER}, {OR_ANEW}"),
        (("point", "set", "flat-2", "--people", "4", "--name", "Flat two"), f"name {EVER}"),
        (("link", "set", "lift-1", "--scope", "unit"), RULE),
        (("link", "set", "lift-1", "--key", "percentage", "--value", "10"), RULE),
    ],
)
def test_a_day_beside_what_holds_since_ever_is_refused(desk: Desk, arguments: tuple[str, ...], sentence: str) -> None:
    assert refused(desk, *arguments, "--from", "2026-11-01") == [f"{arguments[0]} {arguments[2]}: from: {sentence}"]
    assert len(done(desk, "audit", "--kind", arguments[0], "--id", arguments[2])) == 1


def test_a_rename_changes_nothing_but_the_name(desk: Desk) -> None:
    (told,) = done(desk, "meter", "set", "power", "--name", "Electricity, cellar")["changes"]
    assert told["after"] == {**told["before"], "name": "Electricity, cellar"}
    assert not desk.dirty()


def test_what_is_named_cannot_end(desk: Desk) -> None:
    assert refused(desk, "user", "end", "blumer") == [
        "user blumer: is still named by occupancy occ-1: end or change that first"
    ]
    assert refused(desk, "link", "end", "lift-2") == [
        "link lift-2: say when: --until DATE (the first day without it), or --mistaken where it never held"
    ]
    (sentence,) = refused(desk, "point", "end", "flat-2")
    assert sentence == "point flat-2: is still named by link lift-2: end or change that first"


def test_several_mistakes_at_once_are_all_told(desk: Desk) -> None:
    told = refused(desk, "rate", "add", "new", "--facility", "Sonnenhof", "--price", "0.1.2", "--component", "energy")
    assert [re.sub(r": .*", "", line.removeprefix("rate new: ")) for line in told] == [
        "facility",
        "energy_source",
        "title",
        "unit",
        "prices[0].price",
        "tax",
    ]
    (sentence,) = refused(desk, "point", "add", "flat-1", *MINIMAL["point"][1:])
    assert sentence == "point flat-1: id: this id is taken; `submeter point set flat-1` changes its entry"
    (sentence,) = refused(desk, "point", "show", "flat-9")
    assert sentence == "point flat-9: there is none of this id; `submeter point list` names them"
    (sentence,) = refused(desk, "point", "set", "flat-1")
    assert sentence == "point flat-1: nothing to change; name at least one key (see --help)"


def test_every_change_is_audited(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOGNAME", raising=False)
    done(desk, "meter", "set", "power", "--name", "Electricity, cellar")
    first, second = done(desk, "audit", "--kind", "meter", "--id", "power")
    assert (first["before"], first["after"]["name"]) == (None, "Electricity")
    assert (second["before"], second["after"]["name"]) == (first["after"], "Electricity, cellar")
    assert first["by"] == second["by"] == re.split(r"\s+", desk.submeter("audit").stdout.splitlines()[-1])[1]
    assert len(done(desk, "audit")) == ENTRIES + 1
    assert (
        desk.submeter("audit", "--kind", "meter")
        .stdout.splitlines()[-1]
        .endswith("  meter power: name: Electricity -> Electricity, cellar")
    )


def test_allocation_shows_every_register(desk: Desk) -> None:
    done(desk, "register", "add", *MINIMAL["register"])
    asked = ("allocation", "show", "--facility", "sonnenhof", "--energy-source", "electricity", "--at", "2026-10-20")
    told = done(desk, *asked)["registers"]
    assert [(one["register"], one["link"]) for one in told] == [
        ("new", "unlinked"),
        ("power-1", "direct"),
        ("power-lift", "common"),
    ]
    whole = {"numerator": "1", "denominator": "1", "coefficient": "1"}
    assert told[1]["points"] == [{"point": "flat-1", "link": "direct", **whole}]
    assert told[2]["points"] == [
        {"point": "flat-1", "link": "lift-1", "numerator": "600", "denominator": "1000", "coefficient": "0.6"},
        {"point": "flat-2", "link": "lift-2", "numerator": "400", "denominator": "1000", "coefficient": "0.4"},
    ]
    assert told[2]["remainder"] == {"numerator": "0", "coefficient": "0"}
    for point, surface in (("flat-1", "20"), ("flat-2", "40")):
        done(desk, "point", "set", point, "--surface", surface)
    done(desk, "allocation", "set", "power-lift", "--scope", "unit", "--key", "surface")
    shares = done(desk, *asked)["registers"][2]["points"]
    assert [one["coefficient"] for one in shares] == ["1/3", "2/3"]
    text = desk.submeter(*asked).stdout
    assert "power-1 (Electricity, kWh): direct\n  flat-1: 1\n" in text
    assert "power-lift (Electricity, kWh): common, unit scope by surface\n  flat-1: 20 of 60 = 1/3\n" in text
    (sentence,) = refused(desk, *asked[:5], "steam")
    assert sentence.startswith("'steam' is no energy source; write one of electricity, ")


def test_a_rule_of_sharing_holds_from_its_day_on(desk: Desk) -> None:
    rule = ("--scope", "building", "--key", "percentage", "--from", "2026-10-15")
    values = ("--value", "flat-1=12.5", "--value", "flat-2=50")
    told = done(desk, "allocation", "set", "power-lift", *rule, *values)["changes"]
    assert [(one["id"], one["after"].get("until"), one["after"].get("value")) for one in told] == [
        ("lift-1", "2026-10-15", None),
        ("power-lift-flat-1-2026-10-15", None, "12.5"),
        ("lift-2", "2026-10-15", None),
        ("power-lift-flat-2-2026-10-15", None, "50"),
    ]
    shown = ("allocation", "show", "--facility", "sonnenhof", "--energy-source", "electricity", "--at")
    before, after = (done(desk, *shown, day)["registers"][1] for day in ("2026-10-14", "2026-10-15"))
    assert (before["key"], after["key"]) == ("quotity", "percentage")
    assert after["remainder"] == {"numerator": "37.5", "coefficient": "0.375"}
    assert refused(desk, "allocation", "set", "power-lift", *rule, "--value", "cottage=1") == [
        "register power-lift: is not linked to cottage; link it first (`submeter link add`)"
    ]
    (sentence, _) = refused(desk, "allocation", "set", "power-lift", *rule)
    assert "a link by percentage has its own value" in sentence
