"""What the closing of a month tells beside what was told when the readings came."""

from __future__ import annotations

from datetime import timedelta

from gateway.core.event import Alarm
from gateway.service.judge import READING_IMPLAUSIBLE
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, House, house

__all__ = ["house"]


async def test_an_anomaly_that_was_told_when_it_was_polled_is_not_told_again_by_the_closing(house: House) -> None:
    for day, index in ((0, "10"), (9, "40"), (10, "99999"), (11, "44"), (20, "70"), (21, "0"), (22, "80")):
        await house.counted(OCTOBER + timedelta(days=day), index)
    await house.counted(OCTOBER, None, "100")
    await house.counted(NOVEMBER, "110", "130")
    polled = (READING_IMPLAUSIBLE, "heat-01-heat")
    since = OCTOBER + timedelta(days=10)
    await house.store.raise_alarm(
        Alarm(code=polled[0], source=polled[1], severity="error", since=since, text="garbage suspected")
    )
    await house.settler.settle_due()
    assert await house.alarms() == {polled, ("index_decrease", "heat-01-heat")}, "the other one is told"
    assert await house.store.dirty(), "both are held"
    assert (await house.sums())["ada"] < 20
    await house.store.end_alarm(*polled, CLOSED)
    await house.settler.settle_due()
    assert await house.alarms() == {("index_jump", "heat-01-heat"), ("index_decrease", "heat-01-heat")}


async def test_what_else_is_held_is_told_beside_it(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, None, "130")
    polled = (READING_IMPLAUSIBLE, "heat-01-heat")
    since = OCTOBER + timedelta(days=10)
    await house.store.raise_alarm(
        Alarm(code=polled[0], source=polled[1], severity="error", since=since, text="garbage")
    )
    await house.settler.settle_due()
    assert await house.alarms() == {polled, ("outside", "heat-01-heat")}
