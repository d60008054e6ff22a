"""How the answer to a command, and an entry, are printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from pydantic import BaseModel

from gateway.cli.exits import Refused
from gateway.service.property_schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cli import Options
    from gateway.service.command_schema import Answer, ChangeTold, MonthTold, Value
    from gateway.service.property_schema import Entity

_UNTOLD = ("id", "digest")
"""keys that say nothing to a person, or stand before the others"""
_NUMBERS = "version"
"""how keys begin that follow from the change of others"""


def tell(options: Options, answer: Answer) -> None:
    """Print what has changed; Refused where nothing was done."""
    if not answer.ok:
        raise Refused.all(answer.problems, [one.model_dump() for one in answer.problems])
    click.echo(answer_json(answer) if options.json else answer_text(answer))


def answer_json(answer: Answer) -> str:
    """Counts, and every entry that has changed, before and after."""
    counts = {
        "added": answer.added,
        "changed": answer.changed,
        "ended": answer.ended,
        "unchanged": answer.unchanged,
    }
    changes = [change.model_dump() for change in answer.changes]
    again = list(answer.settled_again)
    told = {"ok": True, "applied": answer.applied, **counts, "changes": changes, "settled_again": again}
    foreseen = answer.foreseen
    told["foreseen"] = None if foreseen is None else list(map(_month, foreseen))
    told |= {"said": answer.said} if answer.said else {}
    return json.dumps(told, ensure_ascii=False)


def answer_text(answer: Answer) -> str:
    """A line for each change, the closed months that they touch, and their number."""
    ended = f", {answer.ended} ended" if answer.ended else ""
    summary = f"{answer.added} added, {answer.changed} changed{ended}, {answer.unchanged} unchanged"
    again = list(_again(answer)) if answer.settled_again else []
    said = [answer.said] if answer.said else []
    return "\n".join([*map(change_text, answer.changes), *said, *again, summary])


def _again(answer: Answer) -> Iterator[str]:
    """The closed months, and what becomes of the charges of each."""
    yield f"closed months settled again: {', '.join(answer.settled_again)}"
    if answer.foreseen is None:
        yield "they are settled in the background; `submeter alarm list` shows what is held then"
    places = {one.facility for one in answer.foreseen or ()}
    for one in answer.foreseen or ():
        name = f"{one.facility} {one.month}" if len(places) > 1 else one.month
        back = f"{one.taken_back} charge{'s' * (one.taken_back != 1)} taken back"
        yield f"{name}: {back}, {one.charged} charged anew"
        yield from (f"{name}: HELD: {each}" for each in one.held)


def _month(one: MonthTold) -> dict[str, Any]:
    held = [
        {"code": each.code, "register": each.register_, "from": each.start, "until": each.until, "text": each.text}
        for each in one.held
    ]
    return {**one.model_dump(), "held": held}


def change_text(change: ChangeTold) -> str:
    """One line, such as "rate electricity: price from 2026-10-16: 0.2700 -> 0.2800"."""
    before, after = (None if one is None else flat(change.kind, one) for one in (change.before, change.after))
    name = f"{change.kind} {change.id}"
    if before is None or after is None:
        word, shown = ("ended", before) if after is None else ("new", after)
        return f"{name}: {word}: {', '.join(f'{key} {value}' for key, value in (shown or {}).items())}"
    keys = [key for key in before | after if before.get(key) != after.get(key) and not key.startswith(_NUMBERS)]
    steps = (f"{key}: {before.get(key, 'nothing')} -> {after.get(key, 'nothing')}" for key in keys)
    return f"{name}: {'; '.join(steps)}"


def flat(kind: str, value: Value) -> dict[str, Any]:
    """What an entry says, flat: {"title": "Electricity", "price from 2026-10-16": 0.2700, "tax rate": 8.1}."""
    model = TABLES.get(kind)
    if model is None:
        return {key: ", ".join(text) if isinstance(text, list) else text for key, text in value.items()}
    return _items(model.model_validate_json(json.dumps(value)))


def _items(entity: Entity) -> dict[str, Any]:
    return {
        name: value for field, given in _given(entity) if field not in _UNTOLD for name, value in _flat(field, given)
    }


def _flat(field: str, given: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - whatever a schema holds
    if isinstance(given, BaseModel):
        yield from ((f"{field} {name}", value) for name, value in _given(given))
    elif isinstance(given, tuple) and isinstance(given[0], BaseModel):
        for part in given:
            inside = dict(_given(part))
            when = next((f" {name} {inside.pop(name)}" for name in ("from", "at") if name in inside), "")
            yield from ((f"{field if name == 'value' else name}{when}", value) for name, value in inside.items())
    else:
        yield field, ", ".join(given) if isinstance(given, tuple) else given


def _given(model: BaseModel) -> Iterator[tuple[str, Any]]:
    """What the model has, by the names of the file."""
    for name, info in type(model).model_fields.items():
        if (value := getattr(model, name)) is not None:
            yield info.alias or name, str(value).lower() if isinstance(value, bool) else value
