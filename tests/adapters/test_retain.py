"""Retention on a real store: what goes, what stays, and that no settlement sees the difference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from gateway.core.period import Period
from gateway.service import retain as service
from gateway.service.messages import Ack
from gateway.service.records import DirtyMonth
from gateway.service.retain import Retain
from gateway.store import Store, marks, schema
from gateway.store.instants import micros
from gateway.store.retention import Retention
from gateway.store.writer import Priority
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, PROPERTY, House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from sqlalchemy import Table

    from gateway.service.retain import Rollup

HOUR = timedelta(hours=1)
DAYS = (NOVEMBER - OCTOBER) // timedelta(days=1)
OLD = datetime(2026, 12, 3, tzinfo=UTC)
"""by now October is older than the one month that these tests keep"""


@pytest.fixture
async def house(store_url: str) -> AsyncIterator[House]:
    """October of two meters, read every six hours, closed."""
    async with Store(store_url) as store:
        one = House(store)
        await one.told(PROPERTY)
        for number in range(0, (NOVEMBER - OCTOBER) // HOUR + 13, 6):
            await one.counted(OCTOBER + number * HOUR, str(number), str(2 * number))
        await one.settler.settle_due()
        yield one


class PowerCutError(Exception):
    pass


class Dying(Retention):
    """The power goes when the second meter's day was worked out and not yet kept."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.rolled: list[list[str]] = []

    async def roll_up(self, meters: Collection[str], day: Period, rollups: Sequence[Rollup]) -> None:
        self.rolled.append(sorted(meters))
        if len(self.rolled) > 1:
            raise PowerCutError
        await super().roll_up(meters, day, rollups)


def retain(house: House, old: Retention | None = None) -> Retain:
    return Retain(
        store=house.store,
        old=old or Retention(house.store),
        clock=house.clock,
        bell=house.clock,  # type: ignore[arg-type]  # nobody waits
        raw_days=30,
        readings_months=1,
        beat=lambda: None,
    )


async def rows(house: House, table: Table) -> list[Any]:
    return await house.store.reader.run(lambda connection: list(connection.execute(select(table)).all()))


async def test_ended_days_are_rolled_up_once_and_the_next_work_is_at_four_in_the_morning(house: House) -> None:
    due = await retain(house).retain_due()
    assert due.isoformat() == "2026-11-03T03:00:00+00:00"
    daily, hourly = await rows(house, schema.daily), await rows(house, schema.hourly)
    assert len(daily) == 2 * (DAYS + 1)  # the month, and the day that holds its last readings
    assert daily[0][1:] == (micros(OCTOBER), micros(OCTOBER), 0, micros(OCTOBER + 18 * HOUR), 18, 0, 4)
    assert len(hourly) == len(await rows(house, schema.reading))
    await retain(house).retain_due()
    assert (await rows(house, schema.daily), await rows(house, schema.hourly)) == (daily, hourly)


async def test_a_day_is_rolled_up_anew_once_a_person_has_touched_it(house: House) -> None:
    await retain(house).retain_due()
    late = OCTOBER + 7 * HOUR
    await house.counted(late, "6.5")
    await house.store.writer.submit(Priority.SETTLE, lambda connection: marks.touched(connection, late))
    await retain(house).retain_due()
    daily = await rows(house, schema.daily)
    assert len(daily) == 2 * (DAYS + 1)
    assert max(row[-1] for row in daily) == 5
    assert len([row for row in await rows(house, schema.hourly) if row[1] == micros(late)]) == 1


async def test_a_day_takes_a_few_meters_at_a_time_and_is_done_once_all_are(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "AT_A_TIME", 1)
    dying = Dying(house.store)
    with pytest.raises(PowerCutError):
        await retain(house, dying).retain_due()
    assert dying.rolled == [["heat-01"], ["heat-02"]]
    assert {row.bucket for row in await rows(house, schema.daily)} == {micros(OCTOBER)}
    await retain(house).retain_due()
    assert len(await rows(house, schema.daily)) == 2 * (DAYS + 1)


