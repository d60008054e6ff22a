"""The property data that the store keeps: its entries, and the core's Book of them."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, TypeVar

from gateway.core.access import Badge
from gateway.core.book import Book
from gateway.core.building import BillingPoint, Building, Dated, Facility, Link
from gateway.core.metering import Exchange, Meter, Register
from gateway.core.occupancy import Occupancy, Ownership, User, stay
from gateway.core.period import MAX, MIN, Period, midnight
from gateway.core.tariff import Price, Rate, Tax
from gateway.service import property_schema as schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date, datetime

    from gateway.core.building import Key
    from gateway.core.units import Scaled
    from gateway.service.property_fields import PriceStep, Step, TaxPart
    from gateway.service.records import PropertyRow

_E = TypeVar("_E", bound=schema.Entity)
UNPLACED = "UTC"
"""time zone of what belongs to no facility: `book.problems` refuses it"""


def entities(rows: Iterable[PropertyRow]) -> tuple[schema.Entity, ...]:
    """The entries that the store keeps."""
    return tuple(schema.TABLES[row.kind].model_validate_json(row.value) for row in rows if row.value is not None)


def book_of(rows: Iterable[PropertyRow]) -> Book:
    """The book that the store's rows make."""
    return book(entities(rows))


def book(entities: Iterable[schema.Entity]) -> Book:
    """All property data as one value; what it refers to may be missing, `gateway.core.book.problems` says so."""
    return _Builder(tuple(entities)).book()


class _Builder:
    """Civil dates become instants in the time zone of the facility that an entry belongs to."""

    def __init__(self, entities: Sequence[schema.Entity]) -> None:
        self._entities = entities
        self._zones = {one.id: one.time_zone for one in self._all(schema.Facility)}
        self._facility_of_building = {one.id: one.facility for one in self._all(schema.Building)}
        self._building_of_point = {one.id: one.building for one in self._all(schema.Point)}

    def book(self) -> Book:
        return Book(
            facilities={one.id: _facility(one) for one in self._all(schema.Facility)},
            buildings={one.id: self._building(one) for one in self._all(schema.Building)},
            points={one.id: self._point(one) for one in self._all(schema.Point)},
            users={one.id: User(id=one.id, kind=one.kind, name=one.name) for one in self._all(schema.User)},
            owners={one.id: self._owner(one) for one in self._all(schema.Owner)},
            occupancies={one.id: self._occupancy(one) for one in self._all(schema.Stay)},
            meters={one.id: _meter(one) for one in self._all(schema.Meter)},
            registers=self._registers(),
            links={one.id: self._link(one) for one in self._all(schema.Link)},
            rates={one.id: self._rate(one) for one in self._all(schema.Rate)},
            badges={one.id: self._badge(one) for one in self._all(schema.Badge)},
        )

    def _registers(self) -> dict[str, Register]:
        """With the serial number of its first meter, which the meter's own entry gives until any was exchanged."""
        registers = self._all(schema.Register)
        exchanged = {one.meter for one in registers if one.exchanges}
        serials = {one.id: one.serial or "" for one in self._all(schema.Meter) if one.id not in exchanged}
        return {one.id: _register(one, serials.get(one.meter, "")) for one in registers}

    def _all(self, model: type[_E]) -> list[_E]:
        return [one for one in self._entities if isinstance(one, model)]

    def _zone(self, kind: str, entity: str) -> str:
        """The time zone of a facility, a building or a point."""
        building = self._building_of_point.get(entity, "") if kind == "point" else entity
        facility = entity if kind == "facility" else self._facility_of_building.get(building, "")
        return self._zones.get(facility, UNPLACED)

    def _building(self, one: schema.Building) -> Building:
        values = _values(one, self._zone("building", one.id))
        return Building(id=one.id, facility=one.facility, name=one.name, values=values)

    def _point(self, one: schema.Point) -> BillingPoint:
        values = _values(one, self._zone("point", one.id))
        return BillingPoint(id=one.id, building=one.building, name=one.name, kind=one.kind, values=values)

    def _owner(self, one: schema.Owner) -> Ownership:
        start = _start(one.from_, self._zone(*one.target))
        return Ownership(id=one.id, user=one.user, target=one.target, start=start)

    def _occupancy(self, one: schema.Stay) -> Occupancy:
        period = stay(one.entry, one.exit, self._zone("point", one.point))
        return Occupancy(id=one.id, point=one.point, user=one.user, period=period)

    def _link(self, one: schema.Link) -> Link:
        zone = self._zone("point", one.point)
        return Link(
            id=one.id,
            register=one.register_,
            point=one.point,
            period=_period(one.from_, one.until, zone),
            scope=one.scope,
            key=one.key,
            value=None if one.value is None else _dated(one.value, zone),
        )

    def _badge(self, one: schema.Badge) -> Badge:
        return Badge(
            id=one.id,
            user=one.user,
            point=one.point,
            digest=one.digest or "",
            access_points=frozenset(one.access_points),
            period=_period(one.from_, one.until, self._zone("point", one.point)),
            blocked=one.state == "blocked",
        )

    def _rate(self, one: schema.Rate) -> Rate:
        return Rate(
            id=one.id,
            facility=one.facility,
            energy_source=one.energy_source,
            component=one.component,
            title=one.title,
            unit=one.unit,
            tax=_tax(one.tax),
            prices=_prices(one.prices, self._zone("facility", one.facility)),
            points=frozenset(one.points or ()),
        )


