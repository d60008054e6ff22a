from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.occupancy import Occupancy, Ownership, Payer, overlaps, owner_at, payers, stay
from gateway.core.period import MAX, MIN, Period, midnight

ZONE = "Europe/Zurich"
START = datetime(2026, 9, 30, 22, tzinfo=UTC)
HOURS = 31 * 24 + 1
MONTH = Period(START, START + timedelta(hours=HOURS))
TARGETS = (("point", "p"), ("building", "b"), ("facility", "f"))
OWNER = Ownership(id="o", user="owner", target=("facility", "f"))


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


hours = st.integers(-100, HOURS + 100)


@st.composite
def stays(draw: st.DrawFn) -> list[Occupancy]:
    """One after the other, some without a gap, from before the month until after it."""
    edges = sorted(draw(st.lists(hours, max_size=9, unique=True)))
    kept = [pair for pair in pairwise(edges) if draw(st.booleans())]
    users = [draw(st.sampled_from(["anna", "urs"])) for _ in kept]
    return [
        Occupancy(id=f"s{start}", point="p", user=user, period=Period(at(start), at(end)))
        for (start, end), user in zip(kept, users, strict=True)
    ]


owners = st.lists(
    st.builds(
        lambda hour, target: Ownership(id=f"{target}-{hour}", user=f"{target}-{hour}", target=target, start=at(hour)),
        hours,
        st.sampled_from([("point", "p"), ("building", "b"), ("facility", "f"), ("point", "another")]),
    ),
    max_size=4,
    unique_by=lambda owner: owner.id,
).map(lambda later: [OWNER, *later])


@given(stays(), owners, hours)
def test_at_every_instant_exactly_one_pays(lived: list[Occupancy], owned: list[Ownership], hour: int) -> None:
    found = payers(lived, owned, TARGETS, MONTH)
    assert (found[0][0].start, found[-1][0].until) == (MONTH.start, MONTH.until)
    assert all(first.until == second.start for (first, _), (second, _) in pairwise(found))
    for instant in (at(hour), at(hour) - timedelta(microseconds=1)):
        if instant in MONTH:
            (payer,) = [payer for period, payer in found if instant in period]
            living = [one.user for one in lived if instant in one.period]
            owner = owner_at(owned, TARGETS, instant) or ""
            assert payer == (
                Payer(id=living[0], role="user", reason="occupancy")
                if living
                else Payer(id=owner, role="owner", reason="vacancy")
            )


@given(stays(), owners, st.data())
def test_the_order_of_stays_and_owners_changes_nothing(
    lived: list[Occupancy], owned: list[Ownership], data: st.DataObject
) -> None:
    shuffled = payers(data.draw(st.permutations(lived)), data.draw(st.permutations(owned)), TARGETS, MONTH)
    assert shuffled == payers(lived, owned, TARGETS, MONTH)


@given(stays(), owners, hours)
def test_cutting_the_period_changes_nobody(lived: list[Occupancy], owned: list[Ownership], hour: int) -> None:
    pieces = [found for piece in MONTH.cut([at(hour)]) for found in payers(lived, owned, TARGETS, piece)]
    whole = payers(lived, owned, TARGETS, MONTH)
    assert [(part, payer) for period, payer in whole for part in period.cut([at(hour)])] == pieces


@given(stays(), st.data())
def test_stays_one_after_the_other_never_overlap(lived: list[Occupancy], data: st.DataObject) -> None:
    assert overlaps(data.draw(st.permutations(lived))) == []


@given(stays().filter(bool), st.data())
def test_a_stay_that_shares_an_instant_is_refused_with_both_named(lived: list[Occupancy], data: st.DataObject) -> None:
    held = data.draw(st.sampled_from(lived))
    second = Occupancy(id="second", point="p", user="eva", period=Period(held.period.until - timedelta(hours=1)))
    found = overlaps([*lived, second])
    assert any("eva" in problem.text and held.user in problem.text for problem in found)


def test_stays_at_two_points_never_overlap() -> None:
    two = [Occupancy(id=name, point=name, user="anna", period=Period()) for name in ("p", "q")]
    assert overlaps(two) == []


def test_the_user_pays_from_midnight_of_the_entry_to_midnight_after_the_exit() -> None:
    # the clocks go back on 25 October: midnight is 22:00 UTC before, 23:00 after
    assert stay(date(2026, 10, 25), date(2026, 10, 25), ZONE) == Period(
        datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)
    )
    assert stay(date(2026, 10, 25), None, ZONE).until == MAX


def test_a_move_leaves_no_instant_without_a_user() -> None:
    old, new = stay(date(2026, 1, 1), date(2026, 10, 14), ZONE), stay(date(2026, 10, 15), None, ZONE)
    assert old.until == new.start == midnight(date(2026, 10, 15), ZONE)


def test_the_owner_of_the_point_comes_before_those_of_building_and_facility() -> None:
    of_building = Ownership(id="ob", user="urs", target=("building", "b"))
    of_point = Ownership(id="op", user="eva", target=("point", "p"), start=at(10))
    owned = [OWNER, of_building, of_point]
    assert [owner_at(owned, TARGETS, instant) for instant in (MIN, at(9), at(10))] == ["urs", "urs", "eva"]
    assert owner_at(owned, TARGETS[2:], at(10)) == "owner"


def test_an_owner_holds_until_the_next_of_the_same() -> None:
    sold = Ownership(id="o2", user="buyer", target=("facility", "f"), start=at(5))
    assert [payer.id for _, payer in payers([], [sold, OWNER], TARGETS, MONTH, "remainder")] == ["owner", "buyer"]


def test_nobody_owning_is_a_bug_of_the_book() -> None:
    with pytest.raises(LookupError, match="nobody owns p"):
        payers([], [], TARGETS, MONTH)
