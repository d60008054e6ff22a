"""What the commands add, set and end make of the entries that are known."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway.core.problem import Problem
from gateway.core.refusal import dotted
from gateway.schema_errors import sentence
from gateway.service import property_schema as schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gateway.service.command import Named
    from gateway.service.command_schema import Add, End, Set, Value

Known = dict["Named", schema.Entity]
"""every entry by kind and id"""

DATED = frozenset({"surface", "volume", "quotity", "people", "value"})
"""keys whose value may change on a day"""
_ONE_OF: dict[str, tuple[str, ...]] = {
    "owner": ("facility", "building", "point"),
    "badge": ("identifier", "digest"),
    "register": schema.LIMITS,
}
"""keys that stand for each other: the one that is told takes the place of the other"""
ID_LENGTH = 40
_COUNTED = 3
"""room for "-2", "-3" ... behind an id that is taken"""
_NEW_RULE = (
    "a rule that begins on a day is for all points of its register: `submeter allocation set REGISTER --from DATE`"
)
LAST_DAY = {"occupancy": "exit", "link": "until", "badge": "until", "rate": "until"}
"""the tables whose entries end on a day, and how they write it"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What a command makes of the entries, or why it makes nothing of them."""

    told: tuple[schema.Entity, ...] = ()
    ended: tuple[Named, ...] = ()
    refused: tuple[Named, ...] = ()
    problems: tuple[Problem, ...] = ()
    said: str = ""
    """what it does, where the entries alone do not say it"""

    @classmethod
    def of(cls, read: Iterable[schema.Entity | Edit]) -> Edit:
        """All of it together."""
        parts = [one if isinstance(one, Edit) else cls(told=(one,)) for one in read]
        return cls(
            told=tuple(one for part in parts for one in part.told),
            problems=tuple(problem for part in parts for problem in part.problems),
        )


def fault(kind: str, entity: str, text: str, field: str = "") -> Edit:
    """Nothing is made of it, for this reason."""
    return Edit(problems=(Problem(code="refused", kind=kind, id=entity, text=text, field=field),))


def missing(kind: str, entity: str) -> Edit:
    """Nothing can be made of an entry that is not there."""
    return fault(kind, entity, f"there is none of this id; `submeter {kind} list` names them")


def entry(kind: str, value: Value) -> schema.Entity | Edit:
    """The entry by the schema of its table, or all of its mistakes."""
    model = schema.TABLES[kind]
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        problems: dict[str, Problem] = {}
        for each in error.errors(include_url=False):
            place, text = dotted(each["loc"]), sentence(each, model)
            found = Problem(code="refused", kind=kind, id=str(value.get("id", "")), text=text, field=place)
            problems.setdefault(place, found)
        return Edit(problems=tuple(problems.values()))


def added(known: Known, command: Add) -> Edit:
    """The new entry, and the new point of a link, the owner of a facility."""
    value, entries = _given(command.value), []
    if command.kind == "facility" and command.owner is None:
        text = "is missing; name the user who pays where nobody else does (--owner USER)"
        return fault("facility", str(value.get("id", "")), text, "owner")
    if command.new_point is not None:
        point = _new_point(known, command)
        entries.append(entry("point", point))
        value["point"] = point["id"]
    if command.kind == "rate":
        _first_price(value)
    if not value.get("id"):
        value["id"] = _made_id(known, command.kind, value)
    elif (command.kind, str(value["id"])) in known:
        text = f"this id is taken; `submeter {command.kind} set {value['id']}` changes its entry"
        return fault(command.kind, str(value["id"]), text, "id")
    if command.owner is not None:
        owner = {"user": command.owner, "facility": value["id"]}
        entries.append(entry("owner", {"id": _made_id(known, "owner", owner), **owner}))
    return Edit.of([*entries, entry(command.kind, value)])


