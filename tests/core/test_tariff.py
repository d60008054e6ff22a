from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.metering import Register
from gateway.core.period import MAX, MIN, Period
from gateway.core.tariff import InForce, Price, Rate, Tax, in_force, rate_overlaps
from gateway.core.units import Scaled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.problem import Problem

START = datetime(2026, 9, 30, 22, tzinfo=UTC)
HOURS = 31 * 24 + 1
MONTH = Period(START, START + timedelta(hours=HOURS))
REGISTER = Register(id="r", meter="m", key="import", energy_source="electricity", unit="kWh", exponent=-3)


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


def price(start: datetime = MIN, until: datetime = MAX, *, digits: int = 2500, version: int = 1) -> Price:
    return Price(version=version, period=Period(start, until), price=Scaled(digits, -4))


def rate(name: str, *prices: Price, points: frozenset[str] = frozenset()) -> Rate:
    return Rate(
        id=name,
        facility="f",
        energy_source="electricity",
        component="energy",
        title=name,
        unit="kWh",
        tax=Tax(category="S", rate=Scaled(81, -1), included=True),
        prices=prices or (price(),),
        points=points,
    )


ALL = rate("all")
NAMED = rate("named", points=frozenset({"p"}))


def overlapping(rates: Iterable[Rate]) -> list[Problem]:
    return rate_overlaps(rates, lambda _: "Europe/Zurich")


def ids(found: list[tuple[Period, InForce | None]]) -> list[str | None]:
    return [None if held is None else held.rate.id for _, held in found]


def test_a_rate_that_names_the_point_beats_one_for_all() -> None:
    for rates in ([ALL, NAMED], [NAMED, ALL]):
        assert ids(in_force(rates, REGISTER, "p", MONTH)) == ["named"]
        assert ids(in_force(rates, REGISTER, "q", MONTH)) == ["all"]
        assert ids(in_force(rates, REGISTER, None, MONTH)) == ["all"]


def test_a_rate_for_all_holds_while_the_named_one_does_not() -> None:
    some_days = rate("named", price(at(10), at(20)), points=frozenset({"p"}))
    found = in_force([ALL, some_days], REGISTER, "p", MONTH)
    assert [period.start for period, _ in found] == [at(0), at(10), at(20)]
    assert ids(found) == ["all", "named", "all"]


def test_a_price_holds_from_its_first_instant_to_before_the_next() -> None:
    changed = rate("all", price(until=at(360)), price(at(360), digits=2700, version=2))
    before, after = in_force([changed], REGISTER, "p", MONTH)
    assert before[0] == Period(MONTH.start, at(360))
    assert before[1] is not None
    assert str(before[1].price.price) == "0.2500"
    assert after[1] is not None
    assert (after[1].price.version, str(after[1].price.price)) == (2, "0.2700")


def test_where_no_price_holds_there_is_none_never_zero() -> None:
    ended = rate("all", price(until=at(24)))
    assert ids(in_force([ended], REGISTER, "p", MONTH)) == ["all", None]
    assert ids(in_force([], REGISTER, "p", MONTH)) == [None]


@pytest.mark.parametrize(
    "other",
    [replace(ALL, energy_source="heating"), replace(ALL, component="volume"), replace(ALL, unit="MWh")],
)
def test_a_rate_prices_only_its_own_source_component_and_unit(other: Rate) -> None:
    assert ids(in_force([other], REGISTER, "p", MONTH)) == [None]


prices = st.lists(st.integers(-50, HOURS + 50), min_size=2, max_size=6, unique=True).map(
    lambda edges: [price(at(start), at(until), digits=start + 100) for start, until in pairwise(sorted(edges))]
)


@given(prices, prices, st.data())
def test_the_order_of_rates_and_prices_changes_nothing(
    for_all: list[Price], for_one: list[Price], data: st.DataObject
) -> None:
    rates = [rate("all", *for_all), rate("named", *for_one, points=frozenset({"p"}))]
    shuffled = [
        replace(one, prices=tuple(data.draw(st.permutations(one.prices)))) for one in data.draw(st.permutations(rates))
    ]
    straight = [(period, held and held.price) for period, held in in_force(rates, REGISTER, "p", MONTH)]
    assert [(period, held and held.price) for period, held in in_force(shuffled, REGISTER, "p", MONTH)] == straight
    assert straight[0][0].start == MONTH.start
    assert all(first.until == second.start for (first, _), (second, _) in pairwise(straight))
    assert overlapping(shuffled) == []


@pytest.mark.parametrize(
    "second",
    [
        rate("second"),
        rate("second", price(at(0), at(1))),
        rate("all", price(), price(at(3))),
    ],
)
def test_two_prices_for_the_same_ground_at_the_same_time_are_refused(second: Rate) -> None:
    rates = [second] if second.id == "all" else [ALL, second]
    (problem,) = overlapping(rates)
    assert (problem.code, problem.id) == ("rate_overlap", second.id)
    assert "end the earlier one first" in problem.text


def test_an_overlap_is_told_in_days_of_the_place() -> None:
    (problem,) = overlapping([ALL, rate("second", price(at(0)))])
    assert problem.text.startswith("the price from 2026-10-01 on overlaps one of all for the same electricity")
    assert overlapping([ALL, rate("second")])[0].text.startswith("the price since ever overlaps one of all")


def test_rates_that_name_a_common_point_overlap() -> None:
    assert [problem.id for problem in overlapping([NAMED, rate("x", points=frozenset({"p", "q"}))])] == ["x"]


@pytest.mark.parametrize(
    "second",
    [
        NAMED,
        replace(rate("second"), facility="g"),
        replace(rate("second"), energy_source="heating"),
        replace(rate("second"), unit="MWh"),
    ],
)
def test_rates_for_different_ground_do_not_overlap(second: Rate) -> None:
    assert overlapping([ALL, second]) == []


def test_a_price_may_begin_where_another_ends() -> None:
    assert overlapping([rate("old", price(until=at(5))), rate("new", price(at(5)))]) == []
    assert len(overlapping([rate("old", price(until=at(6))), rate("new", price(at(5)))])) == 1
