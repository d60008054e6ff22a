"""What property.toml may say: one strict model for each of its tables.

The same models read what the store keeps: the object of an entry as JSON, accepted by import again.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gateway.core.building import Key, PointKind, Scope  # noqa: TC001 - pydantic reads the annotations
from gateway.core.metering import Component, EnergySource  # noqa: TC001 - pydantic reads the annotations
from gateway.core.units import Scaled
from gateway.service.property_entity import Entity, Fact
from gateway.service.property_fields import (
    CYCLE,
    SINCE_EVER,
    Currency,
    Dated,
    Day,
    Digest,
    Id,
    Identifier,
    Points,
    Positive,
    Prices,
    PriceUnit,
    Step,
    TaxPart,
    Text,
    TimeZone,
)
from gateway.service.property_meters import LIMITS, Meter, Register

__all__ = [
    "LIMITS",
    "TABLES",
    "Badge",
    "Building",
    "Entity",
    "Facility",
    "Fact",
    "Link",
    "Meter",
    "Owner",
    "Point",
    "Rate",
    "Register",
    "Stay",
    "User",
]

_VOLUMES = {"m3", "l"}


class Facility(Entity):
    """What is administered together."""

    table = "facility"
    id: Id = Field(examples=["sonnenhof"])
    name: Text
    time_zone: TimeZone
    currency: Currency
    money_quantum: Positive = Scaled(1, -2)
    grace_hours: Annotated[int, Field(ge=0, le=24 * 31, examples=[48])] = 48
    boundary_tolerance_minutes: Annotated[int, Field(ge=0, le=24 * 60, examples=[30])] = 30

    def facts(self) -> frozenset[Fact]:
        """Everything but the name and the grace time."""
        terms = (self.time_zone, self.currency, self.money_quantum, self.boundary_tolerance_minutes)
        return frozenset({(SINCE_EVER, terms)})


class _Valued(Entity):
    """What has dated values of the keys."""

    surface: Dated | None = None
    volume: Dated | None = None
    quotity: Dated | None = None
    people: Dated | None = None

    def values(self) -> dict[Key, tuple[Step, ...]]:
        """The values that are given, by key."""
        given: dict[Key, tuple[Step, ...] | None] = {
            "surface": self.surface,
            "volume": self.volume,
            "quotity": self.quotity,
            "people": self.people,
        }
        return {key: steps for key, steps in given.items() if steps is not None}

    def value_facts(self) -> set[Fact]:
        """Each value from its day on."""
        return {(step.from_ or SINCE_EVER, (key, step.value)) for key, steps in self.values().items() for step in steps}


class Building(_Valued):
    """A building; its values are the denominators of the Building scope."""

    table = "building"
    id: Id = Field(examples=["haus-a"])
    facility: Id = Field(examples=["sonnenhof"])
    name: Text

    def facts(self) -> frozenset[Fact]:
        """Where it is and its values."""
        return frozenset({(SINCE_EVER, self.facility), *self.value_facts()})


class Point(_Valued):
    """A billing point."""

    table = "point"
    id: Id = Field(examples=["flat-1"])
    building: Id = Field(examples=["haus-a"])
    name: Text
    kind: PointKind

    def facts(self) -> frozenset[Fact]:
        """Where it is and its values."""
        return frozenset({(SINCE_EVER, self.building), *self.value_facts()})


_PERSON = {"natural": ("first_name", "last_name"), "legal": ("company", "registration")}


class User(Entity):
    """A natural person with names, or a legal one with company and registration number."""

    table = "user"
    id: Id = Field(examples=["blumer"])
    kind: Literal["natural", "legal"]
    first_name: Text | None = None
    last_name: Text | None = None
    company: Text | None = None
    registration: Text | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$", examples=["de"])] | None = None
    address: Text = Field(examples=["Sonnenweg 1, 8000 Zürich"])

    @model_validator(mode="after")
    def _named_by_kind(self) -> User:
        needed = _PERSON[self.kind]
        given = {name for names in _PERSON.values() for name in names if getattr(self, name) is not None}
        if given != set(needed):
            message = f'kind = "{self.kind}" goes with {needed[0]} and {needed[1]}; give both and no other'
            raise ValueError(message)
        return self

    @property
    def name(self) -> str:
        """First and last name, or the company's."""
        return self.company or f"{self.first_name} {self.last_name}"

    def facts(self) -> frozenset[Fact]:
        """None: charges know users by id."""
        return frozenset()


class Owner(Entity):
    """Owns from `from` until the next owner of the same facility, building or point."""

    table = "owner"
    id: Id = Field(examples=["owner-sonnenhof"])
    user: Id = Field(examples=["blumer"])
    facility: Id | None = Field(default=None, examples=["sonnenhof"])
    building: Id | None = Field(default=None, examples=["haus-a"])
    point: Id | None = None
    from_: Day | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _one_target(self) -> Owner:
        if [self.facility, self.building, self.point].count(None) != len(_TARGETS) - 1:
            message = "an owner owns exactly one of facility, building and point; write one of these keys"
            raise ValueError(message)
        return self

    @property
    def target(self) -> tuple[Literal["facility", "building", "point"], str]:
        """What is owned."""
        return next((kind, owned) for kind in _TARGETS if (owned := getattr(self, kind)) is not None)

    def facts(self) -> frozenset[Fact]:
        """The user, from the first day on."""
        return frozenset({(self.from_ or SINCE_EVER, (self.user, self.target))})


