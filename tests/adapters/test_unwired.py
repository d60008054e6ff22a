"""Meters that only the settings or only the property data know, on a real store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.clock import SteppedClock
from gateway.service.command_execute import Commander
from gateway.service.command_schema import AddReading, Set
from gateway.service.records import PropertyChange
from gateway.service.unwired import Unwired, apart
from tests.adapters.stores import poll, reading
from tests.adapters.test_settle import CLOSED, OCTOBER, House, house

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["house"]
BOTH = frozenset({"heat-01", "heat-02"})
LOST = {("meter_unwired", "heat-02")}
RENAMED = frozenset({"heat-01", "heat-02-new"})
HOUR = timedelta(hours=1)


def watch(house: House, wired: Iterable[str]) -> Unwired:
    """The worker of a daemon with these meters in its settings."""
    return Unwired(
        store=house.store,
        clock=house.clock,
        bell=SteppedClock().bell(),
        wired=frozenset(wired),
        beat=lambda: None,
    )


async def linked(house: House, **dates: str) -> None:
    """The link of the second meter holds in this time."""
    row = {"id": "l-2", "register": "heat-02-heat", "point": "flat-2", **dates}
    change = PropertyChange(kind="link", id="l-2", value=json.dumps(row))
    await house.store.record_property([change], "test", house.clock.now(), [])


async def by_hand(house: House, at: datetime, index: str, register: str = "heat") -> None:
    """A person enters what the second meter shows."""
    words = {
        "meter": "heat-02",
        "register": register,
        "at": at.isoformat(),
        "value": index,
        "reason": "read at the door",
    }
    commander = Commander(store=house.store, clock=house.clock, seal=str)
    answer = await commander.execute(AddReading.model_validate(words), "test")
    assert answer.applied, answer


async def test_a_meter_that_bills_and_is_on_no_line_is_told_until_it_is(house: House) -> None:
    await watch(house, BOTH).look()
    assert not await house.alarms()
    await watch(house, RENAMED).look()
    await watch(house, RENAMED).look()
    (alarm,) = await house.store.open_alarms()
    assert (alarm.code, alarm.source, alarm.severity) == ("meter_unwired", "heat-02", "error")
    assert alarm.text.startswith("meter heat-02 of the property data is on no line of the settings, so its readings")
    await watch(house, BOTH).look()
    assert not await house.alarms()


async def test_it_is_told_whether_it_was_ever_read_or_not(house: House) -> None:
    await house.counted(OCTOBER, "1.000", "1.000")
    await watch(house, RENAMED).look()
    assert await house.alarms() == LOST
    await watch(house, ()).look()
    assert await house.alarms() == {*LOST, ("meter_unwired", "heat-01")}


async def test_a_meter_is_told_only_while_a_link_holds(house: House) -> None:
    begin, end = datetime(2027, 1, 31, 23, tzinfo=UTC), datetime(2027, 2, 4, 23, tzinfo=UTC)
    await linked(house, **{"from": "2027-02-01", "until": "2027-02-05"})
    worker = watch(house, RENAMED)
    assert await worker.look() == CLOSED + timedelta(days=1)
    assert not await house.alarms(), "one that is still to be built in"
    house.clock.shown = begin - HOUR
    assert await worker.look() == begin
    house.clock.shown = begin
    await worker.look()
    assert await house.alarms() == LOST
    house.clock.shown = end - HOUR
    assert await worker.look() == end
    house.clock.shown = end
    await worker.look()
    assert not await house.alarms(), "one that is gone"


async def test_a_meter_that_is_read_by_hand_is_not_told(house: House) -> None:
    worker = watch(house, {"heat-01"})
    await worker.look()
    assert await house.alarms() == LOST
    await by_hand(house, OCTOBER, "10.000")
    await worker.look()
    assert not await house.alarms()


async def test_a_reading_by_hand_before_the_meters_own_says_nothing(house: House) -> None:
    await by_hand(house, OCTOBER, "10.000")
    await house.counted(OCTOBER + HOUR, None, "11.000")
    await watch(house, RENAMED).look()
    assert await house.alarms() == LOST
    await by_hand(house, OCTOBER + 2 * HOUR, "12.000")
    await watch(house, RENAMED).look()
    assert await house.alarms() == LOST, "that one has helped out"
    await by_hand(house, OCTOBER + 3 * HOUR, "13.000")
    await watch(house, RENAMED).look()
    assert not await house.alarms(), "since then it is read by hand"
    await house.counted(OCTOBER + 4 * HOUR, None, "14.000")
    await watch(house, RENAMED).look()
    assert await house.alarms() == LOST, "it was on a line again"


async def test_a_meter_of_which_one_register_only_is_read_by_hand_is_told(house: House) -> None:
    register = {"id": "heat-02-volume", "meter": "heat-02", "key": "volume", "energy_source": "heating", "unit": "m3"}
    link = {"id": "l-3", "register": "heat-02-volume", "point": "flat-2"}
    await house.told({"register": [{**register, "resolution": "0.001", "max_per_day": "9"}], "link": [link]})
    await by_hand(house, OCTOBER, "10.000")
    await watch(house, RENAMED).look()
    assert await house.alarms() == LOST
    await by_hand(house, OCTOBER, "3.000", "heat-02-volume")
    await watch(house, RENAMED).look()
    assert not await house.alarms()


async def test_a_meter_renamed_by_command_keeps_its_id_and_is_not_told(house: House) -> None:
    commander = Commander(store=house.store, clock=house.clock, seal=str)
    answer = await commander.execute(Set(kind="meter", id="heat-02", value={"name": "Attic"}), "test")
    assert answer.applied, answer
    worker = watch(house, BOTH)
    await worker.look()
    assert (await house.alarms(), worker.unbilled) == (set(), 0)


async def test_while_the_clock_is_not_trusted_nothing_is_told_and_nothing_ends(house: House) -> None:
    house.clock.right = False
    worker = watch(house, RENAMED)
    assert await worker.look() == CLOSED + timedelta(minutes=1)
    assert not await house.alarms()
    house.clock.right = True
    await worker.look()
    house.clock.right, house.clock.shown = False, datetime(1970, 1, 1, tzinfo=UTC)
    await worker.look()
    assert await house.alarms() == LOST


async def test_the_log_says_it_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    worker = watch(house, RENAMED)
    await worker.look()
    await worker.look()
    (said,) = [record for record in caplog.records if record.name == "gateway.service.unwired"]
    assert (said.levelname, said.message.partition(":")[0]) == ("WARNING", "heat-02")


async def test_a_meter_of_the_settings_without_a_register_is_counted_and_raises_no_alarm(house: House) -> None:
    more = {*BOTH, "solar", "main"}
    await house.store.keep([poll(replace(reading(OCTOBER), meter="solar"))])
    assert (await apart(house.store, more, CLOSED)).unbilled == ("main", "solar")
    worker = watch(house, more)
    await worker.look()
    assert (worker.unbilled, await house.alarms()) == (2, set())


async def test_without_property_data_nothing_is_missed(house: House) -> None:
    rows = await house.store.property_rows(None)
    gone = [PropertyChange(kind=row.kind, id=row.id, value=None) for row in rows]
    await house.store.record_property(gone, "test", house.clock.now(), [])
    found = await apart(house.store, RENAMED, CLOSED)
    assert (found.unwired, found.unbilled) == ((), ())


@pytest.mark.parametrize("linked_until", [None, "2026-02-01"])
async def test_a_machines_meter_whose_register_is_linked_or_not_is_no_stranger(
    house: House, linked_until: str | None
) -> None:
    await linked(house, **({} if linked_until is None else {"until": linked_until}))
    found = await apart(house.store, BOTH, CLOSED)
    assert (found.unwired, found.unbilled) == ((), ())
