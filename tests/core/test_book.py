from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.book import Book, problems
from gateway.core.building import BillingPoint, Building, Dated, Facility, Link
from gateway.core.metering import Meter, Register
from gateway.core.occupancy import Occupancy, Ownership, User, stay
from gateway.core.period import MIN, Period
from gateway.core.tariff import Price, Rate, Tax
from gateway.core.units import Scaled

if TYPE_CHECKING:
    from gateway.core.problem import Problem

ZONE = "Europe/Zurich"
OCTOBER = datetime(2026, 9, 30, 22, tzinfo=UTC)


def always(text: str) -> Dated:
    return Dated(steps=((MIN, Scaled.parse(text)),))


def by_id(*entities: Any) -> dict[str, Any]:  # noqa: ANN401 - of any one kind
    return {entity.id: entity for entity in entities}


def facility(name: str) -> Facility:
    return Facility(
        id=name,
        name=name,
        time_zone=ZONE,
        currency="CHF",
        money_quantum=Scaled(1, -2),
        grace=timedelta(hours=48),
        boundary_tolerance=timedelta(minutes=30),
    )


def point(name: str, quotity: str, building: str = "a") -> BillingPoint:
    return BillingPoint(id=name, building=building, name=name, kind="apartment", values={"quotity": always(quotity)})


def register(name: str, meter: str) -> Register:
    return Register(id=name, meter=meter, key=name, energy_source="electricity", unit="kWh", exponent=-3)


def common(name: str, at: str, **given: Any) -> Link:  # noqa: ANN401 - the fields of a link
    return Link(**{"id": name, "register": "lift", "point": at, "scope": "building", "key": "quotity", **given})


def rate(name: str, *, points: frozenset[str] = frozenset()) -> Rate:
    return Rate(
        id=name,
        facility="f",
        energy_source="electricity",
        component="energy",
        title="Electricity",
        unit="kWh",
        tax=Tax(category="S", rate=Scaled(81, -1), included=True),
        prices=(Price(version=1, period=Period(), price=Scaled(25, -2)),),
        points=points,
    )


HOUSE = Book(
    facilities=by_id(facility("f"), facility("g")),
    buildings={
        **by_id(Building(id="a", facility="f", name="A", values={"quotity": always("100")})),
        **by_id(Building(id="b", facility="f", name="B", values={"quotity": always("100")})),
        **by_id(Building(id="c", facility="g", name="C")),
    },
    points=by_id(point("p1", "60"), point("p2", "40"), point("q-in-b", "10", "b"), point("q-in-g", "10", "c")),
    users=by_id(User(id="anna", kind="natural", name="Anna"), User(id="owner", kind="legal", name="Owner")),
    owners=by_id(
        Ownership(id="of-f", user="owner", target=("facility", "f")),
        Ownership(id="of-g", user="owner", target=("facility", "g")),
    ),
    occupancies=by_id(Occupancy(id="stay", point="p1", user="anna", period=Period(OCTOBER))),
    meters=by_id(Meter(id="lift", facility="f", name="Lift"), Meter(id="m", facility="f", name="M")),
    registers=by_id(register("lift", "lift"), register("own", "m")),
    links=by_id(common("l1", "p1"), common("l2", "p2"), Link(id="direct", register="own", point="p1")),
    rates=by_id(rate("power")),
)


def adding(**more: Any) -> Book:  # noqa: ANN401 - one entity of each kind
    """The house with these entities; one of the same id takes the place of the old one."""
    return replace(HOUSE, **{name: {**getattr(HOUSE, name), more[name].id: more[name]} for name in more})


def told(book: Book, *refused: tuple[str, str]) -> list[tuple[str, str, str, str]]:
    return [(one.code, one.kind, one.id, one.field) for one in problems(book, refused)]


def only(book: Book) -> Problem:
    (problem,) = problems(book)
    return problem


def test_a_sound_book_has_no_problems() -> None:
    assert not problems(HOUSE)
    assert not problems(Book())


