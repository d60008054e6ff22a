"""Rates and accruals from a real store: what is shown, of whom, and when it is looked at again."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.clock import SteppedClock
from gateway.core.canonical import canonical
from gateway.core.charge import Terms
from gateway.core.period import month
from gateway.service.accruals import Accruals
from gateway.service.property import book_of
from gateway.service.records import PropertyChange
from gateway.service.settlement import settled
from gateway.store import Store
from tests.adapters.stores import new_store, poll, reading
from tests.adapters.test_settle import PROPERTY, HandClock
from tests.contract import schema
from tests.core.worlds import FACILITY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping
    from pathlib import Path

    from gateway.core.canonical import Json

OCTOBER = datetime(2026, 9, 30, 22, tzinfo=UTC)
MID_MONTH = datetime(2026, 10, 14, 22, tzinfo=UTC)
NOVEMBER = datetime(2026, 10, 31, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Board:
    """What is shown, and which points were cleared before they showed something else."""

    def __init__(self) -> None:
        self.branches: dict[str, dict[str, Any]] = {}
        self.anew: list[set[str]] = []

    def put_all(self, branch: str, bodies: Mapping[str, Json], *, anew: Collection[str] = ()) -> None:
        self.branches[branch] = json.loads(canonical(bodies))
        if branch == "state/accruals":
            self.anew.append(set(anew))


class Flat:
    """A store with the property of two flats, and the accruals on it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = HandClock(MID_MONTH)
        self.board = Board()
        self.accruals = Accruals(
            store=store,
            board=self.board,
            clock=self.clock,
            bell=SteppedClock().bell(),
            gateway="gw",
            beat=lambda: None,
        )

    async def told(self, tables: Mapping[str, list[dict[str, Any]]]) -> None:
        rows = [(kind, row) for kind, rows in tables.items() for row in rows]
        await self.store.record_property(changes(rows), "test", self.clock.now())

    async def counted(self, at: datetime, first: str, second: str) -> None:
        pairs = (("heat-01", first), ("heat-02", second))
        await self.store.keep([poll(reading(at, index, meter=meter)) for meter, index in pairs])

    async def shown(self, now: datetime) -> dict[str, Any]:
        """The accruals by point, as they are shown at the instant."""
        self.clock.shown = now
        await self.accruals.show()
        found = self.board.branches["state/accruals"]
        assert all(schema("accrual").is_valid(body) for body in found.values() if body is not None)
        return found


def changes(rows: list[tuple[str, dict[str, Any]]]) -> list[PropertyChange]:
    return [PropertyChange(kind=kind, id=row["id"], value=json.dumps(row)) for kind, row in rows]


@pytest.fixture
async def flat(tmp_path: Path) -> AsyncIterator[Flat]:
    async with Store(new_store(tmp_path)) as store:
        one = Flat(store)
        await one.told(PROPERTY)
        await one.counted(OCTOBER, "10", "100")
        yield one


async def test_an_accrual_says_who_has_used_what_since_when_and_until_when(flat: Flat) -> None:
    await flat.counted(MID_MONTH - HOUR, "60.5", "130")
    found = await flat.shown(MID_MONTH)
    assert found["flat-1"] == {
        "facility": "f",
        "billing_point": "flat-1",
        "payer": {"id": "ada", "role": "user", "reason": "occupancy"},
        "month": "2026-10",
        "from": "2026-09-30T22:00:00Z",
        "time_zone": "Europe/Zurich",
        "totals": [
            {
                "energy_source": "heating",
                "component": "energy",
                "quantity": "50.500",
                "unit": "kWh",
                "amount": "10.10",
                "amount_is": "gross",
                "currency": "CHF",
                "tax": {"category": "S", "rate": "8.1", "exemption": None},
                "until": "2026-10-14T21:00:00Z",
            }
        ],
    }
    assert found["flat-2"]["payer"] == {"id": "own", "role": "owner", "reason": "vacancy"}


async def test_registers_of_one_kind_are_added_up_until_the_earlier_of_their_last_readings(flat: Flat) -> None:
    await flat.told({"link": [{"id": "l-2", "register": "heat-02-heat", "point": "flat-1"}]})
    await flat.counted(MID_MONTH - 2 * HOUR, "60", "130")
    await flat.store.keep([poll(reading(MID_MONTH, "61"))])
    (total,) = (await flat.shown(MID_MONTH))["flat-1"]["totals"]
    assert (total["quantity"], total["amount"]) == ("81.000", "16.20")
    assert total["until"] == "2026-10-14T20:00:00Z"


async def test_nothing_is_shown_where_nothing_was_counted(flat: Flat) -> None:
    assert await flat.shown(MID_MONTH) == {"flat-1": None, "flat-2": None}


async def test_a_new_month_begins_with_nothing(flat: Flat) -> None:
    await flat.counted(NOVEMBER, "110", "130")
    assert (await flat.shown(NOVEMBER - HOUR))["flat-1"]["month"] == "2026-10"
    assert await flat.shown(NOVEMBER) == {"flat-1": None, "flat-2": None}
    await flat.counted(NOVEMBER + HOUR, "111", "131")
    one = (await flat.shown(NOVEMBER + HOUR))["flat-1"]
    assert (one["month"], one["from"], one["totals"][0]["quantity"]) == ("2026-11", "2026-10-31T23:00:00Z", "1.000")


