"""A session that still runs when a month is closed: what it takes of that month is billed to its user alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from gateway.core.metering import Reading
from gateway.core.units import Scaled
from gateway.service.access_end import Endings
from gateway.service.access_parts import Parts
from gateway.service.property import book_of
from gateway.service.records import SessionRecord
from gateway.service.settle import Settler
from gateway.store import Store
from tests.adapters.stores import billed, poll
from tests.adapters.test_settle import HandClock
from tests.laundry import HOUSE, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIDNIGHT = datetime(2026, 10, 31, 23, tzinfo=UTC)
"""between October and November in Zurich"""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AT_ONCE = HOUSE.replace('currency = "CHF"', 'currency = "CHF", grace_hours = 0')


class Night:
    """A washing machine of which a month is closed as soon as it is over, and a session that goes over that."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = HandClock(MIDNIGHT)

    async def read(self, counted: dict[datetime, str]) -> None:
        await self.store.keep([poll(_reading(at, index)) for at, index in counted.items()])

    async def settle(self, now: datetime) -> None:
        self.clock.shown = now
        settler = Settler(store=self.store, clock=self.clock, bell=None, gateway="gw", beat=lambda: None)  # type: ignore[arg-type] # nobody waits
        await settler.settle_due()

    async def end(self, begun: datetime, ended: datetime, *, trusted: bool = True) -> None:
        """Of a session that began with 100 kWh and ended with 102."""
        parts = Parts(
            reader=None,  # type: ignore[arg-type] # nobody taps
            permit=None,  # type: ignore[arg-type] # nothing is switched
            bus=None,  # type: ignore[arg-type] # nothing is read
            store=self.store,
            readings=self.store,
            alarms=self.store,
            clock=self.clock,
            seal=str,
            busy={},
            gateway="gw",
            boot="b" if trusted else "b-2",
            beat=lambda: None,
        )
        record = SessionRecord(
            id="s",
            facility="house",
            access_point="washer",
            started_at=begun,
            ended_at=None,
            data=_data(begun, ended, trusted=trusted),
        )
        self.clock.shown = ended
        await Endings(parts).end(book_of(await self.store.property_rows(None)), record)


def _reading(at: datetime, index: str) -> Reading:
    return Reading(meter="power", register="import", at=at, index=Scaled.parse(index), unit="kWh", serial="4711")


def _data(begun: datetime, ended: datetime, *, trusted: bool) -> str:
    times = {"started": begun, "start": begun, "end": ended, "ended": ended}
    moments = {
        name: {"at": at.isoformat(), "clock_trusted": trusted, "elapsed_us": 0, "boot": "b"}
        for name, at in times.items()
    }
    of_machine = {"access_point": "washer", "machine": "washer-1", "place": "laundry", "register": "power-import"}
    of_user = {"session_id": "s", "point": "flat-1", "badge": "b-anna", "user": "blumer", "stop": "Local"}
    of_meter = {"unit": "kWh", "serial": "4711", "obis": "", "serials": {"start": "4711", "end": "4711"}}
    known = {"state": "waiting", "ran": True, "quantity": "2.00", "indexes": {"start": "100.00", "end": "102.00"}}
    return json.dumps({**of_machine, **of_user, **of_meter, **known, "moments": moments})


@pytest.fixture
async def night(store_url: str) -> AsyncIterator[Night]:
    async with Store(store_url) as store:
        await tell(store, AT_ONCE)
        yield Night(store)


async def test_its_part_of_the_closed_month_is_the_users_and_not_the_owners_too(night: Night) -> None:
    begun, ended = MIDNIGHT - HOUR / 2, MIDNIGHT + 2 * HOUR / 3
    await night.read({MIDNIGHT - 31 * DAY: "100.00", begun: "100.00", MIDNIGHT: "100.80"})
    await night.settle(MIDNIGHT + HOUR / 60)
    assert await billed(night.store) == {("ag", "2026-10"): Fraction("0.8")}, "nobody knows yet what becomes of it"
    await night.read({ended: "102.00"})
    await night.end(begun, ended)
    await night.settle(ended + HOUR)
    assert await billed(night.store) == {("blumer", "2026-11"): 2}
    await night.read({MIDNIGHT + 30 * DAY: "102.00"})
    await night.settle(MIDNIGHT + 31 * DAY)
    assert await billed(night.store) == {("blumer", "2026-11"): 2}
    assert not await night.store.dirty()


async def test_all_months_are_settled_again_that_passed_while_the_gateway_was_off(night: Night) -> None:
    begun, ended = MIDNIGHT - 40 * DAY, MIDNIGHT + 2 * DAY
    edges = {MIDNIGHT - 31 * DAY: "100.50", MIDNIGHT: "101.75"}
    await night.read({MIDNIGHT - 60 * DAY: "100.00", begun: "100.00", **edges, ended: "102.00"})
    await night.settle(ended)
    assert await billed(night.store) == {("ag", "2026-09"): Fraction("0.5"), ("ag", "2026-10"): Fraction("1.25")}
    await night.end(begun, ended)
    assert [one.month for one in await night.store.dirty()] == ["2026-09", "2026-10", "2026-11"]
    await night.settle(ended + HOUR)
    assert await billed(night.store) == {("blumer", "2026-11"): 2}


async def test_a_session_whose_times_are_not_known_takes_nothing_off_what_the_owner_pays(night: Night) -> None:
    begun, ended = MIDNIGHT - HOUR / 2, MIDNIGHT + HOUR
    await night.read({MIDNIGHT - 31 * DAY: "100.00", begun: "100.00", MIDNIGHT: "100.80"})
    await night.settle(MIDNIGHT + HOUR / 60)
    await night.end(begun, ended, trusted=False)
    assert await night.store.sessions("house", begun, ended), "it has ended"
    assert not await night.store.dirty()
    await night.settle(ended)
    assert await billed(night.store) == {("ag", "2026-10"): Fraction("0.8")}
