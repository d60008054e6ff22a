"""Any command, however odd, is a plan or a refusal in sentences: never an exception, never a book with problems."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.cli.property_file import read_entries
from gateway.core.access import SEALED
from gateway.core.book import problems
from gateway.service.command import Plan, record
from gateway.service.command_execute import prepare
from gateway.service.command_schema import (
    COMMAND,
    AddReading,
    Change,
    EndAlarm,
    Enrol,
    Lines,
    VoidReading,
    VoidSpan,
)
from gateway.service.property import entities
from gateway.service.property_schema import TABLES
from gateway.service.records import ClosedMonth, DirtyMonth, PropertyChange, PropertyRow
from gateway.tomlfile import Document, parse
from tests.adapters.importing import HOUSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.service.property_schema import Entity

NOW = datetime(2026, 11, 3, tzinfo=UTC)
_document = parse(HOUSE, "property.toml")
assert isinstance(_document, Document)
KNOWN: tuple[Entity, ...] = tuple(read_entries(_document).entities)
IDS = sorted({one.id for one in KNOWN})
KEYS = sorted(
    {info.alias or name for model in TABLES.values() for name, info in model.model_fields.items()} | {"price"}
)

NUMBERS = ["", "0.5", "12.50", "-1", "1e3", "x" * 300, "\n"]
DAYS = ["2025-12-31", "2026-01-01", "2026-10-14", "2026-10-15", "2026-10-16", "2199-12-31"]
WORDS = ["new", "electricity", "kWh", "m3", "building", "unit", "quotity", "percentage", "natural", "apartment", "S"]
words = st.sampled_from([*IDS, *NUMBERS, *DAYS, *WORDS, "2026-02-30", "04A1B2C3", "08A1B2C3"])
days = st.sampled_from(DAYS)
steps = st.fixed_dictionaries({}, optional={"from": days, "until": days, "value": words, "price": words, "at": words})
anything = st.one_of(
    *[words, st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)],
    *[st.lists(st.one_of(words, steps), max_size=3), st.dictionaries(words, words, max_size=2)],
)
values = st.dictionaries(st.sampled_from(KEYS), anything, max_size=5)
ids = st.sampled_from([*IDS, "new"])
registers = st.sampled_from(["import", "lift", "power-1", "power-lift", "x"])
indexes = st.dictionaries(registers, st.sampled_from(["0", "12.50", "x"]), max_size=3)


@st.composite
def odd(draw: st.DrawFn) -> tuple[Entity, dict[str, Any]]:
    """An entry, and its object with something odd in it or nothing at all."""
    one = draw(st.sampled_from(KNOWN))
    keys = st.sampled_from(sorted({info.alias or name for name, info in type(one).model_fields.items()}))
    return one, {**one.given(), **draw(st.dictionaries(keys, anything, max_size=2)), **draw(strays)}


strays = st.one_of(st.just({}), st.just({}), st.just({}), values)


@st.composite
def edits(draw: st.DrawFn) -> dict[str, Any]:
    """A command about one entry, or an import of a few."""
    one, value = draw(odd())
    verb = draw(st.sampled_from(["set", "add", "end", "import"]))
    command: dict[str, Any] = {"verb": verb, "kind": one.table, "id": draw(st.sampled_from([one.id, "new"]))}
    match verb:
        case "set":
            chosen = draw(st.lists(st.sampled_from([*value, "price"]), min_size=1, max_size=2))
            command["value"] = {key: value.get(key, "0.5") for key in chosen if key != "id"}
            command |= draw(st.fixed_dictionaries({}, optional={"since": days}))
        case "add":
            command["value"] = {**value, "id": command.pop("id")}
            command |= draw(st.fixed_dictionaries({}, optional={"new_point": values, "owner": ids}))
        case "end":
            command |= draw(st.fixed_dictionaries({}, optional={"day": days, "mistaken": st.booleans()}))
        case _:
            others = draw(st.lists(odd(), max_size=2))
            entries = [{"kind": other.table, "value": held} for other, held in [(one, value), *others]]
            command = {"verb": "import", "entries": entries}
    return command


points, users = st.sampled_from(["flat-1", "flat-2", "x"]), st.sampled_from(["blumer", "immo-ag", "x"])
moves = st.fixed_dictionaries({"verb": st.just("move"), "point": points, "day": days}, optional={"to": users})
rules = st.fixed_dictionaries(
    {
        "verb": st.just("allocation set"),
        "register": st.sampled_from(["power-1", "power-lift", "x"]),
        "scope": st.sampled_from(["building", "unit"]),
        "key": st.sampled_from(["quotity", "percentage", "people"]),
    },
    optional={"since": days, "values": st.dictionaries(points, st.sampled_from(["12.50", "50", "x"]), max_size=2)},
)
exchanges = st.fixed_dictionaries(
    {"verb": st.just("exchange"), "meter": st.just("power"), "at": days, "final": indexes, "start": indexes}
)
commands = st.one_of(edits(), edits(), moves, rules, exchanges)


def told(command: dict[str, Any]) -> Change | None:
    """The command as it is read at the edge; None where it is refused there."""
    try:
        found = COMMAND.validate_json(json.dumps(command))
    except ValidationError:
        return None
    assert not isinstance(found, AddReading | VoidReading | VoidSpan | EndAlarm | Enrol | Lines)
    return found


class Shelf:
    """Keeps what a plan records."""

    def __init__(self) -> None:
        self.changes: Sequence[PropertyChange] = ()

    async def closed_months(self, facility: str | None = None) -> Sequence[ClosedMonth]:
        names = ["sonnenhof", "mondhof"] if facility is None else [facility]
        return [ClosedMonth(facility=one, month="2026-10", closed_at=NOW, settled_at=NOW) for one in names]

    async def record_property(
        self, changes: Sequence[PropertyChange], by: str, at: datetime, dirty: Sequence[DirtyMonth] = ()
    ) -> int:
        assert (by, at) == ("somebody", NOW)
        assert {mark.facility for mark in dirty} <= {"sonnenhof", "mondhof"}
        self.changes = changes
        return len(changes)


@given(commands)
def test_every_command_is_a_sound_plan_or_sentences(command: dict[str, Any]) -> None:
    change = told(command)
    if change is None:
        return
    found = prepare(KNOWN, change, NOW, lambda identifier: SEALED + identifier.rjust(64, "0").lower()[:64])
    if not isinstance(found, Plan):
        assert found, "a refusal has a reason"
        assert all(problem.text for problem in found)
        return
    assert not problems(found.book)
    shelf = Shelf()
    asyncio.run(record(shelf, found, by="somebody", at=NOW))
    assert len(shelf.changes) == len(found.changes)
    for one in found.changes:
        if one.after is not None:  # what is kept can be read again, and is the same
            row = PropertyRow(
                kind=one.kind, id=one.id, value=one.after.printed(), recorded_at=NOW, recorded_by="somebody"
            )
            assert entities([row]) == (one.after,)


@given(st.lists(st.tuples(days, st.one_of(st.none(), st.sampled_from(["blumer", "immo-ag"]))), max_size=6))
def test_however_people_move_nobody_shares_a_day(moves: list[tuple[str, str | None]]) -> None:
    known = KNOWN
    for day, user in moves:
        change = told({"verb": "move", "point": "flat-1", "day": day, "to": user})
        assert change is not None
        found = prepare(known, change, NOW, str)
        if isinstance(found, Plan):
            changed = {(one.kind, one.id): one.after for one in found.changes}
            kept = [one for one in known if (one.table, one.id) not in changed]
            known = (*kept, *(one for one in changed.values() if one is not None))
            assert not problems(found.book)


def test_what_the_edge_refuses_is_refused_there() -> None:
    with pytest.raises(ValidationError):
        COMMAND.validate_json('{"verb":"move","point":"flat-1","day":"2026-01-01","kind":"x"}')
