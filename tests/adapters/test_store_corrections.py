from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.core.units import Scaled
from gateway.service.records import Correction, DirtyMonth, VoidedSpan
from gateway.store import Store, StoreError, StoreView, reading_span, readings, spans
from gateway.store.database import database
from tests.adapters.stores import QUARTER, START, new_store, poll, reading

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from gateway.core.metering import Reading

LATER = START + 40 * QUARTER
OCTOBER = DirtyMonth(facility="sonnenhof", month="2026-10", reason="void")


async def indexes(store: StoreView, first: int = 0, last: int = 9) -> list[str]:
    found = await store.readings(["heat-01"], START + first * QUARTER, START + last * QUARTER)
    return [str(one.index) for one in found.get(("heat-01", "heat"), ())]


async def void(store: Store, no: int = 0, register: str = "heat") -> list[str]:
    gone = await store.void_readings("heat-01", register, START + no * QUARTER, "torn off", "meier", LATER, [OCTOBER])
    return [str(one.index) for one in gone]


def by_hand(index: str, no: int = 0) -> Reading:
    return replace(reading(START + no * QUARTER, index), origin="manual", obis="", serial="")


async def add(store: Store, one: Reading) -> bool:
    return await store.add_reading(one, "read by eye", "meier", LATER, [OCTOBER])


async def test_a_voided_reading_is_left_out_with_its_reason_kept(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(index="1.000"), reading(index="5", register="volume"))])
        assert await void(store) == ["1.000"]
        assert await indexes(store) == []
    async with StoreView(store_url) as view:
        assert (await view.readings(["heat-01"], START, LATER)).keys() == {("heat-01", "volume")}
        assert await view.corrections() == [
            Correction(
                kind="voided",
                meter="heat-01",
                register="heat",
                at=START,
                values=("1.000 kWh",),
                reason="torn off",
                recorded_at=LATER,
                recorded_by="meier",
            )
        ]
        assert [(one.month, one.reason) for one in await view.dirty()] == [("2026-10", "void")]


async def test_a_voided_value_stays_out_when_it_is_polled_again(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(index="1.000"))])
        await void(store)
        assert (await store.keep([poll(reading(index="1.0"))])).repeated == 1
        assert await indexes(store) == []


async def test_all_values_of_a_conflict_are_voided(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(index="1")), poll(reading(index="2")), poll(reading(serial="4712"))])
        assert sorted(await void(store)) == ["1", "1.000", "2"]
        assert await indexes(store) == []


async def test_voiding_what_is_not_there_or_voided_already_keeps_nothing(store_url: str) -> None:
    async with Store(store_url) as store:
        assert await void(store) == []
        await store.keep([poll(reading())])
        assert await void(store, register="volume") == []
        await void(store)
        assert await void(store) == []
        assert len(await store.corrections()) == 1


async def test_the_neighbour_of_a_span_is_the_last_that_was_not_voided(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(START + no * QUARTER, str(no))) for no in range(9)])
        for no in (2, 6):
            await void(store, no)
        assert await indexes(store, 3, 5) == ["1", "3", "4", "5", "7"]


async def test_the_neighbour_of_a_span_may_stand_beside_a_voided_one(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(START + no * QUARTER, str(no))) for no in range(5)])
        for no in (1, 3):
            await void(store, no)
            await add(store, by_hand(f"{no}.5", no))
        assert await indexes(store, 2, 2) == ["1.5", "2", "3.5"]


async def test_a_reading_by_hand_is_kept_with_its_reason_and_told(store_url: str) -> None:
    async with Store(store_url, boot="boot-7") as store:
        assert await add(store, by_hand("7.25"))
        (found,) = (await store.readings(["heat-01"], START, LATER))["heat-01", "heat"]
        assert found == by_hand("7.25")
        (event,) = await store.events((await store.streams())[-1].name, 0, 10)
        (correction,) = await store.corrections()
        assert [one.month for one in await store.dirty()] == ["2026-10"]
    assert event.bootid == "boot-7"
    assert json.loads(event.data)["registers"][0]["quality"] == "manual"
    assert (correction.kind, correction.values, correction.reason) == ("added", ("7.25 kWh",), "read by eye")


async def test_a_known_value_added_by_hand_keeps_nothing(store_url: str) -> None:
    async with Store(store_url) as store:
        assert await add(store, by_hand("7.25"))
        assert not await add(store, by_hand("7.250"))
        assert len(await store.corrections()) == 1


async def test_after_a_void_a_reading_by_hand_is_no_conflict(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(index="1.000"))])
        await void(store)
        assert await add(store, by_hand("2"))
        assert await indexes(store) == ["2"]
        replaced = await store.keep([poll(reading(index="3"))])
        assert (replaced.stored, replaced.conflicts) == (0, 1)


async def test_a_new_measured_value_after_a_void_is_no_conflict_either(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(index="1.000"))])
        await void(store)
        kept = await store.keep([poll(reading(index="2"))])
        assert (kept.stored, kept.conflicts) == (1, 0)
        assert await indexes(store) == ["2"]


async def test_a_voided_value_that_is_added_by_hand_counts_again(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(index="1.000"))])
        await void(store)
        assert await add(store, replace(reading(index="1"), origin="manual"))
        assert await indexes(store) == ["1.000"]
        assert [one.kind for one in await store.corrections()] == ["voided", "added"]


async def test_a_value_too_large_is_refused_and_leaves_nothing(store_url: str) -> None:
    async with Store(store_url) as store:
        with pytest.raises(StoreError, match="too large"):
            await add(store, replace(by_hand("1"), index=Scaled(2**64, 0)))
        assert await store.corrections() == []
        assert (await store.streams())[-1].head == 0


def test_what_was_voided_elsewhere_costs_a_lookup_nothing(tmp_path: Path) -> None:
    with database(new_store(tmp_path)).exclusive() as engine, engine.connect() as connection:
        for no in range(9):
            readings.keep(connection, [poll(reading(START + no * QUARTER, str(no)))])
        far = START + timedelta(days=30)
        strange = [reading(far + no * QUARTER, str(no)) for no in range(2000)]
        readings.keep(connection, [poll(one) for one in strange])
        before = steps(connection)
        stretch = VoidedSpan(
            meter="heat-01",
            registers=frozenset({"heat"}),
            start=far,
            until=far + 2000 * QUARTER,
            reason="crossed",
            recorded_at=LATER,
            recorded_by="meier",
        )
        assert spans.void(connection, stretch, []) == 2000
        assert 0 < steps(connection) < 2 * before


def steps(connection: Connection) -> int:
    """How often ten steps SQLite takes to find an hour's readings."""
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1

    sqlite = connection.connection.driver_connection
    assert isinstance(sqlite, sqlite3.Connection)
    sqlite.set_progress_handler(step, 10)
    reading_span.span(connection, {"heat-01"}, START + QUARTER, START + 5 * QUARTER)
    sqlite.set_progress_handler(None, 0)
    return taken
