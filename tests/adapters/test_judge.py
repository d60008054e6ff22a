"""Readings are judged when they are polled, on a real store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.units import Scaled
from gateway.service.judge import READING_IMPLAUSIBLE, Judge
from gateway.service.records import PropertyChange
from gateway.store import Store
from tests.adapters.stores import poll, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.core.event import Event
    from gateway.service.records import PropertyRow

START = datetime(2026, 10, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
REGISTER: dict[str, Any] = {
    "id": "heat-01-heat",
    "meter": "heat-01",
    "key": "heat",
    "energy_source": "heating",
    "unit": "kWh",
    "resolution": "0.001",
    "max_per_day": "500",
}


class House:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.judge = Judge(store, store, store)
        self.quarter = 0

    async def named(self, serial: str) -> None:
        """Property data say the serial number of the meter."""
        await self.register(serial=serial)

    async def register(self, serial: str | None = None, **more: object) -> None:
        tables: dict[str, dict[str, Any]] = {
            "facility": {"id": "f", "name": "F", "time_zone": "UTC", "currency": "CHF"},
            "meter": {"id": "heat-01", "facility": "f", "name": "Heat 1", "serial": serial},
            "register": REGISTER | more,
        }
        changes = [PropertyChange(kind=kind, id=row["id"], value=json.dumps(row)) for kind, row in tables.items()]
        await self.store.record_property(changes, "test", START, [])
        self.judge.refresh()

    async def polled(self, *indexes: str, serial: str = "4711", modulus: str | None = None) -> None:
        """One value after the other, a quarter of an hour apart."""
        said = None if modulus is None else Scaled.parse(modulus)
        for index in indexes:
            one = reading(START + self.quarter * QUARTER, index, serial=serial)
            await self.judge.keep([poll(replace(one, modulus=said))])
            self.quarter += 1

    async def void(self, quarter: int) -> None:
        at = START + quarter * QUARTER
        await self.store.void_readings("heat-01", "heat", at, "garbage", "meier", at, [])
        self.judge.refresh()

    async def alarms(self) -> list[str]:
        return [alarm.text for alarm in await self.store.open_alarms() if alarm.code == READING_IMPLAUSIBLE]

    async def told(self) -> list[Event]:
        name = next(stream.name for stream in await self.store.streams() if stream.kind == "alarm")
        return list(await self.store.events(name, 0, 99))

    async def kept(self) -> list[str]:
        found = await self.store.readings(["heat-01"], START, START + timedelta(days=9))
        return [str(each.index) for each in found["heat-01", "heat"]]

    @property
    def odd(self) -> dict[tuple[str, str], int]:
        """The verdicts beside the usual one."""
        return {key: count for key, count in self.judge.counts.items() if key[1] != "measured"}

    def restart(self) -> None:
        self.judge = Judge(self.store, self.store, self.store)


@pytest.fixture
async def house(store_url: str) -> AsyncIterator[House]:
    async with Store(store_url) as store:
        house = House(store)
        await house.register()
        yield house


@pytest.mark.parametrize("most", ["500", "500.0000", "500.00"])
async def test_the_largest_flow_is_the_one_of_the_register(house: House, most: str) -> None:
    """500 kWh a day are 5.2083 in a quarter of an hour, and one step may be a matter of rounding."""
    await house.register(max_per_day=most)
    await house.polled("10.000", "15.209", "20.418")
    assert await house.alarms() == []

    await house.polled("25.628")
    assert len(await house.alarms()) == 1


async def test_a_counter_that_goes_on_raises_nothing(house: House) -> None:
    await house.polled("10.000", "10.100", "10.100", "15.300")

    assert await house.alarms() == []
    assert house.judge.counts == {("heat-01-heat", "measured"): 4}


async def test_a_spike_is_told_at_once_kept_and_stays_told_until_it_is_voided(house: House) -> None:
    await house.polled("10.000", "90.000")
    [told] = await house.alarms()
    await house.polled("10.100", "10.200")

    assert told.startswith("garbage suspected: 90.000 kWh at 2026-10-01T00:15:00Z after 10.000 kWh is more than")
    assert told.endswith("correct max_per_day; what touches it is held and not billed until then")
    assert house.odd == {("heat-01-heat", "garbage"): 1}
    assert await house.kept() == ["10.000", "90.000", "10.100", "10.200"]
    assert await house.alarms() == [told]
    assert [event.data.count('"ended":null') for event in await house.told()] == [1], "told once, and never ended"

    await house.void(1)
    await house.polled("10.300")
    assert await house.alarms() == []


async def test_the_remedy_names_the_key_that_the_register_has(house: House) -> None:
    await house.register(max_per_day=None, fuse="1x16 A", energy_source="electricity")
    await house.polled("10.000", "90.000")

    (told,) = await house.alarms()
    assert "is more than fuse allows: void it" in told
    assert told.endswith("or correct fuse; what touches it is held and not billed until then")


async def test_a_fall_is_an_exchange_suspected_until_the_exchange_is_entered(house: House) -> None:
    await house.polled("10.000", "0.100", "0.200")

    [told] = await house.alarms()
    assert told.startswith("exchange or reset suspected: 0.100 kWh at 2026-10-01T00:15:00Z after 10.000 kWh is less")
    assert "either may be wrong: enter the exchange" in told
    assert told.endswith(
        "void the one that is (submeter reading void heat-01 heat);"
        " what touches the fall is held and not billed until then"
    )
    assert house.odd == {("heat-01-heat", "exchange_suspected"): 1}
    await house.register(exchanges=[{"at": "2026-10-01T00:10:00Z", "final": "10.050", "start": "0"}])
    await house.polled("0.300")
    assert await house.alarms() == []


async def test_another_meter_that_answers_is_told_once_and_each_of_its_readings_is_counted(house: House) -> None:
    await house.polled("10.000")
    await house.polled("10.100", "10.200", serial="4712")

    [told] = await house.alarms()
    assert told.startswith(
        "exchange suspected: meter 4712 answers since 2026-10-01T00:15:00Z where 4711 did: enter the exchange"
    )
    assert house.odd == {("heat-01-heat", "exchange_suspected"): 2}
    await house.register(
        exchanges=[{"at": "2026-10-01T00:10:00Z", "final": "10.000", "start": "10.0", "serial": "4712"}]
    )
    await house.polled("10.300", serial="4712")
    assert await house.alarms() == []


STRANGER = (
    "meter 4712 answers since 2026-10-01T00:00:00Z where property data say 4711: correct the serial"
    " (submeter meter set heat-01 --serial ...), or correct the address in the settings and void it"
    " (submeter reading void heat-01 heat), or enter the exchange (submeter exchange heat-01);"
    " what touches it is held and not billed until then"
)


async def test_another_meter_than_property_data_name_is_told_with_its_first_reading(house: House) -> None:
    await house.named("4711")
    await house.polled("10.000", serial="4712")
    assert await house.alarms() == [STRANGER]

    await house.polled("10.100", serial="4712")
    house.restart()
    await house.polled("10.200", serial="4712")
    assert await house.alarms() == [STRANGER]
    assert house.odd == {("heat-01-heat", "exchange_suspected"): 1}, "since the restart"
    await house.named("00 4712")
    await house.polled("10.300", serial="4712")
    assert await house.alarms() == []


async def test_a_stranger_that_has_long_answered_is_told_once_the_serial_is_known(house: House) -> None:
    await house.polled("10.000", "10.100", serial="4712")
    house.restart()
    await house.named("4711")
    await house.polled("10.200", serial="4712")
    [told] = await house.alarms()
    assert told.startswith("meter 4712 answers since 2026-10-01T00:30:00Z where property data say 4711: ")


async def test_where_the_named_meter_has_answered_before_an_exchange_is_suspected(house: House) -> None:
    await house.named("4711")
    await house.polled("10.000")
    await house.polled("10.100", serial="4712")
    [told] = await house.alarms()
    assert told.startswith("exchange suspected: meter 4712 answers since 2026-10-01T00:15:00Z where 4711 did: enter")


async def test_readings_of_the_named_meter_and_readings_without_a_number_raise_nothing(house: House) -> None:
    await house.named("0047 11")
    await house.polled("10.000", "10.100")
    await house.polled("10.200", serial="")
    await house.polled("10.300")
    assert (await house.alarms(), house.odd) == ([], {})


async def test_after_an_exchange_the_serial_of_property_data_is_the_new_ones(house: House) -> None:
    await house.named("4711")
    await house.polled("10.000")
    await house.register(
        serial="4712", exchanges=[{"at": "2026-10-01T00:10:00Z", "final": "10", "start": "3", "serial": "4712"}]
    )
    await house.polled("3.100", serial="4712")
    assert (await house.alarms(), house.odd) == ([], {})


async def test_the_alarm_stays_until_the_last_anomaly_has_ended(house: House) -> None:
    await house.polled("10.000", "90.000", "10.100", "80.000", "10.200")

    await house.void(1)
    await house.polled("10.300")
    [told] = await house.alarms()
    assert "80.000 kWh at 2026-10-01T00:45:00Z after 10.100 kWh" in told
    await house.void(3)
    await house.polled("10.400")
    assert await house.alarms() == []


async def test_a_rollover_is_counted_and_no_alarm(house: House) -> None:
    await house.register(modulus="1000")
    await house.polled("999.900", "0.300")

    assert await house.alarms() == []
    assert house.odd == {("heat-01-heat", "rollover"): 1}


@pytest.mark.parametrize(
    ("said", "verdicts"),
    [
        ("1000", {("heat-01-heat", "rollover"): 1}),
        ("100000", {("heat-01-heat", "exchange_suspected"): 1}),
        (None, {("heat-01-heat", "exchange_suspected"): 1}),
    ],
)
async def test_a_rollover_by_the_models_width_is_counted_and_no_alarm_also_after_a_restart(
    house: House, said: str | None, verdicts: dict[tuple[str, str], int]
) -> None:
    await house.polled("999.900", modulus=said)
    house.restart()
    await house.polled("0.300", modulus=said)

    assert (house.odd, len(await house.alarms())) == (verdicts, said != "1000")


async def test_a_small_backflow_that_is_allowed_is_nothing(house: House) -> None:
    await house.register(backflow="0.05")
    await house.polled("10.000", "9.980")

    assert (await house.alarms(), house.odd) == ([], {})


async def test_after_a_restart_the_last_reading_before_is_known(house: House) -> None:
    await house.polled("10.000")
    house.restart()

    await house.polled("90.000")

    assert len(await house.alarms()) == 1


@pytest.mark.parametrize("voided", [(1,), (1, 3)])
async def test_after_a_restart_an_open_alarm_ends_with_its_last_anomaly(house: House, voided: tuple[int, ...]) -> None:
    await house.polled("10.000", "90.000", "10.100", "80.000", "10.200")
    house.restart()

    for quarter in voided:
        await house.void(quarter)
    await house.polled("10.300")

    assert len(await house.alarms()) == (len(voided) == 1)


async def test_a_register_of_no_property_data_is_not_judged(house: House) -> None:
    other = reading(START, "10", register="volume", unit="m3")
    await house.judge.keep([poll(other), poll(replace(other, at=START + QUARTER, index=Scaled(1, 0)))])

    assert await house.alarms() == []


async def test_a_reading_that_is_kept_late_or_without_a_right_clock_is_left_to_settling(house: House) -> None:
    await house.polled("10.000", "10.100")
    await house.judge.keep([poll(reading(START + timedelta(minutes=5), "90.000"))])
    await house.judge.keep([poll(replace(reading(START + timedelta(days=999), "0"), clock_trusted=False))])
    await house.polled("10.200")
    assert await house.alarms() == []

    await house.polled("90.000")
    assert len(await house.alarms()) == 1, "a wrong clock in between has confused nobody"


async def test_a_value_in_a_unit_that_cannot_be_compared_is_left_to_settling(house: House) -> None:
    await house.polled("10.000")
    await house.judge.keep([poll(reading(START + QUARTER, "1", unit="MJ"))])

    assert await house.alarms() == []


async def test_what_changes_while_property_data_are_looked_at_is_looked_at_again(house: House) -> None:
    """The reader's thread has its rows; the next command is over before the event loop gets them."""

    class Slow:
        """The store, whose property data change once more while they come."""

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
            return getattr(house.store, name)

        async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
            rows = await house.store.property_rows(known_at)
            if house.quarter == 0:
                await house.register(max_per_day="5000")
            return rows

    house.judge = Judge(house.store, Slow(), house.store)
    await house.polled("10.000", "20.000")
    assert await house.alarms() == []
