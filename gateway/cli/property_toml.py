"""Writes property data as property.toml: what import reads, byte for byte the same values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.service.property_schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.service.property_schema import Entity

_BARE = frozenset({"from", "until", "entry", "exit", "at"})
"""keys whose values are dates and instants: TOML writes them without quotes"""


def tables(entities: Iterable[Entity]) -> dict[str, list[dict[str, Any]]]:
    """Every entry by its table, tables in an order in which everything is named before it is referred to."""
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    for one in entities:
        found[one.table].append(one.given())
    return {table: entries for table, entries in found.items() if entries}


def toml(entities: Iterable[Entity]) -> str:
    """The whole file."""
    return "\n".join(_table(name, entry) for name, entries in tables(entities).items() for entry in entries)


def _table(name: str, entry: dict[str, Any]) -> str:
    order = sorted(entry, key=lambda key: key != "id")  # the id first, the rest as the schema has it
    return "\n".join([f"[[{name}]]", *(f"{key} = {_value(key, entry[key])}" for key in order), ""])


def _value(key: str, value: object) -> str:
    match value:
        case str() if key in _BARE:
            return value
        case list():
            return f"[{', '.join(_value('', item) for item in value)}]"
        case dict():
            return f"{{ {', '.join(f'{name} = {_value(name, item)}' for name, item in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)  # TOML writes text, whole numbers and booleans as JSON does