async def test_raw_answers_go_after_30_days_and_readings_stay(house: House) -> None:
    kept = await rows(house, schema.reading)
    house.clock.shown = OCTOBER + timedelta(days=40)
    await retain(house).retain_due()
    polls = await rows(house, schema.poll)
    assert {bool(poll.raw) for poll in polls if poll.at >= micros(OCTOBER + timedelta(days=10))} == {True}
    assert {bool(poll.raw) for poll in polls if poll.at < micros(OCTOBER + timedelta(days=10))} == {False}
    assert await rows(house, schema.reading) == kept


async def test_once_a_month_is_old_a_settlement_finds_the_same_charges_in_fewer_readings(house: House) -> None:
    before, charges = len(await rows(house, schema.reading)), await house.published()
    house.clock.shown = OLD
    await retain(house).retain_due()
    assert len(await rows(house, schema.reading)) < before
    await house.store.mark_dirty([DirtyMonth(facility="f", month="2026-10", reason="rate")])
    await house.settler.settle_due()
    assert [charge for charge in await house.published() if charge["closing"] == "2026-10"] == charges


async def test_a_late_move_of_a_thinned_month_is_charged_by_what_was_read_at_that_midnight(house: House) -> None:
    house.clock.shown = OLD
    await retain(house).retain_due()
    moved = {"occupancy": [{"id": "s", "point": "flat-1", "user": "ada", "entry": "2026-01-01", "exit": "2026-10-10"}]}
    await house.told(moved)
    await house.settler.settle_due()
    standing = [each for each in await house.published() if each["payer"]["id"] == "ada" and each["revision"] == 2]
    assert [each["quantity"] for each in standing if each["kind"] == "charge"] == [f"{10 * 24}.000"]
    ends = [each["evidence"]["segments"][-1]["until"]["quality"] for each in standing if each["kind"] == "charge"]
    assert ends == ["measured"]


async def test_a_month_not_closed_or_to_be_settled_again_keeps_its_readings(house: House) -> None:
    kept = await rows(house, schema.reading)
    await house.store.mark_dirty([DirtyMonth(facility="f", month="2026-10", reason="move")])
    house.clock.shown = OLD
    await retain(house).retain_due()
    assert await rows(house, schema.reading) == kept


async def test_polls_are_deleted_only_once_they_are_delivered_and_the_numbering_goes_on(house: House) -> None:
    house.clock.shown = OLD + timedelta(days=31)
    await retain(house).retain_due()
    polls = len(await rows(house, schema.poll))
    stream = next(stream for stream in await house.store.streams() if stream.kind == "reading")
    assert stream.head == polls
    await house.store.acknowledge([Ack(consumer="c", stream=stream.name, seq=polls)], {stream.name: polls})
    await retain(house).retain_due()
    assert [poll.seq for poll in await rows(house, schema.poll)] == [polls]
    assert next(one for one in await house.store.streams() if one.kind == "reading").head == polls


async def test_nothing_is_done_on_a_time_that_is_not_trusted(house: House) -> None:
    house.clock.shown, house.clock.right = OLD, False
    assert await retain(house).retain_due() < OLD + HOUR
    assert not await rows(house, schema.daily)


async def test_meters_without_property_data_are_rolled_up_by_days_of_utc(store_url: str) -> None:
    async with Store(store_url) as store:
        house = House(store)
        for number in range(0, 48, 6):
            await house.counted(CLOSED + number * HOUR, str(number))
        house.clock.shown = CLOSED + 48 * HOUR
        await retain(house).retain_due()
        day = Period(CLOSED.replace(hour=0), CLOSED.replace(hour=0) + 24 * HOUR)
        assert [row.bucket for row in await rows(house, schema.daily)] == [
            micros(day.start),
            micros(day.until),
        ]
