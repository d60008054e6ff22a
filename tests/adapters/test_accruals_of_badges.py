"""What is shown of a billing point that badges of others than its payer name."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from gateway.core.metering import Reading
from gateway.core.units import Scaled
from gateway.service.accruals import accrual_body, accrued
from gateway.service.due import Month
from gateway.service.property import book_of
from gateway.service.records import SessionRecord
from gateway.store import Store
from tests.adapters.stores import new_store, poll
from tests.adapters.test_settle import NOVEMBER
from tests.adapters.test_settle_sessions import _data
from tests.laundry import HOUSE, tell

if TYPE_CHECKING:
    from pathlib import Path

HOUR = timedelta(hours=1)


async def test_what_somebody_else_washes_with_a_badge_of_the_flat_is_not_shown_as_its_payers(tmp_path: Path) -> None:
    house = HOUSE.replace('user = "blumer", entry = 2021-01-01', 'user = "rossi", entry = 2021-01-01')
    async with Store(new_store(tmp_path)) as store:
        await tell(store, house)
        first, last = (
            Reading(meter="power", register="import", at=at, index=Scaled.parse(index), unit="kWh", serial="4711")
            for at, index in ((NOVEMBER + HOUR, "100.00"), (NOVEMBER + 2 * HOUR, "102.00"))
        )
        await store.keep([poll(first), poll(last)])
        session = SessionRecord(
            id="s",
            facility="house",
            access_point="washer",
            started_at=first.at,
            ended_at=last.at,
            data=_data(first, last),
        )
        await store.end_session(session, "sessions/flat-1", "{}", [], last.at)
        book = book_of(await store.property_rows(None))
        month = Month.of(book.facilities["house"], date(2026, 11, 1))
        flat = (await accrued(store, book, month, "gw", last.at))["flat-1"]
    assert flat.payer.id == "rossi"
    assert accrual_body(flat) is None
