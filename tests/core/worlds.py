"""Random buildings for the invariants: one common register, units, stays, keys that change, prices, readings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from gateway.core.book import Book
from gateway.core.building import BillingPoint, Building, Dated, Facility, Link
from gateway.core.charge import Charge, Settlement, Terms, compare, seams, settle
from gateway.core.metering import Meter, Reading, Register
from gateway.core.occupancy import Occupancy, Ownership
from gateway.core.period import MAX, MIN, Period
from gateway.core.tariff import Price, Rate, Tax
from gateway.core.track import Track, track
from gateway.core.units import Scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.building import Key, Scope

START = datetime(2026, 9, 30, 22, tzinfo=UTC)
HOURS = 31 * 24 + 1
MONTH = Period(START, START + timedelta(hours=HOURS))
TERMS = Terms(gateway="gw", facility="f", period=MONTH, closing="2026-10")
KEY: Key = "surface"


def at(hour: int) -> datetime:
    """The instant so many hours into the month."""
    return START + timedelta(hours=hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A book and the readings of its one register."""

    book: Book
    readings: tuple[Reading, ...]

    def track(self) -> Track:
        return track(self.book.registers["r"], self.readings)

    def settle(self, period: Period = MONTH, standing: Sequence[Charge] = ()) -> Settlement:
        return settle(self.book, {"r": self.track()}, replace(TERMS, period=period), seams(standing, period))

    def charges(self, standing: Sequence[Charge] = ()) -> list[Charge]:
        """What is to be published next."""
        found = self.settle(standing=standing)
        return compare(found.charges, standing, holds=found.holds)


hours = st.integers(0, HOURS)
areas = st.integers(0, 400).map(lambda tenths: Scaled(tenths, -1))


@st.composite
def dated(draw: st.DrawFn) -> Dated:
    """A value since ever, and up to two changes in the month."""
    changes = draw(st.lists(hours, max_size=2, unique=True))
    steps = [(MIN, draw(areas)), *((at(hour), draw(areas)) for hour in sorted(changes))]
    return Dated(steps=tuple(steps))


@st.composite
def stays(draw: st.DrawFn, point: str) -> list[Occupancy]:
    """Up to two stays one after the other, with vacancies before, between and after."""
    edges = sorted(draw(st.lists(hours, min_size=0, max_size=4, unique=True)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return [
        Occupancy(id=f"{point}-{start}", point=point, user=f"user-{point}-{start}", period=Period(at(start), at(end)))
        for start, end in pairs
    ]


@st.composite
def links(draw: st.DrawFn, point: str, scope: Scope) -> Link:
    """A common link by surface, perhaps only for a part of the month."""
    start = draw(st.none() | hours)
    end = draw(st.none() | hours.filter(lambda hour: start is None or hour > start))
    period = Period(MIN if start is None else at(start), MAX if end is None else at(end))
    return Link(id=point, register="r", point=point, period=period, scope=scope, key=KEY)


@st.composite
def prices(draw: st.DrawFn) -> tuple[Price, ...]:
    """One to three prices without a gap."""
    edges = [MIN, *(at(hour) for hour in sorted(draw(st.lists(hours, max_size=2, unique=True)))), MAX]
    spans = [Period(start, end) for start, end in pairwise(edges)]
    amounts = [Scaled(draw(st.integers(0, 99999)), -4) for _ in spans]
    return tuple(
        Price(version=number, period=span, price=price)
        for number, (span, price) in enumerate(zip(spans, amounts, strict=True), 1)
    )


@st.composite
def courses(draw: st.DrawFn) -> tuple[Reading, ...]:
    """Readings that never fall, the first before the month and the last after it."""
    instants = [-1, *sorted(draw(st.lists(hours, max_size=8, unique=True))), HOURS + 1]
    index, found = draw(st.integers(0, 10**6)), []
    for hour in instants:
        index += draw(st.integers(0, 50000))
        found.append(Reading(meter="m", register="r", at=at(hour), index=Scaled(index, -3), unit="kWh"))
    return tuple(found)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A building with a register that up to four units share by surface."""
    scope: Scope = draw(st.sampled_from(["building", "unit"]))
    names = [f"p{number}" for number in range(draw(st.integers(1, 4)))]
    points = {
        name: BillingPoint(id=name, building="b", name=name, kind="apartment", values={KEY: draw(dated())})
        for name in names
    }
    shared = [draw(links(name, scope)) for name in names]
    lived = [stay for name in names for stay in draw(stays(name))]
    book = worlds_book(
        buildings={"b": Building(id="b", facility="f", name="b", values={KEY: Dated(steps=((MIN, Scaled(200, 0)),))})},
        points=points,
        occupancies={stay.id: stay for stay in lived},
        registers={"r": REGISTER},
        links={link.id: link for link in shared},
        rates={"rate": replace(RATE, prices=draw(prices()))},
    )
    return World(book=book, readings=draw(courses()))


def worlds_book(**parts: Any) -> Book:  # noqa: ANN401 - the parts are the book's own
    """A book with one facility, its owner and one meter."""
    return Book(
        facilities={"f": FACILITY},
        owners={"o": Ownership(id="o", user="owner", target=("facility", "f"))},
        meters={"m": Meter(id="m", facility="f", name="m")},
        **parts,
    )


FACILITY = Facility(
    id="f",
    name="f",
    time_zone="Europe/Zurich",
    currency="CHF",
    money_quantum=Scaled(1, -2),
    grace=timedelta(hours=48),
    boundary_tolerance=timedelta(0),
)
REGISTER = Register(id="r", meter="m", key="r", energy_source="heating", unit="kWh", exponent=-3)
RATE = Rate(
    id="rate",
    facility="f",
    energy_source="heating",
    component="energy",
    title="Heat",
    unit="kWh",
    tax=Tax(category="S", rate=Scaled(81, -1), included=True),
    prices=(),
)
