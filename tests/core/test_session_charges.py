"""What sessions cost, and what is left of a machine's register beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.building import BillingPoint, Building, Link
from gateway.core.charge import (
    Charge,
    EndedSession,
    Settlement,
    body,
    charge_id,
    charge_session,
    compare,
    parse,
    seams,
    settle,
)
from gateway.core.metering import Reading
from gateway.core.occupancy import Payer
from gateway.core.period import ALWAYS, Period
from gateway.core.tariff import Price
from gateway.core.track import Index, track
from gateway.core.units import Scaled
from tests.core.worlds import HOURS, MONTH, RATE, REGISTER, TERMS, at, worlds_book
from tests.verifier import counted

if TYPE_CHECKING:
    from gateway.core.book import Book

POWER = replace(REGISTER, energy_source="electricity")
OWNER = Payer(id="owner", role="owner", reason="unattributed")


def price(text: str, period: Period = ALWAYS, version: int = 1) -> Price:
    return Price(version=version, period=period, price=Scaled.parse(text))


def house(energy: tuple[Price, ...] = (price("0.30"),), cycle: tuple[Price, ...] = (price("1.20"),)) -> Book:
    here = frozenset({"laundry"})
    kwh = replace(RATE, id="kwh", energy_source="electricity", points=here, prices=energy)
    wash = replace(kwh, id="wash", component="cycle", unit="cycle", prices=cycle)
    return worlds_book(
        buildings={"b": Building(id="b", facility="f", name="b")},
        points={
            "flat": BillingPoint(id="flat", building="b", name="Flat", kind="apartment"),
            "laundry": BillingPoint(id="laundry", building="b", name="Laundry", kind="laundry"),
        },
        registers={"r": POWER},
        links={"l": Link(id="l", register="r", point="laundry")},
        rates={rate.id: rate for rate in (kwh, wash) if rate.prices},
    )


def index(when: datetime, wh: int) -> Index:
    return Index(value=Scaled(wh, -3), at=when, quality="measured")


def wash(start: int, end: int, first: int, last: int, name: str = "s-1") -> EndedSession:
    """From one hour of the month to another, from one count of Wh to another."""
    return EndedSession(
        id=name,
        badge="b-1",
        user="blumer",
        point="flat",
        place="laundry",
        register="r",
        serial="4711",
        obis="1-0:1.8.0",
        started_at=at(start),
        ended_at=at(end),
        start=index(at(start), first),
        end=index(at(end), last),
    )


def readings(sessions: list[EndedSession], last: int) -> list[Reading]:
    """Those of the sessions, and one at each end of the month."""
    known = [(at(0), 0), (at(HOURS), last)]
    known += [(one.at, one.value.digits) for each in sessions for one in (each.start, each.end)]
    return [Reading(meter="m", register="r", at=when, index=Scaled(wh, -3), unit="kWh") for when, wh in known]


def settled(book: Book, sessions: list[EndedSession], last: int, standing: list[Charge] | None = None) -> Settlement:
    course = track(POWER, readings(sessions, last))
    return settle(book, {"r": course}, TERMS, seams(standing or [], MONTH), sessions)


def test_a_wash_costs_its_energy_and_its_cycle() -> None:
    found = settled(house(), [wash(10, 11, 0, 850)], 850)
    energy, cycle = [one for one in found.charges if one.session is not None]
    assert (str(energy.quantity), str(energy.amount), energy.component) == ("0.850", "0.26", "energy")
    assert (str(cycle.quantity), str(cycle.amount), cycle.unit) == ("1", "1.20", "cycle")
    assert {one.payer for one in (energy, cycle)} == {Payer(id="blumer", role="user", reason="occupancy")}
    assert {one.billing_point for one in (energy, cycle)} == {"flat"}
    assert cycle.segments == ()
    assert energy.line_id != cycle.line_id
    assert not found.holds


@pytest.mark.parametrize(
    ("own", "said", "first", "quantity"),
    [
        (None, 1_000_000, 999_500, "0.850"),
        (1_000_000, None, 999_500, "0.850"),
        (1_000_000, 5_000_000, 999_500, "0.850"),
        (None, 1_000_000, 900_000, None),  # 100.35 kWh in an hour: it was reset
        (None, 999_400, 999_500, None),  # it has shown more
        (None, None, 999_500, None),
    ],
)
def test_a_session_over_the_counters_highest_number_is_charged_where_so_much_can_flow(
    own: int | None, said: int | None, first: int, quantity: str | None
) -> None:
    """2,400 kWh a day are 100 in an hour; the number is the register's own, else the one that its model says."""
    book, one = house(), wash(10, 11, first, 350)
    register = replace(POWER, max_per_day=Scaled(2400, 0), modulus=None if own is None else Scaled(own, -3))
    book = replace(book, registers={"r": register})
    one = replace(one, modulus=None if said is None else Scaled(said, -3))
    charges, holds = charge_session(book, TERMS, one)
    assert [str(each.quantity) for each in charges] == ([quantity, "1"] if quantity else [])
    assert [each.code for each in holds] == ([] if quantity else ["index_decrease"])
    if quantity:
        (segment,) = body(charges[0])["evidence"]["segments"]
        assert counted(segment) == charges[0].quantity.fraction