def _new_point(known: Known, command: Add) -> Value:
    point = dict(command.new_point or {})
    if not point.get("id"):
        point["id"] = free_id(known, "point", str(command.value.get("point") or point.get("name", "")))
    if not point.get("building"):
        buildings = _buildings_of(known, str(command.value.get("register", "")))
        point |= {"building": buildings[0]} if len(buildings) == 1 else {}
    return point


def _buildings_of(known: Known, register: str) -> list[str]:
    """The buildings of the facility that a register belongs to."""
    counter = known.get(("register", register))
    meter = known.get(("meter", counter.meter)) if isinstance(counter, schema.Register) else None
    facility = meter.facility if isinstance(meter, schema.Meter) else None
    return [one.id for one in known.values() if isinstance(one, schema.Building) and one.facility == facility]


def _first_price(value: Value) -> None:
    """`price`, with `from`, is a list of one price."""
    if "price" in value:
        since = {"from": value.pop("from")} if "from" in value else {}
        value["prices"] = [{**since, "price": value.pop("price")}]


def _made_id(known: Known, kind: str, value: Mapping[str, Any]) -> str:
    """An id out of what the entry names; "" where its table wants one that is chosen."""
    owned = next((value[key] for key in ("point", "building", "facility") if value.get(key)), "")
    parts = {
        "link": (value.get("register"), value.get("point")),
        "occupancy": (value.get("point"), value.get("entry")),
        "owner": (owned, value.get("user")),
    }.get(kind, ())
    return free_id(known, kind, "-".join(str(part) for part in parts if part)) if parts else ""


