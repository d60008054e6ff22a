"""Months that were charged in parts, because something was held for a while, once their readings are thinned."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.service.command_execute import Commander
from gateway.service.command_schema import VoidReading
from gateway.service.records import DirtyMonth
from gateway.store import Store, schema
from tests.adapters.test_retain import HOUR, OLD, retain, rows
from tests.adapters.test_settle import NOVEMBER, OCTOBER, PROPERTY, House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WRONG = OCTOBER + 10 * timedelta(days=1) + 12 * HOUR


@pytest.fixture
async def house(store_url: str) -> AsyncIterator[House]:
    """October of two meters, read every three hours, closed, with a reading that cannot be."""
    async with Store(store_url) as store:
        one = House(store)
        await one.told(PROPERTY)
        for number in range(0, (NOVEMBER - OCTOBER) // HOUR + 13, 3):
            at = OCTOBER + number * HOUR
            counted = 10 * number + number % 24 // 12 * 5
            await one.counted(at, "99999" if at == WRONG else str(counted), str(counted))
        await one.settler.settle_due()
        yield one


async def test_what_was_held_in_the_middle_of_a_day_and_came_later_is_found_again_as_it_was_charged(
    house: House,
) -> None:
    commander = Commander(store=house.store, clock=house.clock, seal=lambda identifier: identifier)
    told = {"meter": "heat-01", "register": "heat", "at": WRONG.isoformat(), "reason": "garbage"}
    assert (await commander.execute(VoidReading.model_validate(told), "test")).ok
    await house.settler.settle_due()
    charges = [one for one in await house.published() if one["closing"] == "2026-10"]
    assert [one["kind"] for one in charges] == ["charge"] * 4
    before = len(await rows(house, schema.reading))
    house.clock.shown = OLD
    await retain(house).retain_due()
    assert len(await rows(house, schema.reading)) < before
    await house.store.mark_dirty([DirtyMonth(facility="f", month="2026-10", reason="rate")])
    await house.settler.settle_due()
    assert [one for one in await house.published() if one["closing"] == "2026-10"] == charges