def test_the_price_at_the_start_holds_to_the_end() -> None:
    change = at(10) + timedelta(minutes=30)
    prices = (price("0.30", Period(until=change)), price("0.50", Period(change), 2))
    energy = settled(house(energy=prices), [wash(10, 11, 0, 1000)], 1000).charges[-2]
    assert (str(energy.amount), energy.rate.version) == ("0.30", 1)


def test_what_no_badge_stands_behind_is_the_owners() -> None:
    found = settled(house(), [wash(10, 11, 100, 950), wash(20, 21, 1000, 2000, "s-2")], 2030)
    (rest,) = [one for one in found.charges if one.session is None]
    assert (rest.payer, rest.billing_point, str(rest.quantity)) == (OWNER, "laundry", "0.180")
    assert [(one.start.value.digits, one.until.value.digits) for one in rest.segments] == [
        (0, 100),
        (950, 1000),
        (2000, 2030),
    ]


def test_a_session_over_the_end_of_the_month_is_charged_once_in_the_month_of_its_end() -> None:
    late = wash(HOURS - 1, HOURS + 1, 500, 900)
    course = track(POWER, readings([late], 900)[:1] + readings([late], 900)[2:])
    october = settle(house(), {"r": course}, TERMS, {}, [late])
    assert [(str(one.quantity), one.session) for one in october.charges] == [("0.500", None)]
    november = replace(TERMS, period=Period(at(HOURS), at(HOURS + 24)), closing="2026-11")
    found = settle(house(), {"r": course}, november, {}, [late])
    assert [str(one.quantity) for one in found.charges if one.session] == ["0.400", "1"]
    assert not [one for one in found.charges if one.session is None]


def test_closing_the_month_changes_nothing_of_what_sessions_cost() -> None:
    sessions = [wash(10, 11, 0, 850)]
    published = compare([one for one in settled(house(), sessions, 850).charges if one.session], [])
    closing = compare(settled(house(), sessions, 850, published).charges, published)
    assert [one.session for one in closing] == [None]
    again = published + closing
    assert compare(settled(house(), sessions, 850, again).charges, again) == []


def test_a_price_corrected_later_revises_the_session() -> None:
    sessions = [wash(10, 11, 0, 1000)]
    published = compare(settled(house(), sessions, 1000).charges, [])
    found = compare(settled(house(cycle=(price("1.50"),)), sessions, 1000, published).charges, published)
    assert [(one.kind, one.component, str(one.amount), one.revision) for one in found] == [
        ("reversal", "cycle", "-1.20", 2),
        ("charge", "cycle", "1.50", 2),
    ]


def test_without_a_price_a_session_waits_and_is_told() -> None:
    sessions = [wash(10, 11, 0, 1000)]
    later = (price("1.20", Period(at(12))),)
    found = settled(house(cycle=later), sessions, 1000)
    assert [one.component for one in found.charges if one.session] == ["energy"]
    assert [(one.code, one.point) for one in found.holds] == [("no_price", "flat")]
    nothing = settled(house(energy=(), cycle=()), sessions, 1000)
    assert {one.code for one in nothing.holds} == {"no_price"}


def test_a_place_that_prices_cycles_only_gives_the_energy_away() -> None:
    found = settled(house(energy=()), [wash(10, 11, 0, 1000)], 1000)
    assert [one.component for one in found.charges if one.session] == ["cycle"]


def test_an_index_that_fell_is_not_charged() -> None:
    found = settled(house(), [wash(10, 11, 900, 800)], 1000)
    assert "index_decrease" in {one.code for one in found.holds}
    assert not [one for one in found.charges if one.session]


def test_a_session_charge_is_read_back_as_it_was_published() -> None:
    for one in compare(settled(house(), [wash(10, 11, 0, 850)], 850).charges, []):
        again = parse(json.loads(json.dumps(body(one))))
        assert again == one
        assert charge_id(again) == charge_id(one)


@given(st.lists(st.integers(0, 3000), min_size=0, max_size=12))
def test_sessions_and_rest_make_the_register(flows: list[int]) -> None:
    """Every second flow is a session, the others no badge stands behind."""
    sessions, total = [], 0
    for number, flow in enumerate(flows):
        if number % 2:
            sessions.append(wash(10 * number, 10 * number + 5, total, total + flow, f"s-{number}"))
        total += flow
    charges = settled(house(), sessions, total).charges
    energy = sum((one.quantity.fraction for one in charges if one.component == "energy"), Scaled(0, 0).fraction)
    assert energy == Scaled(total, -3).fraction
