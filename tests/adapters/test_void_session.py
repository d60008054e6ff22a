"""A session that goes over a month's end, and one of its two readings is voided: each kWh is billed once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from gateway.core.metering import Reading
from gateway.core.units import Scaled
from gateway.service.command_execute import Commander
from gateway.service.command_schema import Answer, VoidReading, VoidSpan
from gateway.service.records import SessionRecord
from gateway.service.settle import Settler
from gateway.store import Store
from tests.adapters.stores import billed, new_store, poll
from tests.adapters.test_settle import HandClock
from tests.laundry import HOUSE, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIDNIGHT = datetime(2026, 10, 31, 23, tzinfo=UTC)
"""between October and November in Zurich"""
HOUR = timedelta(hours=1)
BEGUN, ENDED = MIDNIGHT - 2.5 * HOUR, MIDNIGHT + 2.5 * HOUR
OCTOBER_CLOSED, NOVEMBER_CLOSED = MIDNIGHT + timedelta(days=3), MIDNIGHT + timedelta(days=33)
LAST = {"start": BEGUN, "end": ENDED}


class Night:
    """1 kWh an hour from 1 October to 1 December, of which a session took the night between the two months."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = HandClock(OCTOBER_CLOSED)

    async def begin(self) -> None:
        await tell(self.store, HOUSE)
        hours = [MIDNIGHT + step * HOUR for step in range(-745, 721)]
        await self.store.keep([poll(_reading(at)) for at in sorted([*hours, BEGUN, ENDED])])
        session = SessionRecord(
            id="s", facility="house", access_point="washer", started_at=BEGUN, ended_at=ENDED, data=_data()
        )
        await self.store.end_session(session, "sessions/flat-1", "{}", [], ENDED)

    async def settle(self, now: datetime) -> None:
        self.clock.shown = now
        settler = Settler(store=self.store, clock=self.clock, bell=None, gateway="gw", beat=lambda: None)  # type: ignore[arg-type] # nobody waits
        await settler.settle_due()

    async def void(self, at: datetime, *, stretch: bool, yes: bool = True) -> Answer:
        named: dict[str, object] = {"meter": "power", "reason": "crossed"}
        command: VoidReading | VoidSpan = VoidReading.model_validate(
            {**named, "register": "import", "at": at.isoformat()}
        )
        if stretch:
            until = at + timedelta(minutes=10)
            command = VoidSpan.model_validate({**named, "from": at.isoformat(), "to": until.isoformat(), "yes": yes})
        commander = Commander(store=self.store, clock=self.clock, seal=lambda identifier: identifier)
        return await commander.execute(command, "test")


def _index(at: datetime) -> str:
    return f"{(at - MIDNIGHT) / HOUR + 1000:.2f}"


def _reading(at: datetime) -> Reading:
    return Reading(meter="power", register="import", at=at, index=Scaled.parse(_index(at)), unit="kWh", serial="4711")


def _data() -> str:
    times = {"started": BEGUN, "start": BEGUN, "end": ENDED, "ended": ENDED}
    moments = {
        name: {"at": at.isoformat(), "clock_trusted": True, "elapsed_us": 0, "boot": "b"} for name, at in times.items()
    }
    of_machine = {"access_point": "washer", "machine": "washer-1", "place": "laundry", "register": "power-import"}
    of_user = {"session_id": "s", "point": "flat-1", "badge": "b-anna", "user": "blumer", "stop": "Local"}
    of_meter = {"unit": "kWh", "serial": "4711", "obis": "", "serials": {"start": "4711", "end": "4711"}}
    indexes = {"start": _index(BEGUN), "end": _index(ENDED)}
    known = {"state": "closed", "clock": "trusted", "ran": True, "payable": True, "quantity": "5.00"}
    return json.dumps({**of_machine, **of_user, **of_meter, **known, "moments": moments, "indexes": indexes})


@pytest.fixture
async def night(tmp_path: Path) -> AsyncIterator[Night]:
    async with Store(new_store(tmp_path)) as store:
        one = Night(store)
        await one.begin()
        yield one


CHARGED = {("ag", "2026-10"): Fraction(1485, 2), ("ag", "2026-11"): Fraction(1435, 2), ("blumer", "2026-11"): 5}
TAKEN_BACK = {("ag", "2026-10"): 745, ("ag", "2026-11"): 720}


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("which", ["start", "end"])
async def test_both_months_are_settled_again_where_both_are_closed(night: Night, which: str, *, stretch: bool) -> None:
    await night.settle(NOVEMBER_CLOSED)
    assert await billed(night.store) == CHARGED
    answer = await night.void(LAST[which], stretch=stretch)
    assert answer.settled_again == ("2026-10", "2026-11")
    assert "1 session began or ended with what is void now (s)" in answer.said
    await night.settle(NOVEMBER_CLOSED)
    assert await billed(night.store) == TAKEN_BACK
    await night.settle(NOVEMBER_CLOSED + timedelta(days=1))
    assert await billed(night.store) == TAKEN_BACK


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("which", ["start", "end"])
async def test_the_first_month_is_settled_again_where_only_that_is_closed(
    night: Night, which: str, *, stretch: bool
) -> None:
    await night.settle(OCTOBER_CLOSED)
    assert await billed(night.store) == {key: quantity for key, quantity in CHARGED.items() if key == ("ag", "2026-10")}
    answer = await night.void(LAST[which], stretch=stretch)
    assert answer.settled_again == ("2026-10",)
    await night.settle(OCTOBER_CLOSED)
    await night.settle(NOVEMBER_CLOSED)
    assert await billed(night.store) == TAKEN_BACK


@pytest.mark.parametrize("which", ["start", "end"])
async def test_the_months_are_said_before_it_is_done(night: Night, which: str) -> None:
    await night.settle(NOVEMBER_CLOSED)
    answer = await night.void(LAST[which], stretch=True, yes=False)
    (problem,) = answer.problems
    assert "and settle 2026-10, 2026-11 again; write --yes to do it" in problem.text
    assert not await night.store.dirty()
