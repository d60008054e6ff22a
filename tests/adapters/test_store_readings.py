from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from gateway.core.units import Scaled
from gateway.store import Store, reading_span, readings, schema
from gateway.store.database import database
from gateway.store.figures import Figures
from gateway.store.readings import Kept
from tests.adapters.stores import QUARTER, START, new_store, poll, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from gateway.core.event import Event
    from gateway.core.metering import Reading
    from tests.postgres import Postgres

KEY = ("heat-01", "heat")
MONTH = (START, START + timedelta(days=31))


async def stored(store: Store) -> Sequence[Reading]:
    return (await store.readings(["heat-01"], *MONTH)).get(KEY, ())


async def events(store: Store, after: int = 0, limit: int = 100) -> Sequence[Event]:
    return await store.events((await store.streams())[-1].name, after, limit)


async def test_a_reading_comes_back_as_it_was_kept(store_url: str) -> None:
    one = reading(START + timedelta(microseconds=1), "-123456789012.123457")
    other = replace(one, register="volume", index=Scaled(12, 3), status=255, origin="substituted", clock_trusted=False)
    async with Store(store_url) as store:
        assert await store.keep([poll(one, other)]) == Kept(stored=2, repeated=0, conflicts=0, too_large=0)
    async with Store(store_url) as store:
        found = await store.readings(["heat-01"], *MONTH)
        assert found == {KEY: (one,), ("heat-01", "volume"): (other,)}
        assert str(found["heat-01", "volume"][0].index) == "12000"
        assert await store.first_reading() == one.at


async def test_an_instant_in_another_zone_is_the_same_instant(store_url: str) -> None:
    local = START.astimezone(timezone(timedelta(hours=2)))
    async with Store(store_url) as store:
        await store.keep([poll(reading(local))])
        assert (await store.keep([poll(reading(START))])).repeated == 1


async def test_the_same_value_again_changes_nothing(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(index="1.000"))])
        again = [poll(reading(index="1.0")), poll(reading(index="1.000"))]
        assert await store.keep(again) == Kept(stored=0, repeated=2, conflicts=0, too_large=0)
        assert len(await stored(store)) == 1
        assert len(await events(store)) == 1


async def test_a_second_different_value_is_counted_and_both_are_returned(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(index="1.000"))])
        assert (await store.keep([poll(reading(index="2.000"))])).conflicts == 1
        assert (await store.keep([poll(reading(index="2.000"))])).repeated == 1
        assert (await store.keep([poll(reading(index="3.000")), poll(reading(index="3.000"))])).conflicts == 1
        assert [str(one.index) for one in await stored(store)] == ["1.000", "2.000", "3.000"]
        told = [json.loads(event.data)["registers"][0]["index"] for event in await events(store)]
    assert told == ["1.000", "2.000", "3.000"]


@pytest.mark.parametrize("other", [reading(serial="4712"), reading(unit="GJ")])
async def test_the_same_number_from_another_meter_or_in_another_unit_is_a_conflict(
    store_url: str, other: Reading
) -> None:
    async with Store(store_url) as store:
        assert (await store.keep([poll(reading()), poll(other)])).conflicts == 1
        assert len(await stored(store)) == 2


async def test_what_a_meter_stored_for_an_instant_is_no_conflict_with_what_was_read_then(store_url: str) -> None:
    stored_then = replace(reading(index="2.000"), origin="stored", obis="6-0:1.0.0*1")
    async with Store(store_url) as store:
        assert (await store.keep([poll(reading()), poll(stored_then)])).conflicts == 0
        assert (await store.keep([poll(replace(stored_then, index=Scaled(3, 0)))])).conflicts == 1


@pytest.mark.parametrize(("kept", "conflicts"), [("1.000", 0), ("1", 0), ("1.001", 1)])
@pytest.mark.parametrize("stored_first", [True, False])
async def test_the_figures_count_what_a_meter_stored_where_it_says_otherwise_than_what_was_read(
    store_url: str, kept: str, conflicts: int, *, stored_first: bool
) -> None:
    both = [reading(index="1.000"), replace(reading(index=kept), origin="stored")]
    async with Store(store_url) as store:
        for one in reversed(both) if stored_first else both:
            await store.keep([poll(one)])
        assert (await Figures(store).holdings()).conflicts == conflicts
        await store.keep([poll(reading(index="2.000"))])
        assert (await Figures(store).holdings()).conflicts == conflicts + 1


