"""What is asked about property data: who changed what, how registers are shared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from gateway.core.allocation import KeysExceedBuildingError, coefficients
from gateway.core.book import building_value, weight
from gateway.core.units import plain
from gateway.service.dealt_with import ALARM, told

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.core.book import Book
    from gateway.core.building import Link
    from gateway.core.metering import Register
    from gateway.service.records import Correction, KeptAlarm, PropertyRow

_NOTHING = Fraction(0)
READING = "reading"
"""kind of what a person said about readings"""


class AuditStore(Protocol):
    """What the audit needs of the store."""

    async def property_history(self, kind: str | None, entity: str | None) -> Sequence[PropertyRow]:
        """Every value that entities ever had, in the order of recording; of one kind, of one id, or of all."""

    async def corrections(self) -> Sequence[Correction]:
        """Every added and voided reading, in the order in which they were recorded."""

    async def alarms_ended_by_hand(self) -> Sequence[KeptAlarm]:
        """The alarms that a person has ended, in that order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One change: of an entry, a reading added or voided, an alarm ended by a person."""

    at: datetime
    by: str
    kind: str
    id: str
    """of a reading: meter and register key"""
    before: dict[str, Any] | None
    after: dict[str, Any] | None


async def audit(store: AuditStore, kind: str | None, entity: str | None) -> list[Audited]:
    """The changes of one kind, of one id, or all, in the order of recording. The id of a reading is its meter's."""
    found: list[Audited] = []
    last: dict[tuple[str, str], dict[str, Any] | None] = {}
    for row in await store.property_history(kind, entity):
        name, after = (row.kind, row.id), None if row.value is None else json.loads(row.value)
        before = last.get(name)
        last[name] = after
        found.append(
            Audited(at=row.recorded_at, by=row.recorded_by, kind=row.kind, id=row.id, before=before, after=after)
        )
    if kind in (None, READING):
        found += [_corrected(one) for one in await store.corrections() if entity in (None, one.meter)]
    if kind in (None, ALARM):
        found += [_ended(one) for one in await store.alarms_ended_by_hand() if entity in (None, one.id)]
    return sorted(found, key=lambda one: one.at)


def _ended(one: KeptAlarm) -> Audited:
    return Audited(
        at=one.alarm.ended or one.alarm.since,
        by=one.ended_by or "",
        kind=ALARM,
        id=one.id,
        before=told(one.alarm, one.reason),
        after=None,
    )


def _corrected(one: Correction) -> Audited:
    read = {"at": one.at.isoformat(), "values": list(one.values), "reason": one.reason}
    added = one.kind == "added"
    return Audited(
        at=one.recorded_at,
        by=one.recorded_by,
        kind=READING,
        id=f"{one.meter} {one.register}",
        before=None if added else read,
        after=read if added else None,
    )


def shared(book: Book, facility: str, energy_source: str, at: datetime) -> list[dict[str, Any]]:
    """Every register of a facility and an energy source at an instant, by id.

    `link` is "direct", "common" or "unlinked". A point's coefficient is numerator / denominator, as decimal text
    where there is one, else as a fraction ("1/3"); of a common register the remainder is the owner's.
    """
    registers = (
        one
        for one in book.registers.values()
        if one.energy_source == energy_source and book.facility_of_register(one.id) == facility
    )
    return [_shared(book, one, at) for one in sorted(registers, key=lambda one: one.id)]


def _shared(book: Book, register: Register, at: datetime) -> dict[str, Any]:
    links = [link for link in book.links_of(register.id) if at in link.period]
    meter = book.meters[register.meter]
    sharing = {"register": register.id, "meter": meter.id, "meter_name": meter.name, "unit": register.unit}
    if not links:
        return {**sharing, "link": "unlinked", "points": []}
    if links[0].key is None or links[0].scope is None:
        whole = {"numerator": "1", "denominator": "1", "coefficient": "1"}
        return {**sharing, "link": "direct", "points": [{"point": links[0].point, "link": links[0].id, **whole}]}
    return {**sharing, "link": "common", "scope": links[0].scope, "key": links[0].key, **_coefficients(book, links, at)}


def _coefficients(book: Book, links: Sequence[Link], at: datetime) -> dict[str, Any]:
    first = links[0]
    assert first.scope is not None  # noqa: S101 - a common link has scope and key
    assert first.key is not None  # noqa: S101 - only common links are asked for
    weights = {link.point: weight(book, link, at) or _NOTHING for link in links}
    whole = building_value(book.buildings[book.points[first.point].building], first.key, at)
    try:
        found = coefficients(first.scope, first.key, whole, weights)
    except KeysExceedBuildingError as error:
        return {"problem": str(error), "points": []}
    points = [
        {
            "point": link.point,
            "link": link.id,
            "numerator": plain(found.numerators[link.point]),
            "denominator": plain(found.denominator),
            "coefficient": plain(found.of(link.point)),
        }
        for link in links
    ]
    rest = {"numerator": plain(found.remaining), "coefficient": plain(found.remainder)}
    return {"denominator": plain(found.denominator), "points": points, "remainder": rest}
