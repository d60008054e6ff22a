"""Whatever is written into any key of any of our schemas, the answer is in our words and never in pydantic's."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, get_args

import pytest
from pydantic import BaseModel, ValidationError

from gateway import drivers
from gateway.control import _mistakes
from gateway.core.refusal import CLAUSES, FORMS, UNFIT
from gateway.ports.field import ModelKeeper
from gateway.schema_errors import sentence
from gateway.service.command_schema import COMMAND, VERBS
from gateway.service.property_schema import TABLES
from gateway.settings_access import MachineTable, ReaderTable
from gateway.settings_file import BusTable, MeterTable, SettingsFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

SELDOM = {"json_invalid", "model_attributes_type"}
"""of a whole command"""
OURS = {"missing", "extra_forbidden", "value_error", "string_pattern_mismatch"}
"""types that have more than a clause"""
WRONG: tuple[object, ...] = (
    *(None, True, 0, -1, 10**30, 1.5, float("nan"), float("inf"), "", "x y", "ä" * 300, "2026-13-01", b"x"),
    *([], [1], [[]], {}, {"a": 1}, {1: 2}, (1,), {1}, object()),
    *(date(2026, 1, 1), date.min, time(1), datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)),  # noqa: DTZ001 - wrong
)


def schemas() -> list[type[BaseModel]]:
    """Everything that a person or a program writes by, with the tables inside."""
    lines = [drivers.find(name) for name in drivers.names()]
    access = [drivers.find_reader(name).schema for name in drivers.names(drivers.READERS)]
    access += [drivers.find_machine(name).schema for name in drivers.names(drivers.MACHINES)]
    wiring = [schema for line in lines for schema in (line.bus_schema, line.meter_schema)]
    found: list[type[BaseModel]] = [SettingsFile, BusTable, MeterTable, ReaderTable, MachineTable, *wiring, *access]
    found += [line.model_schema for line in lines if isinstance(line, ModelKeeper)]
    found += [*TABLES.values(), *VERBS.values()]
    for schema in found:  # it grows meanwhile
        for field in schema.model_fields.values():
            found += [each for each in inside(field.annotation) if each not in found]
    return found


def inside(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from inside(each)


def mistakes(schema: type[BaseModel]) -> Iterator[ErrorDetails]:
    """What the schema says to every wrong value in every key, from TOML and from JSON."""
    for name, field in schema.model_fields.items():
        for value in WRONG:
            table = {field.alias or name: value}
            try:
                schema.model_validate(table)
            except ValidationError as error:
                yield from error.errors()
            try:
                schema.model_validate_json(json.dumps(table, default=str))
            except (ValidationError, TypeError) as error:
                yield from error.errors() if isinstance(error, ValidationError) else ()


def test_every_mistake_that_any_schema_can_find_is_told_in_our_words() -> None:
    found = [(schema, each) for schema in schemas() for each in mistakes(schema)]
    assert {each["type"] for _, each in found} - OURS == set(CLAUSES) - SELDOM
    assert {each["ctx"]["pattern"] for _, each in found if each["type"] == "string_pattern_mismatch"} == set(FORMS)
    for schema, each in found:
        text = sentence(each, schema)
        assert UNFIT not in text, (schema, each)
        assert each["type"] == "value_error" or (each["msg"] not in text and len(text) < 400), text
        assert "nput should" not in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"hello", "this is no JSON; write one object"),
        (b'{"verb":"move","point":"\\ud800"}', "this is no JSON; write one object"),
        (b"[]", "a list is no table of keys and values"),
        (b"{}", "its verb is not known; write one of import, add, set"),
        (b'{"verb":["move"]}', "its verb is not known; write one of import, add, set"),
        (b'{"verb":"reading add","meter":1}', "reading add.meter: 1 is no text; put it into quotes, e.g. "),
        (b'{"verb":"import","entries":[{"kind":"x"}]}', "import.entries[0].kind: \"x\" is not one of 'facility', "),
    ],
)
def test_a_command_with_a_mistake_is_told_which(line: bytes, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        COMMAND.validate_json(line)
    assert _mistakes(refused.value)[0].startswith(f"the command is refused: {said}")


def test_a_badge_s_identifier_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as refused:
        TABLES["badge"].model_validate({"identifier": 12345678})
    told = [sentence(each, TABLES["badge"]) for each in refused.value.errors()]
    assert not any("12345678" in text for text in told)


def test_a_table_with_too_few_brackets_is_told_so() -> None:
    with pytest.raises(ValidationError) as refused:
        SettingsFile.model_validate({"bus": {"id": "mbus-1"}})
    told = [sentence(each, SettingsFile) for each in refused.value.errors()]
    assert "is a single table; write [[bus]], with two brackets on each side" in told