@pytest.mark.parametrize("stored_first", [True, False])
async def test_what_a_meter_stored_for_the_instant_of_a_poll_has_room_beside_it(
    store_url: str, *, stored_first: bool
) -> None:
    both = [reading(), replace(reading(index="2.000"), origin="stored")]
    async with Store(store_url) as store:
        for one in reversed(both) if stored_first else both:
            assert (await store.keep([poll(one)])).conflicts == 0
        assert {(one.origin, str(one.index)) for one in await stored(store)} == {
            ("measured", "1.000"),
            ("stored", "2.000"),
        }


async def test_a_round_is_kept_whole_or_not_at_all(store_url: str) -> None:
    nameless = replace(poll(reading(START + QUARTER)), boot=None)  # type: ignore[arg-type] # the database must refuse it
    async with Store(store_url) as store:
        with pytest.raises(IntegrityError):
            await store.keep([poll(reading()), nameless])
        assert await stored(store) == ()
        await store.keep([poll(reading())])
        assert len(await stored(store)) == 1


async def test_a_number_too_large_for_the_table_costs_nobody_else_a_reading(store_url: str) -> None:
    huge = replace(reading(register="volume"), index=Scaled(2**64 - 1, 0))
    async with Store(store_url) as store:
        assert await store.keep([poll(huge, reading())]) == Kept(stored=1, repeated=0, conflicts=0, too_large=1)
        assert (await store.readings(["heat-01"], *MONTH)).keys() == {KEY}
        assert len(await events(store)) == 1


async def test_the_neighbours_of_the_month_are_there_and_nothing_else(store_url: str) -> None:
    start, until = START + 4 * QUARTER, START + 6 * QUARTER
    async with Store(store_url) as store:
        for no in range(11):
            at = START + no * QUARTER
            await store.keep([poll(reading(at)), poll(reading(at, meter="heat-02"))])
        found = await store.readings({"heat-01"}, start, until)
        assert found.keys() == {KEY}
        assert [one.at for one in found[KEY]] == [START + no * QUARTER for no in range(3, 8)]
        assert await store.readings([], start, until) == {}


async def test_only_the_registers_of_the_wanted_keys_are_there_with_their_neighbours(store_url: str) -> None:
    async with Store(store_url) as store:
        for no in range(3):
            at = START + no * QUARTER
            await store.keep([poll(reading(at), reading(at, register="volume"))])
        middle = START + QUARTER
        found = await store.readings({"heat-01"}, middle, middle, {"volume"})
        assert found.keys() == {("heat-01", "volume")}
        assert [one.at for one in found["heat-01", "volume"]] == [START, middle, middle + QUARTER]
        assert await store.readings({"heat-01"}, middle, middle, set()) == {}


async def test_the_last_reading_before_may_be_a_conflict_long_ago(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(index="1")), poll(reading(index="2"))])
        for no in range(1, 50):
            await store.keep([poll(reading(START + no * QUARTER, meter="heat-02"))])
        late = START + 40 * QUARTER
        assert [str(one.index) for one in (await store.readings(["heat-01"], late, late))[KEY]] == ["1", "2"]


async def test_after_an_exchange_the_old_meter_is_no_neighbour_any_more(store_url: str) -> None:
    async with Store(store_url) as store:
        for no, serial in enumerate(("4711", "4711", "4712", "4712")):
            await store.keep([poll(reading(START + no * QUARTER, serial=serial))])
        found = await store.readings(["heat-01"], START + 3 * QUARTER, START + 9 * QUARTER)
        assert [one.serial for one in found[KEY]] == ["4712", "4712"]
        found = await store.readings(["heat-01"], START, START)
        assert [one.serial for one in found[KEY]] == ["4711", "4711"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    if request.param == "sqlite":
        url = new_store(tmp_path_factory.mktemp("span"))
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new()
    with database(url).exclusive() as engine, engine.connect() as one, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_span, "NEAR", 2 * QUARTER // timedelta(microseconds=1))
        yield one


answers = st.tuples(
    st.sampled_from(["m-1", "m-2"]),
    st.integers(0, 12),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["4711", "4712"]),
)


