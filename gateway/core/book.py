"""All property data as one immutable value, and everything that can be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.access import collisions
from gateway.core.allocation import PERCENT
from gateway.core.occupancy import overlaps, owner_at
from gateway.core.period import MIN, Period
from gateway.core.problem import Problem
from gateway.core.tariff import rate_overlaps
from gateway.core.units import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.access import Badge
    from gateway.core.building import BillingPoint, Building, Facility, Key, Link
    from gateway.core.metering import Meter, Register
    from gateway.core.occupancy import Occupancy, Ownership, User
    from gateway.core.tariff import Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Everything by id."""

    facilities: Mapping[str, Facility] = field(default_factory=dict)
    buildings: Mapping[str, Building] = field(default_factory=dict)
    points: Mapping[str, BillingPoint] = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)
    owners: Mapping[str, Ownership] = field(default_factory=dict)
    occupancies: Mapping[str, Occupancy] = field(default_factory=dict)
    meters: Mapping[str, Meter] = field(default_factory=dict)
    registers: Mapping[str, Register] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    rates: Mapping[str, Rate] = field(default_factory=dict)
    badges: Mapping[str, Badge] = field(default_factory=dict)

    def facility_of_point(self, point: str) -> str:
        """The id of the facility that the point lies in."""
        return self.buildings[self.points[point].building].facility

    def facility_of_register(self, register: str) -> str:
        """The id of the facility that the register's meter belongs to."""
        return self.meters[self.registers[register].meter].facility

    def targets_of_point(self, point: str) -> tuple[tuple[str, str], ...]:
        """Where the owner of a point is looked for, in order."""
        building = self.points[point].building
        return (("point", point), *self.targets_of_building(building))

    def targets_of_building(self, building: str) -> tuple[tuple[str, str], ...]:
        """Where the owner of a building is looked for, in order."""
        return (("building", building), ("facility", self.buildings[building].facility))

    def links_of(self, register: str) -> list[Link]:
        """The links of a register, ordered by point and begin."""
        links = [link for link in self.links.values() if link.register == register]
        return sorted(links, key=lambda link: (link.point, link.period.start, link.id))


def weight(book: Book, link: Link, instant: datetime) -> Fraction | None:
    """The value of the link's key at the instant: its own, else the point's; None where neither is given."""
    held = link.value.at(instant) if link.value is not None else None
    if held is None and link.key not in {None, "percentage"}:
        dated = book.points[link.point].values.get(link.key)
        held = dated.at(instant) if dated is not None else None
    return None if held is None else held.fraction


def building_value(building: Building, key: Key, instant: datetime) -> Fraction | None:
    """The building's own value of the key at the instant; 100 for percentages."""
    if key == "percentage":
        return PERCENT
    dated = building.values.get(key)
    held = dated.at(instant) if dated is not None else None
    return None if held is None else held.fraction


def problems(book: Book, refused: Collection[tuple[str, str]] = ()) -> tuple[Problem, ...]:
    """Everything that is wrong with the book.

    `refused` names entities (kind, id) that are not in the book because they were refused before: references
    to them are not reported again. Rules that read across references see only what has all of its own.
    """
    whole: tuple[Callable[[Book], Iterable[Problem]], ...] = (
        lambda book: _missing(book, refused),
        _overlaps,
        lambda book: rate_overlaps(book.rates.values(), lambda rate: _zone(book, rate.facility)),
        _empty_periods,
        lambda book: _ownerless(book, refused),
        _doubled_owners,
        _doubled_registers,
        lambda book: collisions(book.badges.values()),
    )
    across: tuple[Callable[[Book], Iterable[Problem]], ...] = (
        _crossing_links,
        _crossing_rates,
        _mixed_links,
        _weightless,
        _over_allocated,
    )
    sound = _sound(book)
    found = [problem for rule in whole for problem in rule(book)]
    return (*found, *(problem for rule in across for problem in rule(sound)))


def _sound(book: Book) -> Book:
    """The part of the book whose links can be followed to a facility on both sides."""
    buildings = {key: one for key, one in book.buildings.items() if one.facility in book.facilities}
    points = {key: one for key, one in book.points.items() if one.building in buildings}
    meters = {key: one for key, one in book.meters.items() if one.facility in book.facilities}
    registers = {key: one for key, one in book.registers.items() if one.meter in meters}
    links = {key: one for key, one in book.links.items() if one.register in registers and one.point in points}
    return replace(book, buildings=buildings, points=points, meters=meters, registers=registers, links=links)