@pytest.mark.parametrize(
    ("more", "kind", "field", "target"),
    [
        ({"buildings": Building(id="x", facility="no", name="X")}, "building", "facility", "facility"),
        ({"points": point("x", "1", "no")}, "point", "building", "building"),
        ({"owners": Ownership(id="x", user="no", target=("point", "p1"))}, "owner", "user", "user"),
        ({"owners": Ownership(id="x", user="anna", target=("point", "no"))}, "owner", "point", "point"),
        ({"owners": Ownership(id="x", user="anna", target=("building", "no"))}, "owner", "building", "building"),
        ({"owners": Ownership(id="x", user="anna", target=("facility", "no"))}, "owner", "facility", "facility"),
        ({"occupancies": Occupancy(id="x", point="no", user="anna", period=Period())}, "occupancy", "point", "point"),
        ({"occupancies": Occupancy(id="x", point="p2", user="no", period=Period())}, "occupancy", "user", "user"),
        ({"meters": Meter(id="x", facility="no", name="X")}, "meter", "facility", "facility"),
        ({"registers": register("x", "no")}, "register", "meter", "meter"),
        ({"links": Link(id="x", register="no", point="p1")}, "link", "register", "register"),
        ({"links": Link(id="x", register="own", point="no")}, "link", "point", "point"),
        ({"rates": replace(rate("x"), facility="no")}, "rate", "facility", "facility"),
        ({"rates": rate("x", points=frozenset({"no"}))}, "rate", "points", "point"),
    ],
)
def test_a_reference_to_nothing_is_told_once_at_the_entity_that_makes_it(
    more: dict[str, Any], kind: str, field: str, target: str
) -> None:
    book = adding(**more)
    assert told(book) == [(f"unknown_{target}", kind, "x", field)]
    assert "'no' is not known" in only(book).text
    assert told(book, (target, "no")) == []


def test_an_unknown_meter_hides_no_mistake_elsewhere() -> None:
    book = adding(registers=register("x", "no"), points=point("p2", "50"), links=Link(id="x", register="x", point="p1"))
    assert told(book) == [
        ("unknown_meter", "register", "x", "meter"),
        ("keys_exceed_building", "link", "l2", "key"),
    ]


def test_a_stay_that_ends_before_it_begins_is_told_once_and_hides_no_overlap() -> None:
    early = Occupancy(id="first", point="p1", user="anna", period=stay(date(2026, 1, 1), None, ZONE))
    empty = Occupancy(id="empty", point="p1", user="anna", period=stay(date(2026, 5, 2), date(2026, 5, 1), ZONE))
    book = replace(HOUSE, occupancies={**HOUSE.occupancies, **by_id(early, empty)})
    assert told(book) == [
        ("occupancy_overlap", "occupancy", "stay", "entry"),
        ("exit_before_entry", "occupancy", "empty", "exit"),
    ]


def test_a_stay_of_one_day_is_a_stay() -> None:
    one = Occupancy(id="x", point="p2", user="anna", period=stay(date(2026, 5, 1), date(2026, 5, 1), ZONE))
    assert one.period.microseconds == timedelta(days=1) // timedelta(microseconds=1)
    assert not problems(adding(occupancies=one))


def test_an_overlap_names_both_stays_and_their_periods() -> None:
    second = Occupancy(id="second", point="p1", user="owner", period=stay(date(2026, 11, 1), None, ZONE))
    text = only(adding(occupancies=second)).text
    assert "owner (2026-11-01 to open)" in text
    assert "anna (2026-10-01 to open, stay)" in text


def test_a_long_stay_overlaps_every_later_one_not_only_its_neighbour() -> None:
    days = ((date(2026, 11, 1), date(2026, 11, 2)), (date(2026, 12, 1), date(2026, 12, 2)))
    later = [
        Occupancy(id=f"late-{number}", point="p1", user="owner", period=stay(*span, ZONE))
        for number, span in enumerate(days)
    ]
    book = replace(HOUSE, occupancies={**HOUSE.occupancies, **by_id(*later)})
    assert [one[2] for one in told(book)] == ["late-0", "late-1"]


def test_a_rate_names_points_of_its_own_facility() -> None:
    other = {"g": replace(facility("f"), id="g")}
    book = replace(
        HOUSE,
        facilities={**HOUSE.facilities, **other},
        owners={**HOUSE.owners, "of-g": Ownership(id="of-g", user="owner", target=("facility", "g"))},
        rates={**HOUSE.rates, "x": replace(rate("x", points=frozenset({"p1"})), facility="g")},
    )
    assert told(book) == [("rate_across_facilities", "rate", "x", "points")]


def test_a_facility_has_an_owner_since_ever() -> None:
    late = Ownership(id="of-f", user="owner", target=("facility", "f"), start=OCTOBER)
    assert told(adding(owners=late)) == [("no_owner", "facility", "f", "")]
    assert told(adding(owners=late), ("owner", "another")) == []


