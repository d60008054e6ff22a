"""What stands beside a month, and what was settled before, changes nothing that it should not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from gateway.core.units import Scaled
from gateway.service.records import DirtyMonth
from gateway.store import Store
from tests.adapters.stores import new_store, poll, reading
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, PROPERTY, House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUARTER, DAY = timedelta(minutes=15), timedelta(days=1)
PRICE = Fraction("0.20")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Only the first flat's meter."""
    async with Store(new_store(tmp_path)) as store:
        one = House(store)
        first = {table: PROPERTY[table][:1] for table in ("meter", "register", "link")}
        await one.told({**PROPERTY, **first})
        yield one


async def settled_again(house: House) -> None:
    await house.store.mark_dirty([DirtyMonth(facility="f", month="2026-10", reason="other")])
    await house.settler.settle_due()


async def of_october(house: House) -> list[tuple[str, int, Fraction]]:
    return [
        (one["kind"], one["revision"], Fraction(one["quantity"]))
        for one in await house.published()
        if one["closing"] == "2026-10"
    ]


async def by_hand(house: House, at: datetime, index: str) -> None:
    await house.store.add_reading(replace(reading(at, index), origin="manual"), "read", "test", CLOSED)


@pytest.mark.parametrize("shared", [False, True])
async def test_a_tail_that_was_filled_is_not_taken_back_when_the_month_is_settled_again(
    house: House, *, shared: bool
) -> None:
    if shared:
        rule = {"scope": "unit", "key": "surface"}
        links = [{"id": f"l-{no}", "register": "heat-01-heat", "point": f"flat-{no}", **rule} for no in (1, 2)]
        await house.told({"point": [{**one, "surface": "30"} for one in PROPERTY["point"]], "link": links})
    await house.counted(OCTOBER, "10")
    await house.counted(NOVEMBER - 10 * DAY, "80.001")
    await house.settler.settle_due()
    await house.counted(NOVEMBER, "100")
    house.clock.shown = CLOSED + DAY
    await house.settler.settle_due()
    before = await house.published()
    assert {one["kind"] for one in before} == {"charge"}
    await settled_again(house)
    assert await house.published() == before


async def test_a_tail_that_ended_where_a_reading_was_voided_is_decided_by_those_that_are_left(house: House) -> None:
    await by_hand(house, OCTOBER, "10")
    await by_hand(house, NOVEMBER - 10 * DAY, "80")
    await house.settler.settle_due()
    await house.store.void_readings("heat-01", "heat", NOVEMBER - 10 * DAY, "wrong", "test", CLOSED)
    await house.counted(NOVEMBER, "60")
    await settled_again(house)
    assert await house.sums() == {"ada": 50 * PRICE}
    assert not await house.alarms()


@pytest.mark.parametrize("wrong", ["9000", "0.5"])
async def test_a_wrong_reading_before_a_month_holds_nothing_of_it(house: House, wrong: str) -> None:
    for number in range(1, 4):
        await house.counted(OCTOBER - (number + 1) * QUARTER, f"{10 - number}")
    await house.counted(OCTOBER - QUARTER, wrong)
    for at, index in ((OCTOBER, "10"), (OCTOBER + QUARTER, "11"), (NOVEMBER, "110")):
        await house.counted(at, index)
    await house.settler.settle_due()
    assert await of_october(house) == [("charge", 1, Fraction(100))]


@pytest.mark.parametrize("origin", ["manual", "untrusted"])
async def test_what_no_index_is_interpolated_from_hides_no_measured_reading_behind_it(
    house: House, origin: str
) -> None:
    await house.counted(OCTOBER - 3 * DAY, "7")
    await house.counted(OCTOBER + DAY, "11")
    await house.counted(NOVEMBER - DAY, "109")
    await house.counted(NOVEMBER + 2 * DAY, "112")
    for at, index in ((OCTOBER - 2 * DAY, "8"), (NOVEMBER + DAY, "111")):
        if origin == "manual":
            await by_hand(house, at, index)
        else:
            await house.store.keep(
                [replace(poll(replace(reading(at, index), clock_trusted=False)), clock_trusted=False)]
            )
    await house.settler.settle_due()
    assert await of_october(house) == [("charge", 1, Fraction(100))]
    assert not await house.alarms()


async def test_a_value_stored_beside_a_boundary_is_there_for_both_months(house: House) -> None:
    await house.counted(OCTOBER - 3 * DAY, "0")
    await house.store.keep([poll(replace(reading(OCTOBER + timedelta(hours=1), "1"), origin="stored"))])
    for at, index in ((OCTOBER + DAY, "48"), (NOVEMBER, "100")):
        await house.counted(at, index)
    await house.settler.settle_due()
    counted = [Fraction(one["quantity"]) for one in await house.published()]
    assert sum(counted) == Scaled.parse("100").fraction
    assert counted == [1, 99]