_TARGETS: tuple[Literal["facility", "building", "point"], ...] = ("facility", "building", "point")


class Stay(Entity):
    """A user's stay at a point; both days are the user's."""

    table = "occupancy"
    id: Id = Field(examples=["occ-1"])
    point: Id
    user: Id = Field(examples=["blumer"])
    entry: Day
    exit: Day | None = Field(default=None, examples=[date(2026, 10, 14)])

    def facts(self) -> frozenset[Fact]:
        """The entry, and the first day after the exit."""
        left = set() if self.exit is None else {(self.exit + timedelta(days=1), "left")}
        return frozenset({(self.entry, (self.point, self.user)), *left})


class Link(Entity):
    """A register at a point: direct, or common by scope and key."""

    table = "link"
    id: Id = Field(examples=["power-1-flat-1"])
    register_: Id = Field(alias="register", examples=["power-1-import"])
    point: Id
    from_: Day | None = Field(default=None, alias="from")
    until: Day | None = Field(default=None, examples=[date(2027, 1, 1)])
    scope: Scope | None = None
    key: Key | None = None
    value: Dated | None = None

    @model_validator(mode="after")
    def _shared_by_rule(self) -> Link:
        message = ""
        if (self.scope is None) != (self.key is None):
            message = "a common link has scope and key, a direct one neither; add the other or remove this one"
        elif self.key is None and self.value is not None:
            message = "a value belongs to a key; add scope and key or remove value"
        elif self.key == "percentage" and self.value is None:
            message = 'a link by percentage has its own value; write e.g. value = "12.5"'
        if message:
            raise ValueError(message)
        return self

    def facts(self) -> frozenset[Fact]:
        """The rule from the first day on, its end, its values."""
        ended = set() if self.until is None else {(self.until, "ended")}
        values = {(step.from_ or SINCE_EVER, step.value) for step in self.value or ()}
        rule = (self.register_, self.point, self.scope, self.key)
        return frozenset({(self.from_ or SINCE_EVER, rule), *ended, *values})


class Rate(Entity):
    """What a unit costs, for all points of a facility or for named ones."""

    table = "rate"
    id: Id = Field(examples=["electricity"])
    facility: Id = Field(examples=["sonnenhof"])
    energy_source: EnergySource
    title: Text = Field(examples=["Electricity"])
    component: Component
    unit: PriceUnit
    points: Points | None = None
    prices: Prices
    versions: int | None = Field(default=None, ge=1)
    """the highest number that a price of it has had, where that price is gone"""
    tax: TaxPart

    @model_validator(mode="after")
    def _unit_of_component(self) -> Rate:
        of_unit = "volume" if self.unit in _VOLUMES else "cycle" if self.unit == CYCLE else "energy"
        if of_unit != self.component:
            message = f'{self.unit} is no unit of component = "{self.component}"; correct one of them'
            raise ValueError(message)
        return self

    def facts(self) -> frozenset[Fact]:
        """Who and what it prices, since its first price; each price; each end."""
        who = frozenset(self.points or ())
        terms = (self.facility, self.energy_source, self.component, self.unit, self.title, self.tax, who)
        prices = {(step.from_ or SINCE_EVER, step.price) for step in self.prices}
        ends = {(step.until, "ended") for step in self.prices if step.until is not None}
        return frozenset({(self.prices[0].from_ or SINCE_EVER, terms), *prices, *ends})


class Badge(Entity):
    """A badge of a user, billed to a point. Its identifier is given once; only its digest is kept."""

    table = "badge"
    id: Id = Field(examples=["blumer-1"])
    user: Id = Field(examples=["blumer"])
    point: Id
    identifier: Identifier | None = None
    digest: Digest | None = None
    access_points: Points
    from_: Day | None = Field(default=None, alias="from")
    until: Day | None = Field(default=None, examples=[date(2027, 1, 1)])
    state: Literal["accepted", "blocked"] = "accepted"

    @model_validator(mode="after")
    def _known_once(self) -> Badge:
        if self.identifier is not None and self.digest is not None:
            message = "a badge has its identifier or what was made of it, the digest; remove one of them"
            raise ValueError(message)
        return self

    def facts(self) -> frozenset[Fact]:
        """None: what a session costs is fixed when it begins."""
        return frozenset()

    def sealed(self, digest: str) -> Badge:
        """The badge as it is kept."""
        given = self.model_dump(by_alias=True, exclude_unset=True, exclude={"identifier"})
        return Badge.model_validate({**given, "digest": digest})


TABLES: dict[str, type[Entity]] = {
    model.table: model for model in (Facility, Building, Point, User, Owner, Stay, Meter, Register, Link, Rate, Badge)
}
"""the tables of the file, in an order in which everything is named before it is referred to"""