def _facility(one: schema.Facility) -> Facility:
    return Facility(
        id=one.id,
        name=one.name,
        time_zone=one.time_zone,
        currency=one.currency,
        money_quantum=one.money_quantum,
        grace=timedelta(hours=one.grace_hours),
        boundary_tolerance=timedelta(minutes=one.boundary_tolerance_minutes),
    )


def _meter(one: schema.Meter) -> Meter:
    return Meter(id=one.id, facility=one.facility, name=one.name, serial=one.serial or "")


def _register(one: schema.Register, serial: str) -> Register:
    steps = one.exchanges or ()
    exchanges = (
        Exchange(at=each.at.astimezone(UTC), final=each.final, start=each.start, serial=each.serial or "")
        for each in steps
    )
    return Register(
        id=one.id,
        meter=one.meter,
        key=one.key,
        energy_source=one.energy_source,
        unit=one.unit,
        exponent=_exponent(one.resolution),
        max_per_day=one.most_per_day,
        limit=one.limit[0],
        modulus=one.modulus,
        backflow=one.backflow,
        exchanges=tuple(exchanges),
        serial=next((each.old_serial for each in steps if each.old_serial is not None), serial),
    )


def _exponent(resolution: Scaled) -> int:
    """-3 of "0.001", whatever zeros it is written with."""
    return resolution.exponent + len(str(resolution.digits)) - 1


def _tax(part: TaxPart) -> Tax:
    return Tax(category=part.category, rate=part.rate, included=part.included, exemption=part.exemption or "")


def _prices(steps: Sequence[PriceStep], zone: str) -> tuple[Price, ...]:
    """A price without end holds until the next begins."""
    ends = [*(step.from_ for step in steps[1:]), None]
    return tuple(
        Price(
            version=step.version or number,
            period=_period(step.from_, step.until or following, zone),
            price=step.price,
        )
        for number, (step, following) in enumerate(zip(steps, ends, strict=True), start=1)
    )


def _values(one: schema.Building | schema.Point, zone: str) -> dict[Key, Dated]:
    return {key: _dated(steps, zone) for key, steps in one.values().items()}


def _dated(steps: Sequence[Step], zone: str) -> Dated:
    return Dated(steps=tuple((_start(step.from_, zone), step.value) for step in steps))


def _period(first: date | None, until: date | None, zone: str) -> Period:
    return Period(_start(first, zone), MAX if until is None else midnight(until, zone))


def _start(day: date | None, zone: str) -> datetime:
    return MIN if day is None else midnight(day, zone)
