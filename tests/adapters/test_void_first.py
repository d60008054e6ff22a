"""Months that were charged from a register's first readings, and a person voids these: real store, real settler."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.adapters.stores import reading
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, PROPERTY, House, house

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["house"]

HALF = OCTOBER + timedelta(days=15)
OTHERS = {"own": Fraction(6)}
"""what the register beside it costs"""


async def charged(house: House) -> None:
    """An October of three readings; 20.00 for ada."""
    await house.counted(OCTOBER, "10", "100")
    await house.counted(HALF, "60")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(20), **OTHERS}


async def void(house: House, *instants: datetime) -> None:
    for at in instants:
        await house.store.void_readings("heat-01", "heat", at, "crossed", "test", CLOSED, [])
    await house.told({})


async def settled_again(house: House) -> dict[str, Fraction]:
    """What all have paid in the end; once it is settled it stays settled."""
    await house.told({})
    await house.settler.settle_due()
    once = await house.published()
    await house.told({})
    await house.settler.settle_due()
    assert await house.published() == once
    return {payer: amount for payer, amount in (await house.sums()).items() if amount}


async def done(house: House) -> bool:
    """Whether October is not settled again every day."""
    return "2026-10" not in {one.month for one in await house.store.dirty()}


async def test_what_was_charged_from_a_strangers_readings_is_taken_back_once_all_are_void(house: House) -> None:
    await charged(house)
    await void(house, OCTOBER, HALF, NOVEMBER)
    await house.counted(NOVEMBER + timedelta(hours=12), "7")
    assert await settled_again(house) == OTHERS
    assert await done(house)
    assert ("not_started", "heat-01-heat") not in await house.alarms()


async def test_it_is_taken_back_also_before_anything_else_was_read(house: House) -> None:
    await charged(house)
    await void(house, OCTOBER, HALF, NOVEMBER)
    assert await settled_again(house) == OTHERS
    await house.counted(NOVEMBER + timedelta(hours=12), "7")
    assert await settled_again(house) == OTHERS
    assert await done(house)


async def test_a_month_whose_first_reading_is_void_is_charged_from_the_next_one_on(house: House) -> None:
    await charged(house)
    await void(house, OCTOBER)
    assert await settled_again(house) == {"ada": Fraction(10), **OTHERS}
    assert await done(house)
    assert not await house.alarms()


async def test_the_months_that_are_charged_from_both_sides_of_a_void_reading_at_their_boundary_are_both_right(
    house: House,
) -> None:
    await charged(house)
    december = NOVEMBER + timedelta(days=30)
    await house.counted(december, "210", "160")
    house.clock.shown = december + timedelta(days=3)
    await house.settler.settle_due()
    assert (await house.sums())["ada"] == Fraction(40)
    await void(house, OCTOBER, HALF, NOVEMBER)
    await house.counted(NOVEMBER + timedelta(days=10), "150")
    assert (await settled_again(house))["ada"] == Fraction(12)
    assert await done(house)


async def test_the_own_meters_indexes_that_a_person_enters_are_charged_instead(house: House) -> None:
    await charged(house)
    await void(house, OCTOBER, HALF, NOVEMBER)
    await house.counted(NOVEMBER + timedelta(hours=12), "27")
    assert await settled_again(house) == OTHERS
    for at, index in ((OCTOBER, "1"), (NOVEMBER, "26")):
        await house.store.add_reading(reading(at, index), "read at the door", "test", CLOSED, [])
    assert await settled_again(house) == {"ada": Fraction(5), **OTHERS}
    assert await done(house)


async def test_what_was_published_stays_where_the_next_reading_may_still_fill_the_month(house: House) -> None:
    await charged(house)
    await void(house, NOVEMBER)
    assert (await settled_again(house))["ada"] == Fraction(20)
    assert await house.alarms() == {("outside", "heat-01-heat")}
    await house.counted(NOVEMBER + timedelta(days=1), "128")
    assert (await settled_again(house))["ada"] == Fraction("22.8")


async def test_what_was_published_from_a_void_first_reading_stays_while_the_month_has_no_end(house: House) -> None:
    await charged(house)
    await void(house, OCTOBER, NOVEMBER)
    assert (await settled_again(house))["ada"] == Fraction(20)
    assert await house.alarms() == {("outside", "heat-01-heat")}
    await house.counted(NOVEMBER + timedelta(days=1), "128")
    assert (await settled_again(house))["ada"] == Fraction("12.8")
    assert await done(house)


async def test_a_beginning_that_lay_between_two_readings_is_taken_back_once_the_one_before_it_is_void(
    house: House,
) -> None:
    before = OCTOBER - timedelta(days=1)
    await house.counted(before, "7", "96")
    await house.counted(HALF, "55")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    assert (await house.sums())["ada"] == Fraction("20.6")
    await void(house, before)
    assert (await settled_again(house))["ada"] == Fraction(11)
    assert await done(house)


async def test_what_was_published_stays_while_the_first_reading_that_is_left_is_in_doubt(house: House) -> None:
    await charged(house)
    await void(house, OCTOBER)
    await house.counted(HALF, "61")
    assert (await settled_again(house))["ada"] == Fraction(20)
    assert ("conflicting_reading", "heat-01-heat") in await house.alarms()


async def test_what_was_published_stays_where_readings_are_missing_that_nobody_has_voided(house: House) -> None:
    await charged(house)
    other = [{**one, "key": "cold"} for one in PROPERTY["register"][:1]]
    await house.told({"register": other})
    await void(house, HALF)
    assert (await settled_again(house))["ada"] == Fraction(20)
    assert ("outside", "heat-01-heat") in await house.alarms()