def _missing(book: Book, refused: Collection[tuple[str, str]]) -> Iterable[Problem]:
    """References to entities that are not there."""
    for kind, field_name, target, known, references in (*_references(book), *_owned(book)):
        for entity_id, reference in references:
            if reference not in known and (target, reference) not in refused:
                text = f"{target} {reference!r} is not known: add a [[{target}]] with this id, or correct the name"
                yield Problem(code=f"unknown_{target}", kind=kind, id=entity_id, text=text, field=field_name)


class _References(NamedTuple):
    """What one field of the entities of a kind names."""

    kind: str
    field: str
    target: str
    """kind of what is named"""
    known: Collection[str]
    """ids of that kind"""
    references: Sequence[tuple[str, str]]
    """id of the entity, id that it names"""


def _references(book: Book) -> Iterable[_References]:
    def of(kind: str, entities: Mapping[str, object], field_name: str, known: Collection[str]) -> _References:
        named = [(key, getattr(entity, field_name)) for key, entity in entities.items()]
        return _References(kind, field_name, field_name, known, named)

    yield of("building", book.buildings, "facility", book.facilities)
    yield of("point", book.points, "building", book.buildings)
    yield of("occupancy", book.occupancies, "point", book.points)
    yield of("occupancy", book.occupancies, "user", book.users)
    yield of("owner", book.owners, "user", book.users)
    yield of("meter", book.meters, "facility", book.facilities)
    yield of("register", book.registers, "meter", book.meters)
    yield of("link", book.links, "register", book.registers)
    yield of("link", book.links, "point", book.points)
    yield of("rate", book.rates, "facility", book.facilities)
    yield of("badge", book.badges, "user", book.users)
    yield of("badge", book.badges, "point", book.points)
    priced = [(key, point) for key, rate in book.rates.items() for point in sorted(rate.points)]
    yield _References("rate", "points", "point", book.points, priced)


def _owned(book: Book) -> Iterable[_References]:
    """What owners own, each by the kind of it."""
    known: dict[str, Collection[str]] = {
        "facility": book.facilities,
        "building": book.buildings,
        "point": book.points,
    }
    for kind, ids in known.items():
        owned = [(key, owner.target[1]) for key, owner in book.owners.items() if owner.target[0] == kind]
        yield _References("owner", kind, kind, ids, owned)


def _overlaps(book: Book) -> Iterable[Problem]:
    """Of stays that end before they begin nothing overlaps; they have a problem of their own."""
    stays = (stay for stay in book.occupancies.values() if not stay.period.empty)
    return overlaps(stays, lambda point: _zone_of(book, point))


def _zone_of(book: Book, point: str) -> str:
    """The time zone of the point; UTC where its facility is not known."""
    building = book.buildings.get(book.points[point].building) if point in book.points else None
    return _zone(book, building.facility) if building else "UTC"


def _zone(book: Book, facility: str) -> str:
    return book.facilities[facility].time_zone if facility in book.facilities else "UTC"


def _empty_periods(book: Book) -> Iterable[Problem]:
    for badge in book.badges.values():
        if badge.period.empty:
            text = "the badge ends before it begins: until is the first day without it, write a day after from"
            yield Problem(code="empty_period", kind="badge", id=badge.id, text=text, field="until")
    for occupancy in book.occupancies.values():
        if occupancy.period.empty:
            text = (
                f"{occupancy.user} leaves {occupancy.point} before entering it: exit is the last day paid, "
                "write the day of the entry or a later one"
            )
            yield Problem(code="exit_before_entry", kind="occupancy", id=occupancy.id, text=text, field="exit")
    for link in book.links.values():
        if link.period.empty:
            text = "the link ends before it begins: until is the first day without it, write a day after from"
            yield Problem(code="empty_period", kind="link", id=link.id, text=text, field="until")


def _ownerless(book: Book, refused: Collection[tuple[str, str]]) -> Iterable[Problem]:
    """A facility needs an owner since ever: vacancy, remainder and unassigned registers fall to somebody."""
    if any(kind == "owner" for kind, _ in refused):
        return  # it may be the one that is looked for
    for facility in book.facilities.values():
        if owner_at(book.owners.values(), [("facility", facility.id)], MIN) is None:
            text = f"facility {facility.id!r} has no owner from the beginning: add an [[owner]] of it without from"
            yield Problem(code="no_owner", kind="facility", id=facility.id, text=text)


def _doubled_owners(book: Book) -> Iterable[Problem]:
    seen: dict[tuple[tuple[str, str], datetime], str] = {}
    for owner in book.owners.values():
        first = seen.setdefault((owner.target, owner.start), owner.id)
        if first != owner.id:
            text = (
                f"{' '.join(owner.target)} has an owner from the same day already, {first}: change from, or remove one"
            )
            yield Problem(code="doubled_owner", kind="owner", id=owner.id, text=text, field="from")


