"""Nothing is settled by a clock that is not trusted, and the alarm about it begins and ends once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.service.settle import UNTRUSTED_TEXT
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, House, house

if TYPE_CHECKING:
    import pytest

__all__ = ["house"]


async def test_nothing_is_billed_while_the_clock_is_not_trusted(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    house.clock.right = False
    assert await house.settler.settle_due() == CLOSED + timedelta(minutes=1)
    assert not await house.published()


async def test_a_clock_that_is_not_trusted_is_told_once_and_ends_once(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="gateway.service.settle")
    house.clock.right = False
    for _ in range(3):
        await house.settler.settle_due()
    assert await house.alarms() == {("clock_untrusted", "gateway")}
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", UNTRUSTED_TEXT)]
    caplog.clear()
    house.clock.right = True
    for _ in range(3):
        await house.settler.settle_due()
    assert not await house.alarms()
    assert [record.message for record in caplog.records] == ["the clock is right again: what is due is billed"]


async def test_the_alarm_of_the_clock_ends_also_when_the_gateway_was_started_anew(house: House) -> None:
    house.clock.right = False
    await house.settler.settle_due()
    house.clock.right = True
    await house.new_settler(house.store).settle_due()
    assert not await house.alarms()
