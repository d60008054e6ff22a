"""What an import makes of the entries that are known: what its file does not mention stays, also inside an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.problem import Problem
from gateway.service import property_schema as schema
from gateway.service.command_edits import DATED, Edit, entry, replaced
from gateway.service.property_fields import SINCE_EVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from gateway.service.command_edits import Known
    from gateway.service.command_schema import Import, Value

_GO_WITH = {
    "user": ("kind", ("first_name", "last_name", "company", "registration")),
    "link": ("key", ("value",)),
}
"""a key, and those that mean nothing any more where it is told otherwise"""
_STEPS = {**dict.fromkeys(DATED, "from"), "prices": "from", "exchanges": "at"}
"""keys that hold lists, and what their elements are known by"""
_REMEDY = (
    "is known but not in this file, which is older than what is known: export what is known (submeter export) "
    "and change that"
)


def taken_over(known: Known, command: Import) -> Edit:
    """The entries of an import upon those that are known; its badges are sealed later."""
    read = Edit.of(entry(one.kind, one.value) for one in command.entries)
    result = {(one.table, one.id): one for one in read.told}
    older = [problem for one in read.told for problem in _older(known, result, one)]
    merged = Edit.of(_upon(known, one) for one in read.told)
    there = {*known, *result, *command.refused}
    strays = [_stray(*one) for one in command.references if one[2:] not in there]
    return Edit(told=merged.told, refused=command.refused, problems=(*read.problems, *strays, *older, *merged.problems))


def _stray(kind: str, entity: str, key: str, target: str) -> Problem:
    text = f"{key} {target!r} is not known: add a [[{key}]] with this id, or correct the name"
    return Problem(code=f"unknown_{key}", kind=kind, id=entity, text=text, field=key)


def _upon(known: Known, told: schema.Entity) -> schema.Entity | Edit:
    before = known.get((told.table, told.id))
    return told if before is None else entry(told.table, merged(told.table, before.given(), told.given()))


def merged(kind: str, before: Value, told: Value) -> Value:
    """The entry as told, with all that was known of it and is not told otherwise."""
    kept = replaced(kind, before, told)
    key, dependent = _GO_WITH.get(kind, ("", ()))
    if key in told and told[key] != before.get(key):
        kept = {name: value for name, value in kept.items() if name not in dependent}
    return kept | {name: _inside(name, kept.get(name), value) for name, value in told.items()}


def _inside(name: str, before: object, told: object) -> object:
    if name == "tax" and isinstance(before, dict) and isinstance(told, dict):
        return {**before, **told} if before.get("category") == told.get("category") else told
    by = _STEPS.get(name)
    if by is None or not isinstance(before, list) or not isinstance(told, list):
        return told
    return list(_steps(by, before, told))


def _steps(by: str, before: list[dict[str, Any]], told: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each told step with what was known of it; a price whose follower begins before its known end ends with that."""
    known = {step.get(by): step for step in before}
    for step, follower in zip(told, [*told[1:], {}], strict=True):
        kept = dict(known.get(step.get(by), {}))
        if str(kept.get("until", "")) > str(follower.get("from", "9999")):
            del kept["until"]
        yield {**kept, **step}


def _older(known: Known, result: Known, told: schema.Entity) -> Iterator[Problem]:
    """What was recorded by command and a file does not have is a sign of its age."""
    before = known.get((told.table, told.id))
    match before, told:
        case schema.Register(), schema.Register():
            lost = _exchanges(before, told)
        case schema.Meter(), schema.Meter():
            lost = _serial(known, result, before, told)
        case schema.Stay(), schema.Stay():
            lost = [("exit", f"the exit of {before.exit}")] if before.exit and told.exit is None else []
        case None, _:
            lost = []
        case _:
            lost = _later_steps(before, told)
    for key, what in lost:
        yield Problem(code="refused", kind=told.table, id=told.id, text=f"{what} {_REMEDY}", field=key)


def _exchanges(before: schema.Register, told: schema.Register) -> list[tuple[str, str]]:
    named = {step.at for step in told.exchanges or ()}
    lost = [step for step in before.exchanges or () if step.at not in named]
    return [("exchanges", f"the exchange of {step.at:%Y-%m-%d}") for step in lost[:1]]


def _serial(known: Known, result: Known, before: schema.Meter, told: schema.Meter) -> list[tuple[str, str]]:
    """A serial that came with the last exchange is not taken back by a file that has another."""
    steps = [
        step
        for one in (*known.values(), *result.values())
        if isinstance(one, schema.Register) and one.meter == before.id
        for step in one.exchanges or ()
        if step.serial is not None
    ]
    last = max(steps, key=lambda step: step.at, default=None)
    if last is None or told.serial in (None, before.serial) or before.serial != last.serial:
        return []
    return [("serial", f"the serial {last.serial}, since the exchange of {last.at:%Y-%m-%d},")]


def _later_steps(before: schema.Entity, told: schema.Entity) -> list[tuple[str, str]]:
    """Of each list, the first step that begins later than the last one of the file."""
    found = []
    for key in _STEPS:
        had, has = _begins(before, key), _begins(told, key)
        later = [day for day in had if has and day > max(has)]
        if later:
            found.append((key, f"the {'price' if key == 'prices' else key} from {min(later)}"))
    return found


def _begins(entity: schema.Entity, key: str) -> list[date]:
    steps: Iterable[Any] = getattr(entity, key, None) or ()
    return [step.from_ or SINCE_EVER for step in steps]