def _doubled_registers(book: Book) -> Iterable[Problem]:
    seen: dict[tuple[str, str], str] = {}
    for register in book.registers.values():
        first = seen.setdefault((register.meter, register.key), register.id)
        if first != register.id:
            text = f"register {register.key!r} of meter {register.meter} is already {first}: one register, one id"
            yield Problem(code="doubled_register", kind="register", id=register.id, text=text, field="key")


def _crossing_links(book: Book) -> Iterable[Problem]:
    for link in book.links.values():
        ours, theirs = book.facility_of_register(link.register), book.facility_of_point(link.point)
        if ours != theirs:
            text = (
                f"register {link.register} belongs to facility {ours}, point {link.point} to {theirs}: link inside one"
            )
            yield Problem(code="link_across_facilities", kind="link", id=link.id, text=text, field="point")


def _crossing_rates(book: Book) -> Iterable[Problem]:
    for rate in book.rates.values():
        for point in sorted(rate.points & book.points.keys()):
            theirs = book.facility_of_point(point)
            if theirs != rate.facility:
                text = f"{point} belongs to facility {theirs}, the rate to {rate.facility}: name points of its own"
                yield Problem(code="rate_across_facilities", kind="rate", id=rate.id, text=text, field="points")


def _pieces(book: Book, links: Sequence[Link]) -> Iterable[tuple[Period, list[Link]]]:
    """The pieces of constant links and values of one register, with the links that hold in each."""
    for piece in Period().cut(changes(book, links)):
        held = [link for link in links if piece.start in link.period]
        if held:
            yield piece, held


def changes(book: Book, links: Sequence[Link]) -> list[datetime]:
    """The instants at which the links of a register, or a value that their keys read, change."""
    found = [edge for link in links for edge in (link.period.start, link.period.until)]
    for link in links:
        if link.key is None:
            continue
        building = book.buildings[book.points[link.point].building]
        sources = [link.value, book.points[link.point].values.get(link.key)]
        sources.append(building.values.get(link.key) if link.scope == "building" else None)
        found += [change for dated in sources if dated is not None for change in dated.changes]
    return found


def _by_register(book: Book) -> Iterable[tuple[Register, list[Link]]]:
    for register in book.registers.values():
        links = book.links_of(register.id)
        if links:
            yield register, links


def _mixed_links(book: Book) -> Iterable[Problem]:
    """At any instant a register has one direct link, or common links of one scope and key."""
    for register, links in _by_register(book):
        for first, second in combinations(links, 2):
            if not first.period.overlap(second.period):
                continue
            fault = _clash(book, first, second)
            if fault:
                text = f"{register.id} is linked to {first.point} and to {second.point} at the same time, {fault}"
                yield Problem(code="mixed_links", kind="link", id=second.id, text=text)


def _clash(book: Book, first: Link, second: Link) -> str:
    if first.scope is None or second.scope is None:
        return "but a direct link (without scope and key) takes the whole register"
    if (first.scope, first.key) != (second.scope, second.key):
        return "with different scopes or keys: one register is shared by one rule at a time"
    if first.point == second.point:
        return "twice the same point: end the first link before the second begins"
    if first.scope == "building" and book.points[first.point].building != book.points[second.point].building:
        return "which lie in different buildings: Building scope needs one building"
    return ""


def _weightless(book: Book) -> Iterable[Problem]:
    for _, links in _by_register(book):
        for link in (link for link in links if link.key is not None):
            pieces = [piece for piece, held in _pieces(book, links) if link in held]
            if any(weight(book, link, piece.start) is None for piece in pieces):
                text = f"{link.key} of {link.point} is not given for the whole link: set it at the point or at the link"
                yield Problem(code="no_key_value", kind="link", id=link.id, text=text, field="key")


def _over_allocated(book: Book) -> Iterable[Problem]:
    for register, links in _by_register(book):
        for piece, held in _pieces(book, links):
            if held[0].scope != "building" or held[0].key is None:
                continue
            building = book.buildings[book.points[held[0].point].building]
            whole = building_value(building, held[0].key, piece.start)
            taken = sum((weight(book, link, piece.start) or Fraction(0) for link in held), Fraction(0))
            fault = _excess(held[0].key, building.id, whole, taken)
            if fault:
                text = f"{register.id}: {fault}"
                yield Problem(code="keys_exceed_building", kind="link", id=held[-1].id, text=text, field="key")
                break


def _excess(key: str, building: str, whole: Fraction | None, taken: Fraction) -> str:
    if whole is None:
        return f"Building scope by {key}, but building {building} has no {key}: set it at the building"
    if taken > whole:
        return (
            f"its units take {plain(taken)} {key}, more than the {plain(whole)} of building {building}: "
            "lower theirs or raise the building's"
        )
    return ""
