"""A clock that is wrong, is set right and goes wrong again: poller, store and settler with an injected clock."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from gateway.core.units import Scaled
from gateway.ports.field import Answer, RegisterValue
from gateway.service.poll import Line, Poller
from gateway.service.records import PropertyChange
from gateway.service.settle import Settler
from gateway.store import Store
from gateway.store.charges import ChargeFilter
from tests.adapters.stores import new_store
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, PROPERTY

if TYPE_CHECKING:
    from pathlib import Path

HOUR = timedelta(hours=1)
RIGHT = timedelta(0)
BOOT = datetime(1970, 1, 1, tzinfo=UTC)
ERRORS = (HOUR, -HOUR, timedelta(days=365), timedelta(days=-365), timedelta(days=3652), timedelta(days=-3652))
DECEMBER = datetime(2026, 11, 30, 23, tzinfo=UTC)
METERS = ("heat-01", "heat-02")


def flown(start: datetime, until: datetime) -> dict[str, Fraction]:
    """What each register has counted, in kWh."""
    return {f"{meter}-heat": Fraction((until - start) // timedelta(seconds=1), 1000) for meter in METERS}


def billed(charges: list[dict[str, Any]]) -> dict[str, Fraction]:
    found: dict[str, Fraction] = defaultdict(Fraction)
    for charge in charges:
        found[charge["register"]] += Fraction(charge["quantity"])
    return found


class WildClock:
    """True time passes; what the clock shows is true only when its error is none, and only then is it trusted."""

    def __init__(self, true: datetime) -> None:
        self.true = true
        self.begun = true
        self.error = RIGHT
        self.right_soon = False
        """it is set right once it has been asked for the time"""

    def now(self) -> datetime:
        shown = self.true + self.error
        if self.right_soon:
            self.error = RIGHT
        return shown

    def monotonic(self) -> float:
        return (self.true - self.begun).total_seconds()

    def trusted(self) -> bool:
        return self.error == RIGHT

    async def until(self, instant: datetime) -> None:
        raise NotImplementedError  # the tests call each round themselves

    wait = until

    def boot(self) -> None:
        self.error = BOOT - self.true


class House:
    """Two meters that count a thousandth of a kWh a second, read, kept and billed."""

    def __init__(self, store: Store, true: datetime) -> None:
        self.store = store
        self.clock = WildClock(true)
        self.right_while_asked = False
        self.settler = Settler(store=store, clock=self.clock, bell=self.clock, gateway="gw", beat=lambda: None)
        self.reboot()

    def reboot(self) -> None:
        line = Line(id="line", poll=HOUR, meters=METERS)
        self.poller = Poller(
            line, self, clock=self.clock, store=self.store, alarms=self.store, boot="boot", beat=lambda: None
        )

    def index(self, true: datetime) -> Scaled:
        return Scaled((true - OCTOBER) // timedelta(seconds=1) + 1_000_000_000, -3)

    async def read(self, meter: str) -> Answer:
        self.clock.right_soon = self.right_while_asked
        value = RegisterValue(register="heat", index=self.index(self.clock.true), unit="kWh", obis="6-0:1.0.0")
        return Answer(meter=meter, serial="4711", status=0, values=(value,), raw=b"\x68")

    async def close(self) -> None:
        pass

    async def told(self) -> None:
        rows = [(kind, row) for kind, table in PROPERTY.items() for row in table]
        changes = [PropertyChange(kind=kind, id=row["id"], value=json.dumps(row)) for kind, row in rows]
        await self.store.record_property(changes, "test", OCTOBER)

    async def go(self, to: datetime) -> None:
        """Poll and settle at this true instant."""
        self.clock.true = to
        await self.poller._round(to)  # noqa: SLF001 - the deadlines of a wild clock have tests of their own
        await self.settler.settle_due()

    async def published(self) -> list[dict[str, Any]]:
        return [json.loads(one.data) for one in await self.store.all_charges(ChargeFilter())]

    async def trusted(self) -> dict[datetime, Scaled]:
        """The readings of the first meter that may be billed."""
        ever = datetime(1960, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)
        found = await self.store.readings(METERS, *ever)
        return {one.at: one.index for one in found["heat-01", "heat"] if one.clock_trusted}


async def test_what_was_read_in_1970_is_placed_in_time_once_it_is_known_and_then_billed(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)) as store:
        house = House(store, OCTOBER - HOUR)
        await house.told()
        house.clock.boot()
        for hours in range(3):
            await house.go(OCTOBER + (hours - 1) * HOUR)
        assert await house.trusted() == {}
        assert await store.first_reading() is None
        house.clock.error = RIGHT
        await house.go(OCTOBER + 2 * HOUR)
        expected = [OCTOBER + (hours - 1) * HOUR for hours in range(4)]
        assert await house.trusted() == {at: house.index(at) for at in expected}
        house.clock.error = timedelta(days=365)
        await house.go(OCTOBER + 3 * HOUR)
        assert await store.closed_months() == [], "no month of a year that has not come"
        house.clock.error = RIGHT
        for at in (NOVEMBER, CLOSED):
            await house.go(at)
        assert [one.month for one in await store.closed_months()] == ["2026-09", "2026-10"], "none of 1970"
        charged = await house.published()
    assert billed([one for one in charged if one["closing"] == "2026-10"]) == flown(OCTOBER, NOVEMBER)


async def test_a_clock_that_is_set_right_while_it_is_asked_makes_1970_no_trusted_time(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)) as store:
        house = House(store, OCTOBER)
        house.clock.boot()
        house.right_while_asked = True
        await house.poller._round(OCTOBER)  # noqa: SLF001 - as in House.go
        assert house.clock.trusted()
        await house.go(OCTOBER + HOUR)
        assert min(await house.trusted()) >= OCTOBER


async def test_a_thousand_jumps_of_the_clock_bill_no_untrusted_time_nothing_twice_and_nothing_negative(
    tmp_path: Path,
) -> None:
    chance = random.Random(1970)
    async with Store(new_store(tmp_path)) as store:
        house = House(store, OCTOBER)
        await house.told()
        await house.go(OCTOBER)
        true = OCTOBER
        for _ in range(1000):
            house.clock.error = chance.choice((RIGHT, *ERRORS))
            if chance.random() < 0.02:
                house.clock.boot()
                house.reboot()  # what had no time yet is gone with the process
            true += timedelta(seconds=chance.randint(1, 7200))
            await house.go(true)
        house.clock.error = RIGHT
        for at in (true + HOUR, DECEMBER, DECEMBER + timedelta(hours=48)):
            assert at > true
            await house.go(at)
        believed = await house.trusted()
        assert believed == {at: house.index(at) for at in believed}, "each at the instant at which it was read"
        charged = await house.published()
    assert all(Fraction(one["quantity"]) >= 0 for one in charged if one["kind"] == "charge")
    assert billed(charged) == flown(OCTOBER, DECEMBER)
