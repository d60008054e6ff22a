"""Reads property.toml: every entry by its own schema, so that one mistake hides no other."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway.files import read_bytes
from gateway.service.property_schema import TABLES, Entity
from gateway.tomlfile import TOO_DEEP, Document, FileProblem, Lines, in_order, read, schema_problems

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.core.problem import Problem
    from gateway.core.refusal import Place
    from gateway.tomlfile import Problems

Named = tuple[str, str]
"""kind and id of an entity"""
_NAMELESS = "--"
"""how the id begins that stands for one that is missing"""
_NAME, _METERED = {"name": "-"}, {"resolution": "1", "max_per_day": "1"}
_LIMITS = {"fuse": "1x1 A", "pipe": "Q3 1", "power": "1 kW"}
_STAND_INS: dict[str, dict[str, Any]] = {
    "facility": {**_NAME, "grace_hours": 0},
    "building": _NAME,
    "point": {**_NAME, "kind": "common"},
    "user": {
        "first_name": "-",
        "last_name": "-",
        "company": "-",
        "registration": "-",
        "language": "de",
        "address": "-",
    },
    "meter": _NAME,
    "register": {**_METERED, **_LIMITS, "energy_source": "electricity", "unit": "kWh"},
    "rate": {"title": "-", "tax": {"category": "Z", "rate": "0", "included": True}},
}
"""values of keys that the rules of the whole book do not look at"""


@dataclass(slots=True, kw_only=True)
class PropertyFile:
    """The entries of a file, as far as they can be read."""

    lines: Lines
    entities: list[Entity] = field(default_factory=list)
    places: dict[Named, Place] = field(default_factory=dict)
    refused: set[Named] = field(default_factory=set)
    """what has an id but cannot be read"""
    mistakes: list[FileProblem] = field(default_factory=list)
    references: list[tuple[str, str, str, str]] = field(default_factory=list)
    """kind and id of what cannot be read, a key of it that refers, and what that names"""

    def problems(self, found: Iterable[Problem]) -> Problems:
        """The mistakes of reading and those of the whole book, each with its place in the file."""
        return in_order([*self.mistakes, *map(self._placed, found)])

    def _placed(self, problem: Problem) -> FileProblem:
        """Of an entity that the file does not mention: with its kind and id."""
        place = self.places.get((problem.kind, problem.id))
        if place is None:
            path = f"{problem.kind} {problem.id}".strip()  # of the whole file: nothing
            return FileProblem(file=self.lines.file, line=0, path=path, text=problem.text)
        inside = (*place, problem.field) if problem.field else place
        name = "" if problem.id.startswith(_NAMELESS) else f"{problem.id}: "
        return self.lines.problem(inside, f"{name}{problem.text}")


def read_file(path: Path) -> Document | Problems:
    """The tables of a file: TOML, or JSON where its name ends so."""
    return _read_json(path) if path.suffix == ".json" else read(path)


def _read_json(path: Path) -> Document | Problems:
    lines = Lines(file=str(path), known={})
    try:
        table = json.loads(read_bytes(path))
    except OSError as error:
        return (lines.problem((), f"cannot be read ({error.strerror}); name a file that is there"),)
    except RecursionError:
        return (lines.problem((), TOO_DEEP),)
    except ValueError as error:
        return (lines.problem((), f"this is not JSON: {error}; correct it"),)
    if not isinstance(table, dict):
        return (lines.problem((), 'this is no object of tables; write e.g. {"user": [...]}'),)
    return Document(table=table, lines=lines)


def read_entries(document: Document) -> PropertyFile:
    """All entries of the file, and all mistakes that one entry can have by itself."""
    file = PropertyFile(lines=document.lines)
    for table, entries in document.table.items():
        model = TABLES.get(table)
        if model is None:
            text = f"this table is not known; remove it, known are {', '.join(TABLES)}"
            file.mistakes.append(file.lines.problem((table,), text))
        elif not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            file.mistakes.append(file.lines.problem((table,), f"this is no list of entries; write [[{table}]]"))
        else:
            for number, entry in enumerate(entries):
                _read_entry(file, model, (table, number), entry)
    return file


def _read_entry(file: PropertyFile, model: type[Entity], place: Place, entry: dict[str, Any]) -> None:
    name = (model.table, str(entry.get("id", "")))
    first = file.places.setdefault(name, place)
    if first != place and "id" in entry:
        text = f"{name[1]} is already the {model.table} in line {file.lines.line((*first, 'id'))}; give each its own id"
        file.mistakes.append(file.lines.problem((*place, "id"), text))
        return
    try:
        file.entities.append(_validated(model, entry, file.lines))
    except ValidationError as error:
        file.mistakes += schema_problems(error, model, file.lines, place)
        _read_nevertheless(file, model, place, entry, error)


def _validated(model: type[Entity], entry: dict[str, Any], lines: Lines) -> Entity:
    """JSON has no dates: there, and only there, they are text."""
    return model.model_validate(entry) if lines.known else model.model_validate_json(json.dumps(entry))


def _read_nevertheless(
    file: PropertyFile, model: type[Entity], place: Place, entry: dict[str, Any], error: ValidationError
) -> None:
    """What can be read of an entry with mistakes still takes part in the rules of the whole book.

    Keys that nobody knows are left out, and what those rules do not look at has a value that stands for it.
    """
    known, stand_ins = entry, _STAND_INS.get(model.table, {})
    for each in error.errors(include_url=False):
        if each["type"] == "extra_forbidden":
            known = _without(known, each["loc"])
        elif each["loc"] and each["loc"][0] in stand_ins:
            known = {**known, each["loc"][0]: stand_ins[each["loc"][0]]}
    try:
        file.entities.append(_validated(model, known, file.lines))
    except ValidationError:  # its mistakes are told already
        name = str(entry.get("id") or f"{_NAMELESS}{place[-1]}")
        file.places.setdefault((model.table, name), place)
        file.refused.add((model.table, name))
        named = {key: target for key, target in entry.items() if key in TABLES and isinstance(target, str)}
        file.references += [(model.table, name, key, target) for key, target in named.items()]


def _without(value: Any, place: Place) -> Any:  # noqa: ANN401 - whatever a TOML file holds
    """A copy of a table or a list without the key at the path."""
    first, rest = place[0], place[1:]
    if isinstance(value, list):
        return [_without(item, rest) if number == first else item for number, item in enumerate(value)]
    if not rest:
        return {key: item for key, item in value.items() if key != first}
    return {key: _without(item, rest) if key == first else item for key, item in value.items()}
