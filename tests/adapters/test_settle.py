"""Closing and settling again on a real store: what is published, when, and never twice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.charge import Terms, settle
from gateway.core.period import Period
from gateway.core.track import track
from gateway.service.property import book_of
from gateway.service.records import DirtyMonth, PropertyChange
from gateway.service.settle import Settler
from gateway.service.settlement import settled
from gateway.store import Store, StoreView
from gateway.store.charges import ChargeFilter
from tests.adapters.stores import new_store, poll, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping
    from pathlib import Path

    from gateway.core.metering import Reading

OCTOBER = datetime(2026, 9, 30, 22, tzinfo=UTC)
NOVEMBER = datetime(2026, 10, 31, 23, tzinfo=UTC)
CLOSED = NOVEMBER + timedelta(hours=48)
PROPERTY: dict[str, list[dict[str, Any]]] = {
    "facility": [{"id": "f", "name": "F", "time_zone": "Europe/Zurich", "currency": "CHF"}],
    "building": [{"id": "b", "facility": "f", "name": "B"}],
    "point": [
        {"id": "flat-1", "building": "b", "name": "Flat 1", "kind": "apartment"},
        {"id": "flat-2", "building": "b", "name": "Flat 2", "kind": "apartment"},
    ],
    "user": [
        {"id": "ada", "kind": "natural", "first_name": "Ada", "last_name": "A", "address": "Weg 1"},
        {"id": "own", "kind": "legal", "company": "Own AG", "registration": "CHE-1", "address": "Weg 2"},
    ],
    "owner": [{"id": "o", "user": "own", "facility": "f"}],
    "occupancy": [{"id": "s", "point": "flat-1", "user": "ada", "entry": "2026-01-01"}],
    "meter": [
        {"id": "heat-01", "facility": "f", "name": "Heat 1"},
        {"id": "heat-02", "facility": "f", "name": "Heat 2"},
    ],
    "register": [
        {
            "id": f"heat-0{number}-heat",
            "meter": f"heat-0{number}",
            "key": "heat",
            "energy_source": "heating",
            "unit": "kWh",
            "resolution": "0.001",
            "max_per_day": "500",
        }
        for number in (1, 2)
    ],
    "link": [
        {"id": "l-1", "register": "heat-01-heat", "point": "flat-1"},
        {"id": "l-2", "register": "heat-02-heat", "point": "flat-2"},
    ],
    "rate": [
        {
            "id": "heat",
            "facility": "f",
            "energy_source": "heating",
            "title": "Heat",
            "component": "energy",
            "unit": "kWh",
            "prices": [{"from": "2026-01-01", "price": "0.20"}],
            "tax": {"category": "S", "rate": "8.1", "included": True},
        }
    ],
}


class HandClock:
    """A clock that shows what it is told."""

    def __init__(self, now: datetime) -> None:
        self.shown = now
        self.right = True

    def now(self) -> datetime:
        return self.shown

    def monotonic(self) -> float:
        return 0.0

    def trusted(self) -> bool:
        return self.right


class House:
    """A store with the property above, and the settler on it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = HandClock(CLOSED)
        self.settler = self.new_settler(store)

    def new_settler(self, store: object) -> Settler:
        return Settler(store=store, clock=self.clock, bell=None, gateway="gw", beat=lambda: None)  # type: ignore[arg-type] # stores' doubles; nobody waits

    async def told(self, tables: Mapping[str, list[dict[str, Any]]]) -> None:
        changes = [
            PropertyChange(kind=kind, id=row["id"], value=json.dumps(row))
            for kind, rows in tables.items()
            for row in rows
        ]
        marks = [DirtyMonth(facility="f", month=one.month, reason="move") for one in await self.store.closed_months()]
        await self.store.record_property(changes, "test", self.clock.now(), marks)

    async def counted(self, at: datetime, first: str | None, second: str | None = None) -> None:
        indexes = {"heat-01": first, "heat-02": second}
        heard = [poll(reading(at, index, meter=meter)) for meter, index in indexes.items() if index is not None]
        await self.store.keep(heard)

    async def published(self) -> list[dict[str, Any]]:
        return [json.loads(one.data) for one in await self.store.all_charges(ChargeFilter())]

    async def sums(self) -> dict[str, Fraction]:
        found: dict[str, Fraction] = {}
        for charge in await self.published():
            payer = charge["payer"]["id"]
            found[payer] = found.get(payer, Fraction(0)) + Fraction(charge["amount"])
        return found

    async def alarms(self) -> set[tuple[str, str]]:
        return {(alarm.code, alarm.source) for alarm in await self.store.open_alarms()}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Store(new_store(tmp_path)) as store:
        one = House(store)
        await one.told(PROPERTY)
        yield one