def free_id(known: Collection[Named], kind: str, text: str) -> str:
    """An id that reads like the text and that nothing of this kind has."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[: ID_LENGTH - _COUNTED] or kind
    number, found = 1, base
    while (kind, found) in known:
        number += 1
        found = f"{base}-{number}"
    return found


def changed(known: Known, command: Set) -> Edit:
    """The entry with other values."""
    before = known.get((command.kind, command.id))
    if before is None:
        return missing(command.kind, command.id)
    if "id" in command.value:
        return fault(command.kind, command.id, "an id never changes: topics and history hang on it", "id")
    value, steps = before.given(), dict(command.value)
    since = None if command.since is None else command.since.isoformat()
    dated = [key for key in steps if key in DATED and isinstance(steps[key], str)]
    if command.kind == "rate" and "price" in steps:
        wrong = _price(value, steps.pop("price"), since)
    else:
        wrong = _dated(value, {key: steps.pop(key) for key in dated}, since)
    dates = since is not None or "from" in steps
    if dates and command.kind == "link" and not {"scope", "key"}.isdisjoint(steps):
        wrong = wrong or _NEW_RULE
    elif since is not None and steps == command.value and _begins(command.kind):
        steps["from"] = since
    elif since is not None and steps:
        wrong = wrong or _since_ever(command.kind, steps)
    if wrong:
        return fault(command.kind, command.id, wrong, "from")
    value = replaced(command.kind, value, steps)
    for key, new in steps.items():
        inner = value.get(key)
        value[key] = {**inner, **new} if isinstance(inner, dict) and isinstance(new, dict) else new
    return Edit.of([entry(command.kind, _given(value))])


def _begins(kind: str) -> bool:
    """Whether the entry itself holds from a day on."""
    return any(field.alias == "from" for field in schema.TABLES[kind].model_fields.values())


def _since_ever(kind: str, keys: Collection[str]) -> str:
    """Why a day does not go with these keys."""
    what = " and ".join(keys)
    anew = f", or end this {kind} on that day and add another one" if kind in LAST_DAY else ""
    return f"{what} would change since ever: change that by itself, without --from{anew}"


def replaced(kind: str, before: Value, told: Mapping[str, Any]) -> Value:
    """What was known, without the keys in whose place another one is told."""
    alternatives = _ONE_OF.get(kind, ())
    if all(told.get(key) is None for key in alternatives):
        return dict(before)
    return {key: value for key, value in before.items() if key not in alternatives}


def _given(value: Mapping[str, Any]) -> Value:
    """Without what was given empty, also in a table inside."""
    held = {key: _given(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}
    return {key: inner for key, inner in held.items() if inner is not None}


def _dated(value: Value, new: Mapping[str, Any], since: str | None) -> str:
    """Put values that hold from a day on; what is wrong with that."""
    for key, number in new.items():
        steps = _steps(value.get(key))
        if since is None and len(steps) > 1:
            return f"{key} has changed before: say from which day this value holds (--from DATE)"
        if since is None:
            steps = [{**step, "value": number} for step in steps] or [{"value": number}]
        else:
            steps = _in_time([*(step for step in steps if step.get("from") != since), {"from": since, "value": number}])
        value[key] = steps
    return ""


def _steps(value: object) -> list[dict[str, Any]]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [{"value": value}]


def _in_time(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(steps, key=lambda step: str(step.get("from", "")))


def _price(value: Value, price: object, since: str | None) -> str:
    """Put a price that holds from a day on, until the next; what is wrong with that."""
    if since is None:
        return "say from which day the price holds (--from DATE)"
    prices = _steps(value.get("prices"))
    before = [step for step in prices if str(step.get("from", "")) < since]
    later = [step for step in prices if str(step.get("from", "")) > since]
    same = next((step for step in prices if step.get("from") == since), {})
    new = {**same, "from": since, "price": price}
    if before and str(before[-1].get("until", "")) > since:  # the new price ends where the one that it cuts did
        new["until"] = before[-1].pop("until")
    value["prices"] = [*before, new, *later]
    return ""


def ended(known: Known, command: End) -> Edit:
    """The entry with its last day, or without the entry where it never held."""
    before = known.get((command.kind, command.id))
    key = LAST_DAY.get(command.kind)
    if before is None:
        return missing(command.kind, command.id)
    if key is not None and not command.mistaken:
        return _on_day(before, key, command)
    if command.day is not None:
        text = (
            f"an entry of {command.kind} has no last day; leave out the day"
            if key is None
            else ("an entry that never held has no last day; give the day or --mistaken")
        )
        return fault(command.kind, command.id, text)
    naming = [name for name, entity in known.items() if _names(entity, command.kind, command.id)]
    with_it = [name for name in naming if command.kind == "facility" and name[0] == "owner"]  # it cannot be without
    users = [" ".join(name) for name in naming if name not in with_it]
    if users:
        shown = ", ".join(users[:5]) + (" ..." if users[5:] else "")
        return fault(command.kind, command.id, f"is still named by {shown}: end or change that first")
    return Edit(ended=((command.kind, command.id), *with_it))


def _on_day(before: schema.Entity, key: str, command: End) -> Edit:
    if command.day is None:
        meaning = "the last day that the user pays" if key == "exit" else "the first day without it"
        text = f"say when: --{key} DATE ({meaning}), or --mistaken where it never held"
        return fault(command.kind, command.id, text)
    value, day = before.given(), command.day.isoformat()
    if command.kind == "rate":
        kept = [step for step in value["prices"] if str(step.get("from", "")) < day]
        if not kept:
            return fault("rate", command.id, f"has no price before {day}: end it later, or --mistaken", key)
        if kept[-1].get("until", day) < day:
            return fault("rate", command.id, f"has ended on {kept[-1]['until']} already", key)
        value["prices"] = [*kept[:-1], {**kept[-1], "until": day}]
    else:
        value[key] = day
    return Edit.of([entry(command.kind, value)])


def _names(entity: schema.Entity, kind: str, named: str) -> bool:
    """Whether the entity refers to the one of this kind and id: keys that refer are called like the tables."""
    value = entity.given()
    return value.get(kind) == named or (kind == "point" and named in value.get("points", ()))