async def test_at_a_move_the_accrual_is_cleared_and_the_next_payer_begins_with_nothing(flat: Flat) -> None:
    await flat.told(
        {
            "user": [{**PROPERTY["user"][0], "id": "bob"}],
            "occupancy": [
                {**PROPERTY["occupancy"][0], "exit": "2026-10-14"},
                {"id": "s-2", "point": "flat-1", "user": "bob", "entry": "2026-10-15"},
            ],
        }
    )
    await flat.counted(MID_MONTH, "60", "130")
    assert (await flat.shown(MID_MONTH - HOUR))["flat-1"]["payer"]["id"] == "ada"
    assert (await flat.shown(MID_MONTH))["flat-1"] is None
    await flat.counted(MID_MONTH + HOUR, "61", "131")
    after = (await flat.shown(MID_MONTH + HOUR))["flat-1"]
    assert (after["payer"]["id"], after["from"]) == ("bob", "2026-10-14T22:00:00Z")
    assert after["totals"][0]["quantity"] == "1.000"
    assert flat.board.anew == [set(), {"flat-1"}, set()]


async def test_a_backdated_move_clears_at_once(flat: Flat) -> None:
    await flat.counted(MID_MONTH, "60", "130")
    assert (await flat.shown(MID_MONTH))["flat-1"]["payer"]["id"] == "ada"
    await flat.told({"occupancy": [{**PROPERTY["occupancy"][0], "exit": "2026-10-10"}]})
    after = (await flat.shown(MID_MONTH))["flat-1"]
    assert after["payer"] == {"id": "own", "role": "owner", "reason": "vacancy"}
    assert after["from"] == "2026-10-10T22:00:00Z"
    assert flat.board.anew[-1] == {"flat-1"}


async def test_an_accrual_is_the_sum_of_what_would_be_charged(flat: Flat) -> None:
    """With a price that changes and stays that end between readings."""
    await flat.told(
        {
            "occupancy": [{**PROPERTY["occupancy"][0], "exit": "2026-10-07"}],
            "rate": [{**PROPERTY["rate"][0], "prices": [{"price": "0.20"}, {"from": "2026-10-05", "price": "0.3"}]}],
        }
    )
    for hour in range(1, 24 * 13, 5):
        await flat.counted(OCTOBER + hour * HOUR, f"{10 + hour * hour / 997:.3f}", f"{100 + hour / 7:.3f}")
    found = await flat.shown(MID_MONTH)
    book = book_of(await flat.store.property_rows(None))
    october = month(MID_MONTH.date(), FACILITY.time_zone)
    terms = Terms(gateway="gw", facility="f", period=october, closing="2026-10")
    settlement = await settled(flat.store, book, terms)
    for point in ("flat-1", "flat-2"):
        since = datetime.fromisoformat(found[point]["from"])
        own = [one for one in settlement.charges if one.billing_point == point and one.period.start >= since]
        (total,) = found[point]["totals"]
        assert total["amount"] == str(sum((one.amount for one in own[1:]), own[0].amount))
        assert total["quantity"] == str(sum((one.quantity for one in own[1:]), own[0].quantity))


async def test_a_rate_is_shown_with_every_price_and_no_name_of_a_person(flat: Flat) -> None:
    priced = {**PROPERTY["rate"][0], "points": ["flat-2"]}
    priced["prices"] = [{"from": "2026-01-01", "price": "0.20"}, {"from": "2026-10-16", "price": "0.2250"}]
    await flat.told({"rate": [priced]})
    await flat.shown(MID_MONTH)
    rate = flat.board.branches["rates"]["heat"]
    assert schema("rate").is_valid(rate)
    assert rate == {
        "id": "heat",
        "facility": "f",
        "title": "Heat",
        "energy_source": "heating",
        "component": "energy",
        "unit": "kWh",
        "currency": "CHF",
        "tax": {"category": "S", "rate": "8.1", "included": True, "exemption": None},
        "points": ["flat-2"],
        "time_zone": "Europe/Zurich",
        "prices": [
            {"version": 1, "from": "2025-12-31T23:00:00Z", "until": "2026-10-15T22:00:00Z", "price": "0.20"},
            {"version": 2, "from": "2026-10-15T22:00:00Z", "until": None, "price": "0.2250"},
        ],
    }


async def test_nothing_is_shown_on_a_clock_that_is_not_trusted(flat: Flat) -> None:
    flat.clock.right = False
    assert await flat.accruals.show() == MID_MONTH + timedelta(minutes=1)
    assert not flat.board.branches


async def test_it_is_looked_at_again_at_the_next_local_midnight_and_when_the_bell_is_rung(tmp_path: Path) -> None:
    looked: list[datetime] = []
    clock = SteppedClock()
    bell = clock.bell()
    async with Store(new_store(tmp_path)) as store:

        class Watched(Board):
            def put_all(self, branch: str, bodies: Mapping[str, Json], *, anew: Collection[str] = ()) -> None:
                super().put_all(branch, bodies, anew=anew)
                if branch == "rates":
                    looked.append(clock.now())

        await store.record_property(changes([("facility", PROPERTY["facility"][0])]), "test", OCTOBER)
        accruals = Accruals(store=store, board=Watched(), clock=clock, bell=bell, gateway="gw", beat=lambda: None)

        async def run() -> None:
            await clock.started()
            await accruals.run()

        task = asyncio.create_task(clock.enrolled(run)())
        saturday = datetime(2026, 10, 24, 12, tzinfo=UTC)
        await clock.step(saturday)
        await clock.step(saturday + timedelta(days=2))
        bell.ring()
        await clock.step(saturday + timedelta(days=2, hours=1))
        task.cancel()
        await asyncio.wait({task})
    assert [f"{at:%d %H:%M}" for at in looked] == ["24 12:00", "24 22:00", "25 23:00", "26 12:00"]