async def test_a_month_is_closed_when_its_grace_is_over_and_not_before(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    house.clock.shown = CLOSED - timedelta(seconds=1)
    assert await house.settler.settle_due() == CLOSED
    assert not await house.published()
    house.clock.shown = CLOSED
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(20), "own": Fraction(6)}
    assert [one.month for one in await house.store.closed_months("f")] == ["2026-10"]


async def test_settling_meter_by_meter_is_settling_all_at_once(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    book = book_of(await house.store.property_rows(None))
    terms = Terms(gateway="gw", facility="f", period=Period(OCTOBER, NOVEMBER), closing="2026-10")
    heard = await house.store.readings(book.meters, OCTOBER, NOVEMBER)
    tolerance = book.facilities["f"].boundary_tolerance
    tracks = {one.id: track(one, heard.get((one.meter, one.key), ()), tolerance) for one in book.registers.values()}
    together = settle(book, tracks, terms, {}, ())
    assert len(book.meters) > 1
    assert await settled(house.store, book, terms) == together
    assert len(together.charges) == 2


class Heard(StoreView):
    """A view that remembers which registers were read from it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.registers: list[tuple[str, str]] = []

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime, keys: Collection[str] | None = None
    ) -> dict[tuple[str, str], tuple[Reading, ...]]:
        found = await super().readings(facility_meters, start, until, keys)
        self.registers += found
        return found


async def test_settling_reads_what_is_billed_and_not_what_else_a_meter_tells(house: House, tmp_path: Path) -> None:
    for at, heat in ((OCTOBER, "10"), (NOVEMBER, "110")):
        await house.store.keep([poll(reading(at, heat), reading(at, "7", register="volume"))])
    book = book_of(await house.store.property_rows(None))
    terms = Terms(gateway="gw", facility="f", period=Period(OCTOBER, NOVEMBER), closing="2026-10")
    async with Heard(f"sqlite:///{tmp_path / 'gateway.db'}") as view:
        found = await settled(view, book, terms)
        assert [str(charge.quantity) for charge in found.charges] == ["100.000"]
        assert view.registers == [("heat-01", "heat")]


async def test_settling_again_publishes_nothing(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    before = await house.published()
    await house.store.mark_dirty([DirtyMonth(facility="f", month="2026-10", reason="other")])
    await house.settler.settle_due()
    assert await house.published() == before
    assert not await house.store.dirty()


async def test_a_crash_between_two_points_is_made_good_by_settling_again(house: House) -> None:
    class Dying:
        """The store, until its second publication."""

        def __init__(self) -> None:
            self.left = 1

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
            return getattr(house.store, name)

        async def publish(self, *arguments: Any) -> int:  # noqa: ANN401 - as the store's
            if not self.left:
                raise ConnectionAbortedError
            self.left -= 1
            return await house.store.publish(*arguments)

    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    with pytest.raises(ConnectionAbortedError):
        await house.new_settler(Dying()).settle_due()
    assert len(await house.published()) == 1
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(20), "own": Fraction(6)}
    assert len(await house.published()) == 2


async def test_a_tail_that_was_open_becomes_a_further_charge(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER - timedelta(days=10), "80")
    await house.counted(NOVEMBER, None, "130")
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(14), "own": Fraction(6)}
    assert await house.alarms() == {("outside", "heat-01-heat")}
    await house.counted(NOVEMBER + timedelta(days=10), "100")
    house.clock.shown = CLOSED + timedelta(days=10)
    await house.settler.settle_due()
    of_ada = [one for one in await house.published() if one["payer"]["id"] == "ada"]
    assert [(one["kind"], one["revision"], one["amount"]) for one in of_ada] == [
        ("charge", 1, "14.00"),
        ("charge", 1, "2.00"),
    ]
    assert not await house.alarms()


async def test_a_backdated_move_is_a_reversal_and_a_revision(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(OCTOBER + timedelta(days=10), "60")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    moved = {**PROPERTY["occupancy"][0], "exit": "2026-10-10"}
    await house.told({"occupancy": [moved]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(10), "own": Fraction(16)}
    kinds = [(one["kind"], one["revision"], one["amount"], one["reason"]) for one in await house.published()]
    assert kinds[2:] == [
        ("reversal", 2, "-20.00", "move"),
        ("charge", 2, "10.00", "move"),
        ("charge", 2, "10.00", "move"),
    ]


async def test_a_group_that_was_taken_back_whole_goes_on_counting_its_revisions(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    link = PROPERTY["link"][0]
    await house.told({"link": [{**link, "point": "flat-2"}]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(0), "own": Fraction(26)}
    await house.told({"link": [link]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(20), "own": Fraction(6)}
    of_flat = [one for one in await house.published() if one["billing_point"] == "flat-1"]
    assert [(one["kind"], one["revision"]) for one in of_flat] == [("charge", 1), ("reversal", 2), ("charge", 3)]


async def test_a_missing_price_is_held_with_an_alarm_until_it_comes(house: House) -> None:
    short = {**PROPERTY["rate"][0], "prices": [{"from": "2026-01-01", "until": "2026-10-11", "price": "0.20"}]}
    await house.told({"rate": [short]})
    await house.counted(OCTOBER, "10", "100")
    await house.counted(OCTOBER + timedelta(days=10), "60", "100")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(10), "own": Fraction(0)}
    assert await house.alarms() == {("no_price", "heat-01-heat"), ("no_price", "heat-02-heat")}
    await house.told({"rate": PROPERTY["rate"]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(20), "own": Fraction(6)}
    assert not await house.alarms()


async def test_two_values_for_one_instant_hold_only_what_they_touch(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    for day, index in ((10, "40"), (11, "44"), (12, "48")):
        await house.counted(OCTOBER + timedelta(days=day), index)
    await house.counted(OCTOBER + timedelta(days=11), "45")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(30 + 62) / 5, "own": Fraction(6)}
    assert await house.alarms() == {("conflicting_reading", "heat-01-heat")}


async def test_what_was_published_stays_while_a_doubtful_reading_is_not_decided(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    await house.counted(NOVEMBER, "104")
    await house.told({})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(20), "own": Fraction(6)}
    (alarm,) = await house.store.open_alarms()
    assert (alarm.code, alarm.source) == ("conflicting_reading", "heat-01-heat")
    assert alarm.text.endswith("; what was published for it stays until then")
    assert await house.store.dirty()
    await house.store.void_readings("heat-01", "heat", NOVEMBER, "wrong", "test", CLOSED)
    await house.store.add_reading(reading(NOVEMBER, "104"), "right", "test", CLOSED)
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(94) / 5, "own": Fraction(6)}
    assert not await house.alarms()


async def test_why_something_is_held_is_logged_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, None, "130")
    for _ in range(2):
        await house.settler.settle_due()
    reasons = [one.getMessage() for one in caplog.records if ": held: " in one.getMessage()]
    assert reasons == ["heat-01-heat: held: no reading on both sides yet: charged once it arrives"]


async def test_one_point_without_a_price_keeps_what_was_shared_with_it(house: House) -> None:
    surfaces = [{**point, "surface": "50"} for point in PROPERTY["point"]]
    shares = [
        {"id": f"l-{no}", "register": "heat-01-heat", "point": f"flat-{no}", "scope": "unit", "key": "surface"}
        for no in (1, 2)
    ]
    await house.told({"point": surfaces, "link": shares})
    await house.counted(OCTOBER, "10")
    await house.counted(NOVEMBER, "110")
    await house.settler.settle_due()
    only_first = {**PROPERTY["rate"][0], "points": ["flat-1"]}
    await house.told({"point": [{**surfaces[0], "surface": "150"}, surfaces[1]], "rate": [only_first]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(10), "own": Fraction(10)}
    await house.told({"rate": PROPERTY["rate"]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(15), "own": Fraction(5)}


async def test_an_unlinked_register_falls_to_the_owner_with_an_alarm(house: House) -> None:
    link = {**PROPERTY["link"][0], "until": "2026-10-01"}
    await house.told({"link": [link]})
    await house.counted(OCTOBER, "10", "100")
    await house.counted(NOVEMBER, "110", "130")
    await house.settler.settle_due()
    assert await house.sums() == {"own": Fraction(26)}
    loose = next(one for one in await house.published() if one["billing_point"] == "_remainder")
    assert loose["payer"] == {"id": "own", "role": "owner", "reason": "unassigned"}
    assert await house.alarms() == {("unassigned", "heat-01-heat")}


async def test_another_unit_than_declared_is_held_and_stops_nothing_else(house: House) -> None:
    await house.counted(OCTOBER, None, "100")
    await house.counted(NOVEMBER, None, "130")
    for at, index in ((OCTOBER, "1"), (NOVEMBER, "2")):
        await house.store.keep([poll(replace(reading(at, index), unit="GJ"))])
    await house.settler.settle_due()
    assert await house.sums() == {"own": Fraction(6)}
    assert ("unit_mismatch", "heat-01-heat") in await house.alarms()
