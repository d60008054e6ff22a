"""What the closing of a month tells beside what was told when the readings came."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

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


async def test_what_another_meter_than_property_data_name_has_counted_is_held(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    await house.told({"meter": [{"id": "heat-01", "facility": "f", "name": "Heat", "serial": "4711 B"}]})
    await house.settler.settle_due()
    assert await house.sums() == {"own": Fraction(6)}
    [told] = await house.store.open_alarms()
    assert (told.code, told.source) == ("identity_changed", "heat-01-heat")
    assert "another meter than 4711 B of the property data answered: correct its serial or the address, " in told.text
    await house.told({"meter": [{"id": "heat-01", "facility": "f", "name": "Heat", "serial": "4711"}]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(20), "own": Fraction(6)}
    assert not await house.store.open_alarms()


async def test_what_was_billed_before_the_serial_was_known_stays_until_it_is_decided(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    before = await house.published()
    await house.told({"meter": [{"id": "heat-01", "facility": "f", "name": "Heat", "serial": "4712"}]})
    await house.settler.settle_due()
    assert await house.published() == before
    [told] = await house.store.open_alarms()
    assert told.text.endswith("what was published for it stays until then")
    await house.told({"meter": [{"id": "heat-01", "facility": "f", "name": "Heat", "serial": "00 4711"}]})
    await house.settler.settle_due()
    assert await house.published() == before, "whatever the label's writing, the charge has the meter's"


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