@given(st.lists(answers, max_size=30), st.integers(0, 12), st.integers(0, 12))
def test_a_span_is_what_picking_by_hand_gives(
    connection: Connection, heard: list[tuple[str, int, str, str]], one: int, other: int
) -> None:
    low, high = (START + minutes * QUARTER for minutes in sorted((one, other)))
    all_of_them = [
        reading(START + no * QUARTER, index, meter=meter, serial=serial) for meter, no, index, serial in heard
    ]
    transaction = connection.begin()
    for each in all_of_them:
        readings.keep(connection, [poll(each)])
    found = reading_span.span(connection, {"m-1", "m-2"}, low, high)
    transaction.rollback()
    assert {key: set(values) for key, values in found.items()} == picked(all_of_them, low, high)
    assert all(values == tuple(sorted(values, key=lambda one: one.at)) for values in found.values())
    assert all(len(values) == len(set(values)) for values in found.values())


def picked(heard: list[Reading], low: datetime, high: datetime) -> dict[tuple[str, str], set[Reading]]:
    chosen = {}
    for meter in {one.meter for one in heard}:
        ours = {one for one in heard if one.meter == meter}
        before = max((one.at for one in ours if one.at < low), default=None)
        after = min((one.at for one in ours if one.at > high), default=None)
        chosen[meter, "heat"] = {one for one in ours if low <= one.at <= high or one.at in {before, after}}
    return {key: values for key, values in chosen.items() if values}


async def test_a_poll_is_told_as_one_event_with_all_its_registers(store_url: str) -> None:
    answer = poll(reading(index="8502.700"), replace(reading(register="volume"), unit="m3", origin="manual"))
    async with Store(store_url) as store:
        await store.keep([answer, poll(reading(meter="heat-02"))])
        first, second = await events(store)
        stream = (await store.streams())[-1]
    assert (first.kind, first.seq, first.id) == ("reading", 1, f"{stream.name}:1")
    assert (first.subject, first.time, first.bootid) == ("readings/heat-01", START, "boot-1")
    assert (second.seq, second.subject) == (2, "readings/heat-02")
    assert first.data == (
        '{"at":"2026-10-01T00:00:00Z","clock_trusted":true,"meter":"heat-01","registers":['
        '{"index":"8502.700","obis":"6-0:1.0.0","quality":"measured","register":"heat","unit":"kWh"},'
        '{"index":"1.000","obis":"6-0:1.0.0","quality":"manual","register":"volume","unit":"m3"}],'
        '"serial":"4711","status":0}'
    )


async def test_events_of_readings_are_read_on_from_a_number_and_outlive_a_restart(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(START + no * QUARTER)) for no in range(7)])
        once = await events(store)
    async with Store(store_url) as store:
        assert [event.seq for event in await events(store, after=2, limit=3)] == [3, 4, 5]
        assert await events(store) == once
        assert (await store.streams())[-1].head == 7


async def test_reading_a_month_back_changes_no_row(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)) as store:
        await store.keep([poll(reading())])
        await store.reader.run(lambda connection: connection.scalar(select(func.count()).select_from(schema.reading)))
        before = (tmp_path / "gateway.db-wal").read_bytes()
        await stored(store)
        await events(store)
        assert (tmp_path / "gateway.db-wal").read_bytes() == before


async def test_a_month_of_thirty_registers_is_one_scan(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    meters = [f"heat-{no:02}" for no in range(15)]
    async with Store(store_url) as store:
        for day in range(31):
            instants = [START + timedelta(days=day) + no * QUARTER for no in range(96)]
            pairs = ((at, meter) for at in instants for meter in meters)
            await store.keep(
                [poll(reading(at, meter=meter), reading(at, meter=meter, register="volume")) for at, meter in pairs]
            )
        begun = time.perf_counter()
        found = await store.readings(meters, *MONTH)
        spent = time.perf_counter() - begun
    assert sum(map(len, found.values())) == 30 * 2976
    with capsys.disabled():
        print(f"\n30 registers x 2976 quarter hours read in {spent:.2f} s")  # noqa: T201 - reported, not judged
