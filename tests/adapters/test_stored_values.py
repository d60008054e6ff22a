"""What a meter kept itself for a date serves the boundaries at which it could not be read, on a real store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from gateway.core.units import Scaled
from gateway.ports.field import StoredValue
from gateway.service.stored import Dated, instant_of
from gateway.service.storing import StoreUnavailableError
from tests.adapters.stores import poll, reading
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, PROPERTY, House, house

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.service.polled import Poll
    from gateway.service.records import PropertyRow

__all__ = ["house"]
ZURICH = ZoneInfo("Europe/Zurich")


def meter_clock(year: int, month: int, day: int) -> datetime:
    """The midnight at which a day begins by the meter's own clock, which knows no zone."""
    return datetime.combine(date(year, month, day), time())


MONTH_END = meter_clock(2026, 11, 1)


def kept(index: str, at: datetime = MONTH_END, *, daylight_saving: bool = False) -> StoredValue:
    return StoredValue(
        register="heat",
        at=at,
        daylight_saving=daylight_saving,
        index=Scaled.parse(index),
        unit="kWh",
        obis="6-0:1.0.0*1",
    )


def heard(at: datetime, index: str, *stored: StoredValue) -> Poll:
    return replace(poll(reading(at, index)), stored=stored)


async def indexes(house: House) -> list[tuple[str, str]]:
    found = await house.store.readings(["heat-01"], OCTOBER - timedelta(days=400), CLOSED)
    return [(str(one.index), one.origin) for one in found["heat-01", "heat"]]


async def test_a_month_end_without_a_reading_is_taken_from_the_meters_own_memory(house: House) -> None:
    store = Dated(house.store, house.store)
    await store.keep([heard(OCTOBER, "10")])
    await store.keep([heard(NOVEMBER - timedelta(days=3), "100")])  # and then three days of silence
    await store.keep([heard(NOVEMBER + timedelta(days=1), "120", kept("104"))])
    await house.settler.settle_due()
    (charge,) = [one for one in await house.published() if one["billing_point"] == "flat-1"]
    until = charge["evidence"]["segments"][0]["until"]
    assert (charge["quantity"], charge["amount"]) == ("94.000", "18.80")
    assert (until["value"], until["quality"], until["between"]) == ("104.000", "stored", None)


async def test_it_comes_with_every_answer_and_is_kept_once(house: House) -> None:
    for _ in range(2):  # as after a restart
        store = Dated(house.store, house.store)
        for hour in range(1, 4):
            await store.keep([heard(NOVEMBER + timedelta(hours=hour), str(110 + hour), kept("104"))])
    assert (await indexes(house)).count(("104", "stored")) == 1


async def test_it_is_no_conflict_with_what_was_read_at_that_instant_and_no_part_of_that_event(house: House) -> None:
    store = Dated(house.store, house.store)
    await store.keep([heard(NOVEMBER, "104.2")])
    await store.keep([heard(NOVEMBER + timedelta(hours=1), "105", kept("104"))])
    assert await indexes(house) == [("104.2", "measured"), ("104", "stored"), ("105", "measured")]
    (stream,) = [one for one in await house.store.streams() if one.kind == "reading"]
    told = [json.loads(one.data) for one in await house.store.events(stream.name, 0, 9)]
    assert [[one["index"] for one in event["registers"]] for event in told] == [["104.2"], ["105"]]


async def test_it_is_neither_a_neighbour_of_a_month_nor_the_beginning_of_billing(house: House) -> None:
    store = Dated(house.store, house.store)
    years_ago, in_between = meter_clock(2020, 1, 1), meter_clock(2026, 10, 30)
    await store.keep([heard(OCTOBER + timedelta(days=1), "20", kept("1", years_ago))])
    await store.keep([heard(NOVEMBER + timedelta(days=1), "120", kept("101", in_between))])
    assert await house.store.first_reading() == OCTOBER + timedelta(days=1)
    found = await house.store.readings(["heat-01"], NOVEMBER, CLOSED)
    assert [str(one.index) for one in found["heat-01", "heat"]] == ["20", "120"]


async def test_a_date_to_come_and_an_untrusted_clock_give_no_reading(house: House) -> None:
    store = Dated(house.store, house.store)
    await store.keep([heard(NOVEMBER - timedelta(hours=1), "100", kept("0"))])
    untrusted = heard(NOVEMBER + timedelta(hours=1), "101", kept("100.5"))
    await store.keep([replace(untrusted, clock_trusted=False)])
    assert "stored" not in {origin for _, origin in await indexes(house)}
    await store.keep([heard(NOVEMBER + timedelta(hours=2), "102", kept("100.5"))])
    assert ("100.5", "stored") in await indexes(house)


async def test_it_waits_until_the_meter_belongs_to_a_facility(house: House) -> None:
    store = Dated(house.store, house.store)
    stranger = replace(poll(reading(NOVEMBER + timedelta(hours=1), meter="heat-09")), stored=(kept("5"),))
    await store.keep([stranger])
    await house.told({**PROPERTY, "meter": [{"id": "heat-09", "facility": "f", "name": "Heat 9"}]})
    later = replace(poll(reading(NOVEMBER + timedelta(hours=2), meter="heat-09")), stored=(kept("5"),))
    await store.keep([later])
    found = await house.store.readings(["heat-09"], NOVEMBER, CLOSED)
    assert [one.origin for one in found["heat-09", "heat"]] == ["stored", "measured", "measured"]


async def test_readings_are_handed_on_while_the_property_data_cannot_be_read(house: House) -> None:
    class Away:
        async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
            raise StoreUnavailableError(str(known_at))

    await Dated(house.store, Away()).keep([heard(NOVEMBER + timedelta(hours=1), "105", kept("104"))])
    assert await indexes(house) == [("105", "measured")]


@pytest.mark.parametrize(
    ("at", "daylight_saving", "instant"),
    [
        (meter_clock(2026, 11, 1), False, datetime(2026, 10, 31, 23, tzinfo=UTC)),
        (meter_clock(2026, 11, 1), True, datetime(2026, 10, 31, 23, tzinfo=UTC)),
        (meter_clock(2026, 7, 1), False, datetime(2026, 6, 30, 23, tzinfo=UTC)),
        (meter_clock(2026, 7, 1), True, datetime(2026, 6, 30, 22, tzinfo=UTC)),
    ],
)
def test_a_meter_without_summer_time_stays_on_standard_time(
    at: datetime, *, daylight_saving: bool, instant: datetime
) -> None:
    assert instant_of(kept("1", at, daylight_saving=daylight_saving), ZURICH) == instant
