"""A reading that comes after its month was closed has that month settled again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from gateway.store import late
from tests.adapters.stores import poll, reading
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, House, house

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["house"]
DAY = timedelta(days=1)


async def closed(house: House, months: Sequence[str] = ("2026-10",)) -> None:
    """October: its last index was interpolated between two readings, and nothing is held."""
    await house.counted(OCTOBER, "10", "100")
    await house.counted(OCTOBER + 10 * DAY, "20")
    await house.counted(NOVEMBER + DAY, "113", "130")
    await house.settler.settle_due()
    assert [one.month for one in await house.store.closed_months("f")] == [*months]
    assert await house.store.dirty() == []


async def marked(house: House) -> list[tuple[str, str]]:
    return [(one.month, one.reason) for one in await house.store.dirty()]


async def test_it_is_charged_as_if_it_had_come_in_time(house: House) -> None:
    await closed(house)
    before = (await house.sums())["ada"]
    await house.counted(NOVEMBER, "103")
    assert await marked(house) == [("2026-10", "late_reading")]
    await house.settler.settle_due()
    assert await house.store.dirty() == []
    assert (await house.sums())["ada"] == Fraction(93, 5) != before


async def test_every_closed_month_is_that_leans_on_its_neighbours(house: House) -> None:
    await house.counted(OCTOBER - 5 * DAY, "0", "90")
    await house.counted(OCTOBER - 4 * DAY, "2", "92")
    await closed(house, ["2026-09", "2026-10"])
    await house.counted(OCTOBER - 2 * DAY, "6")
    assert await marked(house) == [("2026-09", "late_reading"), ("2026-10", "late_reading")]


@pytest.mark.parametrize("origin", ["measured", "stored"])
async def test_what_is_known_already_or_comes_in_its_time_marks_nothing(house: House, origin: str) -> None:
    await closed(house)
    known = replace(reading(NOVEMBER, "103"), origin=origin)  # type: ignore[arg-type] # one of its words
    await house.store.keep([poll(known)])
    await house.settler.settle_due()
    await house.store.keep([poll(known)])
    await house.store.keep([poll(reading(CLOSED + DAY, "140"))])
    await house.store.keep([poll(replace(reading(OCTOBER + DAY, "15"), clock_trusted=False))])
    await house.store.keep([poll(reading(OCTOBER + DAY, "15", meter="unknown"))])
    assert await marked(house) == []


async def test_a_reading_that_comes_in_its_time_costs_no_question(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        message = "the property data are asked for"
        raise AssertionError(message)

    await closed(house)
    monkeypatch.setattr(late, "book_of", asked)
    await house.counted(CLOSED, "140")
