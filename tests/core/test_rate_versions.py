"""The numbers by which charges name the prices of a rate."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.service.command_prices import numbered
from gateway.service.property_schema import Rate

RATE: dict[str, Any] = {
    "id": "t",
    "facility": "f",
    "energy_source": "electricity",
    "title": "T",
    "component": "energy",
    "unit": "kWh",
    "tax": {"category": "S", "rate": "8.1", "included": True},
}


def rate(*steps: tuple[str | None, str]) -> Rate:
    prices = [{"price": price} if since is None else {"from": since, "price": price} for since, price in steps]
    return Rate.model_validate_json(json.dumps({**RATE, "prices": prices}))


def versions(one: Rate) -> list[int]:
    return [step.version or place for place, step in enumerate(one.prices, start=1)]


def told(*turns: Rate) -> Rate:
    """The rate after it was told so often."""
    first, *others = turns
    now = numbered({}, first)
    for other in others:
        now = numbered({("rate", "t"): now}, other)
    return now


FIRST = rate((None, "0.25"), ("2026-02-01", "0.28"))


def test_prices_are_numbered_in_their_order_and_nothing_is_written_down_for_it() -> None:
    assert told(FIRST) == FIRST
    later = rate((None, "0.25"), ("2026-02-01", "0.28"), ("2026-03-01", "0.30"))
    assert told(FIRST, later) == later


def test_a_price_that_is_put_between_two_leaves_them_their_numbers() -> None:
    between = rate((None, "0.25"), ("2026-01-16", "0.26"), ("2026-02-01", "0.28"))
    assert versions(told(FIRST, between)) == [1, 3, 2]
    assert told(FIRST, between, between) == told(FIRST, between)
    assert told(told(FIRST, between)) == told(FIRST, between)  # as a file that was printed, in an empty store


def test_another_price_of_the_same_day_has_another_number() -> None:
    assert versions(told(FIRST, rate((None, "0.25"), ("2026-02-01", "0.27")))) == [1, 3]


def test_the_number_of_a_price_that_is_gone_is_given_to_no_other() -> None:
    without = rate((None, "0.25"))
    assert versions(told(FIRST, without, rate((None, "0.25"), ("2026-05-01", "0.31")))) == [1, 3]
    moved = told(told(FIRST, without), rate((None, "0.25"), ("2026-05-01", "0.31")))  # by a file, to another store
    assert versions(moved) == [1, 3]


DAYS = st.dictionaries(st.integers(0, 5), st.sampled_from(["0.1", "0.2", "0.3"]), min_size=1)


@given(st.lists(DAYS, min_size=1, max_size=6))
def test_a_number_never_means_two_prices(turns: list[dict[int, str]]) -> None:
    now, meant = None, dict[int, object]()
    for turn in turns:
        steps = [(str(date(2026, 1, 1) + timedelta(days=day)), turn[day]) for day in sorted(turn)]
        now = numbered({} if now is None else {("rate", "t"): now}, rate(*steps))
        for step, version in zip(now.prices, versions(now), strict=True):
            assert meant.setdefault(version, (step.from_, step.price)) == (step.from_, step.price)
