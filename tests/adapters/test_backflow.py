"""A small backflow holds the maximum, also over the end of a month: nothing is charged twice."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction as F  # noqa: N817 - as in the oracle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.charge import Terms
from gateway.core.period import Period
from gateway.service.backflow import with_maximum
from gateway.service.command_schema import VoidReading
from gateway.service.property import book
from gateway.service.settlement import settled
from gateway.store import Store
from tests.adapters.stores import new_store, poll
from tests.adapters.stores import reading as index_of
from tests.adapters.test_settle import PROPERTY
from tests.adapters.test_settle_again import house_in
from tests.any_building import entities, line, reading, text
from tests.oracle import month_of, settle
from tests.oracle_world import Exchange, Link, Owner, Point, Price, Reading, Register, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ZONE = "Europe/Zurich"
MONTHS = [date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)]
BEGUN = datetime(2026, 9, 29, 22, tzinfo=UTC)
EVERY = timedelta(hours=4)
DAY = 6
"""readings"""
Stretch = tuple[str, int]
"""what the index does for how many readings: rises, stands still, falls at its beginning"""


def world_of(stretches: Iterable[Stretch]) -> World:
    """A flat whose register may fall by 2 below its maximum."""
    one = Register(id="r", resolution=F(1), max_per_day=F(1000), backflow=F(2))
    value, top, at = 1000, 1000, BEGUN
    for what, count in stretches:
        value = max(value - 1, top - 2) if what == "fall" else value
        for _ in range(count):
            value, at = value + (what == "rise"), at + EVERY
            one.readings.append(Reading(at=at, value=F(value)))
        top = max(top, value)
    return World(
        zone=ZONE,
        quantum=F(1, 100),
        buildings={"b": {}},
        points=[Point(id="p", building="b")],
        stays=[],
        owners=[Owner(of="", user="own")],
        registers=[one],
        links=[Link(id="l", register="r", point="p")],
        prices=[Price(points=(), price=F(1, 4))],
    )


class Counted(Store):
    """A store that counts how often it is asked for readings."""

    asked = 0

    async def readings(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the store's
        self.asked += 1
        return await super().readings(*arguments, **named)


async def charged(store: Store, world: World) -> list[Counter[Any]]:
    """The lines of each month."""
    known = book(entities(world))
    found = []
    for first in MONTHS:
        terms = Terms(gateway="", facility="f", period=Period(*month_of(first, ZONE)), closing=f"{first:%Y-%m}")
        found.append(Counter(line(one) for one in (await settled(store, known, terms)).charges))
    return found


async def heard(store: Store, world: World) -> None:
    one = world.registers[0]
    await store.keep([poll(reading(one, each)) for each in one.readings])


def expected(world: World) -> list[Counter[Any]]:
    """By the oracle, which looks at all that was ever read."""
    return [Counter(settle(world, month_of(first, ZONE))[0]) for first in MONTHS]


def quantity(months: Iterable[Counter[Any]]) -> F:
    return sum((one.quantity for month in months for one in month.elements()), F(0))


async def of_store(url: str, world: World) -> list[Counter[Any]]:
    async with Store(url) as store:
        await heard(store, world)
        return await charged(store, world)


@pytest.mark.parametrize(
    "stretches",
    [
        [("rise", 28 * DAY), ("fall", 12 * DAY), ("rise", 50 * DAY)],
        [("rise", 20 * DAY), ("fall", 45 * DAY), ("rise", 20 * DAY)],
        [("rise", 20 * DAY), ("fall", 20), ("fall", 30 * DAY), ("rise", 1), ("still", 20 * DAY), ("rise", 9 * DAY)],
    ],
    ids=["over a month's end", "over two", "in two steps, and half caught up between"],
)
async def test_what_was_counted_before_the_fall_is_charged_once(store_url: str, stretches: list[Stretch]) -> None:
    world = world_of([*stretches, ("rise", 30 * DAY)])
    found = await of_store(store_url, world)
    assert found == expected(world)
    in_all = next(one.value for one in reversed(world.registers[0].readings) if one.at <= month_of(MONTHS[-1], ZONE)[1])
    begins = max(one.value for one in world.registers[0].readings if one.at <= month_of(MONTHS[0], ZONE)[0])
    assert quantity(found) == in_all - begins


async def test_a_voided_maximum_is_not_held(tmp_path: Path) -> None:
    world = world_of([("rise", 20 * DAY), ("fall", 30 * DAY), ("rise", 60 * DAY)])
    one = world.registers[0]
    highest = max(one.readings[: 20 * DAY], key=lambda each: each.value)
    async with Store(new_store(tmp_path)) as store:
        await heard(store, world)
        assert await store.void_readings("m-r", "k", highest.at, "wrong", "test", BEGUN)
        one.readings.remove(highest)
        assert await charged(store, world) == expected(world)


@pytest.mark.parametrize("late", [False, True], ids=["voided", "late"])
async def test_all_months_are_settled_again_in_which_a_maximum_is_held_that_changes(
    tmp_path: Path, *, late: bool
) -> None:
    world = world_of([("rise", 20 * DAY), ("fall", 45 * DAY), ("rise", 60 * DAY)])
    readings = world.registers[0].readings
    highest = max(readings[: 20 * DAY], key=lambda each: each.value)
    async with house_in(new_store(tmp_path)) as house:
        await house.told({"register": [{**PROPERTY["register"][0], "backflow": "2"}]})
        for meter, rises in (("heat-01", 1), ("heat-02", 0)):
            heard = [index_of(each.at, text(rises * each.value), meter=meter) for each in readings]
            await house.store.keep([poll(one) for one in heard if not (late and rises and one.at == highest.at)])
        house.clock.shown = readings[-1].at
        await house.settler.settle_due()
        assert [one.month for one in await house.store.closed_months()][1:] == ["2026-10", "2026-11", "2026-12"]
        assert not await house.store.dirty()
        if late:
            await house.store.keep([poll(index_of(highest.at, text(highest.value)))])
        else:
            void = {"meter": "heat-01", "register": "heat", "at": highest.at.isoformat(), "reason": "wrong"}
            await house.obeyed(VoidReading.model_validate(void))
        assert {"2026-10", "2026-11"} <= {one.month for one in await house.store.dirty()}
        await house.settler.settle_due()
        assert not await house.settled_anew()


async def test_the_maximum_of_the_meter_before_an_exchange_is_not_held(tmp_path: Path) -> None:
    world = world_of([("rise", 20 * DAY), ("still", 30 * DAY), ("rise", 60 * DAY)])
    one = world.registers[0]
    changed = one.readings[25 * DAY]
    for each in one.readings[25 * DAY + 1 :]:
        each.value -= 2
    one.exchanges = [Exchange(at=changed.at, final=changed.value, start=changed.value - 2)]
    assert await of_store(new_store(tmp_path), world) == expected(world)


async def test_a_wrong_value_long_before_is_no_maximum(tmp_path: Path) -> None:
    world = world_of([("still", 30 * DAY)])
    one = world.registers[0]
    wrong = Reading(at=BEGUN, value=F(5000))
    heard_of = tuple(reading(one, each) for each in one.readings)
    async with Store(new_store(tmp_path)) as store:
        await store.keep([poll(reading(one, each)) for each in (wrong, *one.readings)])
        known = book(entities(world)).registers["r"]
        assert await with_maximum(store, known, heard_of, one.readings[-1].at) == heard_of


async def test_a_register_that_counts_is_not_read_farther_back_for_it(tmp_path: Path) -> None:
    world = world_of([("rise", 100 * DAY)])
    async with Counted(new_store(tmp_path)) as store:
        await heard(store, world)
        await charged(store, world)
        asked, store.asked = store.asked, 0
        world.registers[0].backflow = F(0)
        await charged(store, world)
        assert store.asked == asked


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it is migrated, to be copied."""
    folder = tmp_path_factory.mktemp("store")
    new_store(folder)
    return folder / "gateway.db"


STRETCHES = st.tuples(st.sampled_from(["rise", "still", "fall", "fall"]), st.integers(1, 30 * DAY))


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(STRETCHES, min_size=3, max_size=9))
def test_month_by_month_is_charged_what_the_whole_history_says(empty: Path, stretches: Sequence[Stretch]) -> None:
    world = world_of([("rise", 2 * DAY), *stretches, ("rise", 90 * DAY)])
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(empty, folder)
        found = asyncio.run(of_store(f"sqlite:///{Path(folder) / empty.name}", world))
    assert found == expected(world)
