"""The closed months that are settled again where a boundary leans on a measured reading beyond others."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from gateway.core.leaning import leaning
from gateway.service import correct_marks
from gateway.service.command_execute import Commander
from gateway.service.command_schema import AddReading, Answer, VoidReading, VoidSpan
from gateway.service.records import DirtyMonth
from gateway.store import Store, late
from tests.adapters.stores import poll, reading
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, PROPERTY, House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from datetime import datetime

    from gateway.core.metering import Reading, Register
    from gateway.core.period import Period

DAY = timedelta(days=1)
DECEMBER = NOVEMBER + 30 * DAY
FIRST, BEFORE, BY_HAND, AFTER, LAST = (
    OCTOBER + 4 * DAY,
    OCTOBER + 9 * DAY,
    OCTOBER + 19 * DAY,
    NOVEMBER + 11 * DAY,
    NOVEMBER + 29 * DAY,
)
"""two measured readings of October, one by hand, two measured ones of November"""
INDEXES = {OCTOBER: "1000", FIRST: "1010", BEFORE: "1040", AFTER: "1060", LAST: "1100", DECEMBER + DAY: "1104"}
BOTH = ["2026-10", "2026-11"]
METER = {"meter": "heat-01", "reason": "crossed"}


class Two(House):
    """October and November, closed; between the readings beside their boundary there is one by hand."""

    async def begin(self, *, without: datetime | None = None) -> None:
        await self.told(PROPERTY)
        self.clock.shown = CLOSED + 30 * DAY
        for at, index in INDEXES.items():
            if at != without:
                await self.store.keep([poll(reading(at, index), reading(at, "0", meter="heat-02"))])
        by_hand = {"register": "heat", "at": BY_HAND.isoformat(), "value": "1041"}
        await self.command(AddReading.model_validate({**METER, **by_hand}))
        await self.settler.settle_due()
        assert [one.month for one in await self.store.closed_months("f")] == BOTH
        assert not await self.store.dirty()

    async def command(self, command: AddReading | VoidReading | VoidSpan) -> Answer:
        answer = await Commander(store=self.store, clock=self.clock, seal=str).execute(command, "test")
        assert answer.applied, answer
        return answer

    async def void(self, at: datetime, *, stretch: bool) -> Answer:
        if stretch:
            span = {"from": at.isoformat(), "to": (at + DAY).isoformat(), "yes": True}
            return await self.command(VoidSpan.model_validate({**METER, **span}))
        one = {"register": "heat", "at": at.isoformat()}
        return await self.command(VoidReading.model_validate({**METER, **one}))

    async def marked(self) -> list[str]:
        return sorted(one.month for one in await self.store.dirty())

    async def charged(self) -> Fraction:
        """What ada pays, in kWh, once the marked months are settled; settling all of them changes nothing more."""
        await self.settler.settle_due()
        before = await self.published()
        await self.store.mark_dirty([DirtyMonth(facility="f", month=month, reason="other") for month in BOTH])
        await self.settler.settle_due()
        assert await self.published() == before
        return sum((Fraction(one["quantity"]) for one in before if one["payer"]["id"] == "ada"), Fraction(0))


@pytest.fixture
async def two(store_url: str) -> AsyncIterator[Two]:
    async with Store(store_url) as store:
        yield Two(store)


TOTAL = Fraction(1102) - 1000
"""the index of 1 December lies half-way between 1100 and 1104"""


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("at", [BEFORE, AFTER])
async def test_every_kwh_is_charged_once_when_it_is_voided(two: Two, at: datetime, *, stretch: bool) -> None:
    await two.begin()
    assert await two.charged() == TOTAL
    answer = await two.void(at, stretch=stretch)
    assert list(answer.settled_again) == BOTH == await two.marked()
    assert await two.charged() == TOTAL


@pytest.mark.parametrize("at", [BEFORE, AFTER])
async def test_every_kwh_is_charged_once_when_it_comes_late(two: Two, at: datetime) -> None:
    await two.begin(without=at)
    assert await two.charged() == TOTAL
    await two.store.keep([poll(reading(at, INDEXES[at]))])
    assert await two.marked() == BOTH
    assert await two.charged() == TOTAL


async def test_what_was_read_by_hand_moves_the_boundary_as_far_as_it_must(two: Two) -> None:
    await two.begin()
    answer = await two.command(
        AddReading.model_validate({**METER, "register": "heat", "at": (NOVEMBER - DAY).isoformat(), "value": "1055"})
    )
    assert list(answer.settled_again) == BOTH
    assert await two.charged() == TOTAL


async def test_a_reading_in_the_middle_of_a_month_marks_that_alone(two: Two) -> None:
    await two.begin()
    await two.store.keep([poll(reading(OCTOBER + 2 * DAY, "1004"))])
    assert await two.marked() == BOTH[:1]


async def test_of_thousands_of_readings_those_beside_the_edges_are_looked_at(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []

    def spied(register: Register, readings: Collection[Reading], changed: Callable[[Reading], bool]) -> Period | None:
        looked_at.append(len(readings))
        return leaning(register, readings, changed)

    await two.begin()
    hours = (OCTOBER + hour * DAY / 24 for hour in range(1, 744))
    monkeypatch.setattr(late, "leaning", spied)
    await two.store.keep([poll(reading(at, f"{1000 + (at - OCTOBER) / DAY:.3f}")) for at in hours])
    monkeypatch.setattr(correct_marks, "leaning", spied)
    span = {"from": OCTOBER.isoformat(), "to": NOVEMBER.isoformat(), "yes": True}
    await two.command(VoidSpan.model_validate({**METER, **span}))
    assert len(looked_at) == 2
    assert max(looked_at) < 50


async def test_only_what_is_near_a_months_end_is_interpolated(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round that comes late has a reading of each meter of the building."""
    hours = [OCTOBER + hour * DAY / 24 for hour in range(48)]
    await two.begin()
    await two.store.keep([poll(reading(at, f"{1000 + (at - OCTOBER) / DAY:.3f}")) for at in hours if at != hours[30]])
    await two.charged()
    monkeypatch.setattr(late, "leaning", None)
    await two.store.keep([poll(reading(hours[30], "1001.250"))])
    assert await two.marked() == BOTH[:1]


async def test_what_is_on_its_way_while_months_are_settled_is_not_interpolated(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A building read each second has one reading of each register under way, days behind what is settled."""
    await two.begin()
    hours = [DECEMBER + hour * DAY / 24 for hour in range(1, 21)]
    await two.store.keep([poll(reading(at, f"{1102 + (at - DECEMBER) / DAY:.3f}")) for at in hours])
    await two.charged()
    with monkeypatch.context() as patched:
        patched.setattr(late, "spans", None)
        await two.store.keep([poll(reading(DECEMBER + 1.9 * DAY, "1107"))])
        assert await two.marked() == []
    await two.store.keep([poll(reading(DECEMBER - DAY / 48, "1101.500"))])
    assert await two.marked() == BOTH[1:]
    before = await two.charged()
    await two.store.keep([poll(reading(DECEMBER + DAY / 48, "1101.700"))])
    assert (await two.marked(), await two.charged() != before) == (BOTH[1:], True)