def test_two_owners_from_the_same_day_are_refused() -> None:
    second = Ownership(id="second", user="anna", target=("facility", "f"))
    assert told(adding(owners=second)) == [("doubled_owner", "owner", "second", "from")]
    assert not problems(adding(owners=replace(second, start=OCTOBER)))
    assert not problems(adding(owners=replace(second, target=("point", "p1"))))


def test_one_counter_of_a_meter_has_one_id() -> None:
    assert told(adding(registers=replace(register("x", "m"), key="own"))) == [
        ("doubled_register", "register", "x", "key")
    ]


def test_a_link_stays_inside_one_facility() -> None:
    crossing = Link(id="direct", register="own", point="q-in-g")
    assert told(adding(links=crossing)) == [("link_across_facilities", "link", "direct", "point")]


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (Link(id="x", register="lift", point="p2"), "a direct link (without scope and key) takes the whole register"),
        (common("x", "p2", scope="unit"), "with different scopes or keys"),
        (common("x", "p2", key="percentage", value=always("1")), "with different scopes or keys"),
        (common("x", "p1"), "twice the same point"),
        (common("x", "q-in-b"), "which lie in different buildings"),
    ],
)
def test_a_register_is_shared_by_one_rule_at_a_time(link: Link, words: str) -> None:
    without = {"l1": HOUSE.links["l1"], "direct": HOUSE.links["direct"]}
    found = problems(replace(HOUSE, links={**without, "x": link}))
    assert [(one.code, one.id) for one in found if one.code == "mixed_links"] == [("mixed_links", "x")]
    assert words in found[0].text
    one_after_the_other = {
        "l1": replace(HOUSE.links["l1"], period=Period(until=OCTOBER)),
        "x": replace(link, period=Period(OCTOBER)),
    }
    assert not problems(replace(HOUSE, links=one_after_the_other))


def test_a_key_has_a_value_for_the_whole_link() -> None:
    unknown_before = replace(point("p2", "40"), values={"quotity": Dated(steps=((OCTOBER, Scaled(40, 0)),))})
    assert told(adding(points=unknown_before)) == [("no_key_value", "link", "l2", "key")]
    late = replace(HOUSE, links={**HOUSE.links, "l2": common("l2", "p2", period=Period(OCTOBER))})
    assert not problems(replace(late, points={**late.points, "p2": unknown_before}))
    assert not problems(replace(adding(points=unknown_before), links=by_id(common("l2", "p2", value=always("40")))))


def test_units_take_no_more_than_their_building_at_any_time() -> None:
    grown = Dated(steps=((MIN, Scaled(40, 0)), (OCTOBER, Scaled(41, 0))))
    later = replace(point("p2", "40"), values={"quotity": grown})
    problem = only(adding(points=later))
    assert (problem.code, problem.kind, problem.id) == ("keys_exceed_building", "link", "l2")
    assert "its units take 101 quotity, more than the 100 of building a" in problem.text
    in_unit_scope = by_id(common("l1", "p1", scope="unit"), common("l2", "p2", scope="unit"))
    assert not problems(replace(adding(points=later), links=in_unit_scope))


def test_percentages_of_a_building_end_at_100() -> None:
    shared = [common(name, at, key="percentage", value=always("50.5")) for name, at in (("l1", "p1"), ("l2", "p2"))]
    assert "its units take 101 percentage, more than the 100" in only(replace(HOUSE, links=by_id(*shared))).text


def test_a_building_without_the_key_has_no_building_scope_by_it() -> None:
    bare = Building(id="a", facility="f", name="A")
    assert "building a has no quotity: set it at the building" in only(adding(buildings=bare)).text


def test_two_prices_for_the_same_are_refused() -> None:
    assert told(adding(rates=rate("second"))) == [("rate_overlap", "rate", "second", "prices")]
    assert not problems(adding(rates=rate("second", points=frozenset({"p1"}))))


def test_a_link_ends_after_it_begins() -> None:
    empty = Link(id="direct", register="own", point="p1", period=Period(OCTOBER, OCTOBER))
    assert told(adding(links=empty)) == [("empty_period", "link", "direct", "until")]


@given(data=st.data())
def test_the_order_of_entries_changes_no_problem(data: st.DataObject) -> None:
    wrong = adding(
        points=point("p2", "50"),
        registers=register("x", "no"),
        occupancies=Occupancy(id="second", point="p1", user="owner", period=Period(OCTOBER)),
    )
    shuffled = {
        one.name: dict(data.draw(st.permutations(list(getattr(wrong, one.name).items())))) for one in fields(wrong)
    }
    assert {one.code for one in problems(replace(wrong, **shuffled))} == {one.code for one in problems(wrong)}
