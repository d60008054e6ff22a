"""A change of property data as a plan: what it would change, what speaks against it, which months it touches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from gateway.core.book import Book, problems
from gateway.core.problem import Problem
from gateway.service import property_schema as schema
from gateway.service.property import book
from gateway.service.records import DirtyMonth, PropertyChange

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import date, datetime

    from gateway.service.records import ClosedMonth

Named = tuple[str, str]
"""kind and id of an entity"""
_REASONS = {
    "building": "key",
    "point": "key",
    "owner": "move",
    "occupancy": "move",
    "link": "link",
    "rate": "rate",
}
"""why a month is settled again after a change of an entity; "other" for the rest"""


class PropertyStore(Protocol):
    """What a command needs of the store."""

    async def closed_months(self, facility: str | None = None) -> Sequence[ClosedMonth]:
        """The months whose charges are made, of one facility or of all."""

    async def record_property(
        self, changes: Sequence[PropertyChange], by: str, at: datetime, dirty: Sequence[DirtyMonth] = ()
    ) -> int:
        """Add the changes and mark the months, in one transaction; how many entities really changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entity that is new, differs from what is known, or is not there any more."""

    kind: str
    id: str
    before: schema.Entity | None
    after: schema.Entity | None

    @property
    def since(self) -> date | None:
        """The first day on which charges may differ; None where no charge depends on what changed."""
        before, after = (one.facts() if one else frozenset[schema.Fact]() for one in (self.before, self.after))
        return min((day for day, _ in before ^ after), default=None)

    @property
    def reason(self) -> str:
        """Why closed months are settled again, in the words of a charge."""
        match (self.before, self.after):
            case (schema.Register() as before, schema.Register() as after) if before.exchanges != after.exchanges:
                return "exchange"
        return _REASONS.get(self.kind, "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would change, and everything that speaks against it."""

    changes: tuple[Change, ...]
    unchanged: int
    book: Book
    """as it would be"""
    problems: tuple[Problem, ...]
    marks: tuple[DirtyMonth, ...] = ()
    """the closed months that are settled again because of it"""
    said: str = ""
    """what the command does, where the changes alone do not say it"""


def plan(
    current: Iterable[schema.Entity],
    told: Iterable[schema.Entity],
    refused: Collection[Named] = (),
    ended: Collection[Named] = (),
) -> Plan:
    """What `told` would change in `current`, without those that are `ended`. What is not mentioned stays as it is.

    `refused` names what was told but cannot be read: it has its problem, and gives rise to no other.
    """
    known = {(entity.table, entity.id): entity for entity in current}
    named: dict[Named, schema.Entity | None] = {(entity.table, entity.id): entity for entity in told}
    named |= dict.fromkeys(ended)
    changes = tuple(
        Change(kind=kind, id=entity_id, before=known.get((kind, entity_id)), after=entity)
        for (kind, entity_id), entity in named.items()
        if known.get((kind, entity_id)) != entity
    )
    left = {name: entity for name, entity in (known | named).items() if name not in refused}
    result = book(entity for entity in left.values() if entity is not None)
    return Plan(changes=changes, unchanged=len(named) - len(changes), book=result, problems=problems(result, refused))


_FIXED = {"time_zone": "time zone", "currency": "currency", "money_quantum": "money quantum"}
"""what published charges of a facility are made with, and no later charge could take back with other ones"""


def fixed(changes: Iterable[Change], closed: Iterable[ClosedMonth]) -> tuple[Problem, ...]:
    """What would change the terms that closed months were settled with."""
    facilities = {one.facility for one in closed}
    return tuple(
        problem
        for change in changes
        if change.kind == "facility" and change.id in facilities
        for problem in _fixed(change)
    )


def _fixed(change: Change) -> Iterable[Problem]:
    before, after = change.before, change.after
    if before is None:
        text = "months are closed of a facility that had this id: choose another one"
        yield Problem(code="refused", kind="facility", id=change.id, text=text, field="id")
        return
    for key, name in _FIXED.items():
        held = getattr(before, key)
        if after is not None and getattr(after, key) != held:
            text = (
                f"its {name} cannot change any more, months are closed with {held}: "
                "make a new facility, or correct the word"
            )
            yield Problem(code="refused", kind="facility", id=change.id, text=text, field=key)


async def record(store: PropertyStore, planned: Plan, *, by: str, at: datetime) -> Plan:
    """Keep all changes of a plan without problems, and have the closed months that they touch settled again.

    The plan, with these months: one may have been closed meanwhile.
    """
    changes = [
        PropertyChange(kind=change.kind, id=change.id, value=change.after.printed() if change.after else None)
        for change in planned.changes
    ]
    marks = _touched(planned, await store.closed_months())
    await store.record_property(changes, by, at, marks)
    return replace(planned, marks=tuple(marks))


def touching(planned: Plan, closed: Iterable[ClosedMonth]) -> Plan:
    """The plan with the closed months that it touches."""
    return replace(planned, marks=tuple(_touched(planned, closed)))


def labels(marks: Iterable[DirtyMonth]) -> tuple[str, ...]:
    """The marked months in order, each once: ("2026-09", "2026-10")."""
    return tuple(sorted({mark.month for mark in marks}))


def _touched(planned: Plan, closed: Iterable[ClosedMonth]) -> list[DirtyMonth]:
    """Months still open need no mark: they are settled when they close."""
    since: dict[tuple[str, str], date] = {}
    for change in planned.changes:
        if (day := change.since) is None:
            continue
        for facility in _facilities(planned.book, change):
            since[facility, change.reason] = min(day, since.get((facility, change.reason), day))
    return [
        DirtyMonth(facility=month.facility, month=month.month, reason=reason)
        for month in closed
        for (facility, reason), day in since.items()
        if facility == month.facility and month.month >= day.isoformat()[: len("2026-10")]
    ]


def _facilities(result: Book, change: Change) -> set[str]:
    """The facilities whose charges the entity has a part in, before and after."""
    versions = (change.before, change.after)
    return {facility for version in versions if version is not None and (facility := _facility(result, version))}


def _facility(result: Book, entity: schema.Entity) -> str:
    """The facility that the entity belongs to; "" for a user."""
    match entity:
        case schema.Facility():
            place: Named = ("facility", entity.id)
        case schema.Building() | schema.Meter() | schema.Rate():
            place = ("facility", entity.facility)
        case schema.Register():
            place = ("facility", result.meters[entity.meter].facility)
        case schema.Point():
            place = ("building", entity.building)
        case schema.Stay() | schema.Link():
            place = ("point", entity.point)
        case schema.Owner():
            place = entity.target
        case _:
            return ""
    around = {"point": result.targets_of_point, "building": result.targets_of_building}
    return around[place[0]](place[1])[-1][1] if place[0] in around else place[1]
