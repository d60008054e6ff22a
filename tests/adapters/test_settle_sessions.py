"""A session that began long before the month that it is charged in, on a real store, its readings judged as polled."""

from __future__ import annotations

import json
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from gateway.core.metering import Reading
from gateway.core.units import Scaled
from gateway.service.command_execute import Commander
from gateway.service.command_schema import Exchange
from gateway.service.judge import Judge
from gateway.service.records import DirtyMonth, SessionRecord
from gateway.service.retain import Retain
from gateway.service.settle import Settler
from gateway.store import Store
from gateway.store.charges import ChargeFilter
from gateway.store.retention import Retention
from tests.adapters.stores import new_store, poll
from tests.adapters.test_settle import NOVEMBER, HandClock
from tests.laundry import HOUSE, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime
    from pathlib import Path

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BEGUN, ENDED = NOVEMBER - 11 * HOUR, NOVEMBER + 2 * HOUR
EXCHANGED = NOVEMBER - 4 * HOUR + HOUR / 2
DUE = NOVEMBER + 33 * DAY
"""when November is settled for the first time"""
FLAT = "blumer"


class Charging:
    """A store in which a car was charged overnight, 1 kWh an hour, of a meter that otherwise counts nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = HandClock(DUE)

    async def begin(
        self, wrong: Mapping[datetime, str], *, exchanged: bool = False, without: datetime | None = None
    ) -> None:
        await tell(self.store, HOUSE)
        judge = Judge(self.store, self.store, self.store)
        hours = [NOVEMBER + step * HOUR for step in range(-3 * 24, 3 * 24)]
        heard = {at: _reading(at, wrong.get(at), exchanged=exchanged) for at in hours}
        await judge.keep([poll(one) for at, one in heard.items() if at != without])
        await judge.keep([poll(_reading(DUE - DAY, None, exchanged=exchanged))])
        session = SessionRecord(
            id="s",
            facility="house",
            access_point="washer",
            started_at=BEGUN,
            ended_at=ENDED,
            data=_data(heard[BEGUN], heard[ENDED]),
        )
        await self.store.end_session(session, "sessions/flat-1", "{}", [], ENDED)

    async def settle(self) -> None:
        settler = Settler(store=self.store, clock=self.clock, bell=None, gateway="gw", beat=lambda: None)  # type: ignore[arg-type] # nobody waits
        await settler.settle_due()

    async def billed(self) -> dict[str, Fraction]:
        """Payer -> energy."""
        found: dict[str, Fraction] = {}
        for kept in await self.store.all_charges(ChargeFilter()):
            one = json.loads(kept.data)
            if one["component"] == "energy":
                found[one["payer"]["id"]] = found.get(one["payer"]["id"], Fraction(0)) + Fraction(one["quantity"])
        return {payer: quantity for payer, quantity in found.items() if quantity}

    async def held(self) -> list[str]:
        codes = {alarm.code for alarm in await self.store.open_alarms()}
        return sorted(codes & {"index_decrease", "identity_changed"})


def _reading(at: datetime, wrong: str | None, *, exchanged: bool) -> Reading:
    new = exchanged and at > EXCHANGED
    counted = (min(max(at, BEGUN), ENDED) - BEGUN) / HOUR + 100 - 93 * new
    return Reading(
        meter="power",
        register="import",
        at=at,
        index=Scaled.parse(wrong or f"{counted:.2f}"),
        unit="kWh",
        serial="4712" if new else "4711",
    )


def _data(first: Reading, last: Reading) -> str:
    times = {"started": first.at, "start": first.at, "end": last.at, "ended": last.at}
    moments = {
        name: {"at": at.isoformat(), "clock_trusted": True, "elapsed_us": 0, "boot": "b"} for name, at in times.items()
    }
    return json.dumps(
        {
            "session_id": "s",
            "place": "laundry",
            "register": "power-import",
            "point": "flat-1",
            "badge": "b-anna",
            "user": FLAT,
            "serial": last.serial,
            "serials": {"start": first.serial, "end": last.serial},
            "obis": "",
            "ran": True,
            "payable": True,
            "moments": moments,
            "indexes": {"start": str(first.index), "end": str(last.index)},
        }
    )


@pytest.fixture
async def charging(tmp_path: Path) -> AsyncIterator[Charging]:
    async with Store(new_store(tmp_path)) as store:
        yield Charging(store)


async def test_it_is_held_while_what_it_began_with_is_in_doubt(charging: Charging) -> None:
    await charging.begin({BEGUN: "60.00"})
    await charging.settle()
    assert await charging.billed() == {}
    assert await charging.held() == ["index_decrease"]


@pytest.mark.parametrize("without", [None, BEGUN])
async def test_it_is_charged_where_nothing_speaks_against_it_also_once_its_reading_is_thinned(
    charging: Charging, without: datetime | None
) -> None:
    await charging.begin({}, without=without)
    await charging.settle()
    assert (await charging.billed())[FLAT] == 13
    assert await charging.held() == []


async def test_it_is_charged_what_both_meters_counted_once_the_exchange_in_it_is_entered(charging: Charging) -> None:
    await charging.begin({}, exchanged=True)
    await charging.settle()
    assert await charging.billed() == {}
    assert await charging.held() == ["identity_changed"]
    final, start = {"import": "107.5"}, {"import": "14.5"}
    told = {"meter": "power", "at": EXCHANGED.isoformat(), "final": final, "start": start, "serial": "4712"}
    commander = Commander(store=charging.store, clock=charging.clock, seal=lambda identifier: identifier)
    assert (await commander.execute(Exchange.model_validate(told), "meier")).applied
    await charging.settle()
    assert await charging.billed() == {FLAT: 13}
    assert await charging.held() == []


async def test_months_that_are_settled_again_once_readings_are_thinned_bill_the_same(charging: Charging) -> None:
    await charging.begin({})
    await charging.settle()
    before = await charging.store.readings({"power"}, NOVEMBER - 30 * DAY, DUE)
    charging.clock.shown = DUE + 60 * DAY
    await Retain(
        store=charging.store,
        old=Retention(charging.store),
        clock=charging.clock,
        bell=None,  # type: ignore[arg-type] # nobody waits
        raw_days=31,
        readings_months=1,
        beat=lambda: None,
    ).retain_due()
    left = await charging.store.readings({"power"}, NOVEMBER - 30 * DAY, DUE)
    assert len(left["power", "import"]) < len(before["power", "import"]) / 2
    closed = await charging.store.closed_months("house")
    await charging.store.mark_dirty([DirtyMonth(facility="house", month=one.month, reason="move") for one in closed])
    charging.clock.shown = DUE
    await charging.settle()
    assert await charging.billed() == {FLAT: 13}
