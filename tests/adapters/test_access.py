"""Taps at a laundry: real reader protocol, real relay, real meter, real store."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from gateway.core.period import rfc3339
from gateway.core.session import State
from gateway.core.units import Scaled
from gateway.service.polled import polled
from gateway.service.sessions import chargeable
from gateway.service.settle import Settler
from tests.contract import broken, schema
from tests.laundry import ANNA, BLOCKED, CARETAKER, EXPIRED, HOUSE, WIRING, Laundry, RightClock, laundry, tell
from tests.outbox import HANGS
from tests.verifier import verify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

pytestmark = pytest.mark.steady

QUICK = HOUSE.replace('max_per_day = "100"', 'max_per_day = "10000000"')
"""of a meter that may count in a second what others count in an hour"""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Laundry]:
    async with laundry(tmp_path) as one:
        yield one


async def test_a_tap_becomes_a_wash_a_session_and_its_charges(here: Laundry) -> None:
    await here.wash(ANNA, 85)
    (session,) = await here.ended()
    assert (session["badge"], session["user"], session["point"]) == ("b-anna", "blumer", "flat-1")
    assert (session["access_point"], session["state"], session["stop_reason"]) == ("washer", "closed", "Local")
    assert (session["register_start"], session["register_end"]) == ("812.40", "813.25")
    assert (session["quantity"], session["unit"]) == ("0.85", "kWh")
    assert schema("session").is_valid(session)
    assert not any(schema("session").is_valid(wrong) for _, wrong in broken(session))
    cycle, energy = await here.events("charge")
    assert (energy["component"], energy["quantity"], energy["amount"]) == ("energy", "0.85", "0.24")
    assert (cycle["component"], cycle["quantity"], cycle["unit"], cycle["amount"]) == ("cycle", "1", "cycle", "1.20")
    for charge in (energy, cycle):
        assert schema("charge").is_valid(charge)
        assert charge["payer"] == {"id": "blumer", "role": "user", "reason": "occupancy"}
        assert (charge["billing_point"], charge["register"]) == ("flat-1", "power-import")
        assert charge["session"]["id"] == session["session_id"]
        assert charge["session"]["badge"] == "b-anna"
        assert (charge["session"]["start"], charge["session"]["end"]) == (session["started_at"], session["ended_at"])
    streams = {stream.kind: stream.name for stream in await here.store.streams()}
    events = await here.store.events(streams["charge"], 0, 10)
    told = [
        {"id": one.id, "seq": one.seq, "prevhash": one.prevhash, "hash": one.hash, "data": json.loads(one.data)}
        for one in events
    ]
    assert verify(told) == 2


async def test_the_register_passes_through_the_indexes_of_the_session(here: Laundry) -> None:
    await here.wash(ANNA, 85)
    (session,) = await here.ended()
    (kept,) = chargeable(
        await here.store.sessions("house", here.parts.clock.now() - timedelta(days=1), here.parts.clock.now())
    )
    readings = (await here.store.readings({"power"}, kept.start.at, kept.end.at))["power", "import"]
    assert [(one.at, str(one.index)) for one in readings] == [
        (kept.start.at, session["register_start"]),
        (kept.end.at, session["register_end"]),
    ]


async def test_a_wash_over_the_counters_highest_number_costs_what_it_used(tmp_path: Path) -> None:
    """Nobody has entered a modulus: the model knows that its counter has 32 bits."""
    async with laundry(tmp_path, house=QUICK, model="eltako-dsz15dzmod") as here:
        here.meter.counts["import"] = 2**32 - 10
        await here.wash(ANNA, 85)
        (session,) = await here.ended()
        assert (session["register_start"], session["register_end"]) == ("42949672.86", "0.75")
        assert session["quantity"] == "0.85"
        _, energy = await here.events("charge")
        assert energy["quantity"] == "0.85"
        (segment,) = energy["evidence"]["segments"]
        assert segment["modulus"] == "42949672.96"
        (kept,) = chargeable(
            await here.store.sessions("house", here.parts.clock.now() - timedelta(days=1), here.parts.clock.now())
        )
        (_, last) = (await here.store.readings({"power"}, kept.start.at, kept.end.at))["power", "import"]
        assert (last.modulus, kept.modulus) == (Scaled(2**32, -2), Scaled(2**32, -2))


@pytest.mark.parametrize("badge", [BLOCKED, EXPIRED, "04FFFFFFFFFFFF"])
async def test_a_refused_badge_gets_red_and_starts_nothing(here: Laundry, badge: str) -> None:
    assert await here.tap(badge) == "red"
    await here.wash(ANNA, 50)
    assert [one["badge"] for one in await here.ended()] == ["b-anna"]


async def test_a_held_card_is_one_tap(here: Laundry) -> None:
    assert await here.tap(ANNA) == "green"
    for _ in range(5):
        here.reader.hold(ANNA)
    await here.switched(on=True)
    here.meter.counts["import"] += 50
    await here.ended()
    assert here.reader.shown.empty()


async def test_the_owner_takes_the_permit_back(here: Laundry) -> None:
    assert await here.tap(ANNA) == "green"
    await here.switched(on=True)
    assert await here.tap(BLOCKED) == "red"  # somebody else's: and the badge has been away
    assert await here.tap(ANNA) == "green"
    await here.switched(on=False)
    (session,) = await here.ended()
    assert (session["quantity"], session["stop_reason"]) == ("0.00", "Local")
    assert await here.events("charge") == []


async def test_a_permit_that_nobody_uses_costs_nothing(tmp_path: Path) -> None:
    async with laundry(tmp_path, wiring=replace(WIRING, window=timedelta(seconds=0.3))) as here:
        assert await here.tap(ANNA) == "green"
        (session,) = await here.ended()
        assert (session["quantity"], session["stop_reason"]) == ("0.00", "TimeLimitReached")
        assert not here.relay.on
        assert await here.events("charge") == []


async def test_another_badge_during_a_run_is_refused_and_the_session_untouched(here: Laundry) -> None:
    assert await here.tap(ANNA) == "green"
    await here.switched(on=True)
    here.meter.counts["import"] += 50
    assert await here.tap(CARETAKER) == "red"
    (session,) = await here.ended()
    assert (session["badge"], session["quantity"]) == ("b-anna", "0.50")


async def test_a_relay_that_does_not_move_gives_red_an_alarm_and_no_charge(here: Laundry) -> None:
    here.relay.stuck = True
    assert await here.tap(ANNA) == "green"
    assert await here.reader.shown.get() == "red"
    (session,) = await here.ended()
    assert (session["quantity"], session["stop_reason"]) == ("0.00", "Other")
    await here.alarmed("relay_unconfirmed")
    assert await here.events("charge") == []


async def test_without_the_meter_no_permit_is_given(here: Laundry) -> None:
    here.meter.fault = "silence"
    assert await here.tap(ANNA) == "green"
    assert await here.reader.shown.get() == "red"
    await here.alarmed("meter_lost")
    (session,) = await here.ended()
    assert schema("session").is_valid(session)
    assert not here.relay.on
    here.meter.fault = None
    await here.wash(ANNA, 30)
    assert [one["quantity"] for one in await here.ended(2)] == ["0.00", "0.30"]


async def test_a_gateway_that_begins_again_in_mid_cycle_adopts_the_run(here: Laundry) -> None:
    assert await here.tap(ANNA) == "green"
    await here.switched(on=True)
    await here.stop()
    here.meter.counts["import"] += 40
    await here.restart()
    assert here.relay.on
    here.meter.counts["import"] += 10
    (session,) = await here.ended()
    assert session["quantity"] == "0.50"
    assert [one["component"] for one in await here.events("charge")] == ["cycle", "energy"]


async def test_a_reader_that_is_pulled_out_is_told_and_comes_back(here: Laundry) -> None:
    assert await here.tap(BLOCKED) == "red"
    here.reader.unplug()
    await here.alarmed("reader_down")
    here.reader.plug()
    await here.alarmed("reader_down", over=True)
    await here.wash(ANNA, 20)


async def test_a_badge_that_is_blocked_now_is_refused_now(here: Laundry) -> None:
    await here.wash(ANNA, 20)
    await here.ended()
    await tell(here.store, HOUSE.replace('id = "b-anna"', 'id = "b-anna"\nstate = "blocked"'))
    here.point.refresh()
    async with asyncio.timeout(HANGS):
        while True:  # it is told in a moment
            assert await here.tap(BLOCKED) == "red"  # so that the other badge has been away
            if await here.tap(ANNA) == "red":
                break


async def test_a_machine_that_the_property_data_does_not_know_refuses_and_says_what_is_missing(tmp_path: Path) -> None:
    house = HOUSE.replace('key = "import"', 'key = "export"')
    async with laundry(tmp_path, house=house) as here:
        assert await here.tap(ANNA) == "red"
        await here.alarmed("machine_unknown")
        await tell(here.store, HOUSE)
        here.point.refresh()
        await here.alarmed("machine_unknown", over=True)
        await here.wash(CARETAKER, 20)


async def test_an_identifier_stands_in_no_log_no_event_and_no_file(
    here: Laundry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await here.tap(BLOCKED)
    await here.tap("04FFFFFFFFFFFF")
    await here.wash(ANNA, 20)
    await here.ended()
    await here.stop()
    told = json.dumps([await here.events("session"), await here.events("charge"), await here.events("alarm")])
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("gateway.db*"))
    for identifier in (ANNA, BLOCKED, "04FFFFFFFFFFFF"):
        for form in (identifier, identifier.lower()):
            assert form not in told + caplog.text
            assert form.encode() not in kept
        assert bytes.fromhex(identifier) not in kept


async def test_a_wash_before_the_clock_was_right_is_billed_once_it_is_at_the_price_of_its_placed_tap(
    tmp_path: Path,
) -> None:
    dear = HOUSE.replace('[{ price = "1.20" }]', '[{ price = "9.90" }, { from = 2021-01-01, price = "1.20" }]')
    async with laundry(tmp_path, house=dear) as here:
        before = here.clock.now()
        here.clock.boot()
        await here.wash(ANNA, 50)
        await here.alarmed("session_unbilled")
        after = RightClock().now()
        await here.stop()
        assert await here.events("session") == []
        await here.restart()  # the daemon, not the box: the monotonic clock goes on
        here.clock.behind = timedelta(0)
        here.point.refresh()
        (session,) = await here.ended()
        assert (session["clock"], session["quantity"]) == ("placed", "0.50")
        assert rfc3339(before) <= session["started_at"] < session["ended_at"] <= rfc3339(after)
        assert schema("session").is_valid(session)
        await here.alarmed("session_unbilled", over=True)
        cycle, energy = await here.events("charge")
        assert (cycle["amount"], cycle["payer"]["id"], energy["quantity"]) == ("1.20", "blumer", "0.50")
        await here.restart()
        await here.stop()
        await close_month_of(here)
        assert (await here.events("charge"))[:2] == [cycle, energy]
        assert await energy_of(here) == {"blumer": "0.50"}


async def test_a_wash_in_which_the_clock_is_set_right_keeps_its_length_and_its_energy(here: Laundry) -> None:
    here.clock.boot()
    assert await here.tap(ANNA) == "green"
    await here.switched(on=True)
    here.clock.behind = timedelta(0)
    began = here.clock.now() - timedelta(seconds=5)
    here.meter.counts["import"] += 50
    (session,) = await here.ended()
    assert (session["clock"], session["quantity"]) == ("placed", "0.50")
    assert rfc3339(began) < session["started_at"] < session["ended_at"]
    assert len(await here.events("charge")) == 2


async def test_a_wash_whose_boot_ended_before_the_clock_was_right_is_told_and_its_energy_is_the_owners(
    tmp_path: Path,
) -> None:
    async with laundry(tmp_path, house=QUICK) as here:
        await here.wash(ANNA, 10)
        await here.ended()
        here.clock.boot()
        await here.tap(BLOCKED)  # so that the other badge has been away
        await here.wash(ANNA, 50)
        await here.alarmed("session_unbilled")
        await here.reboot()
        _, session = await here.ended(2)
        assert (session["clock"], session["quantity"], session["started_at"][:4]) == ("untrusted", "0.50", "1970")
        await here.tap(BLOCKED)
        await here.wash(ANNA, 20)
        await here.ended(3)
        await here.alarmed("session_unbilled")
        await here.stop()
        await close_month_of(here)
        assert await energy_of(here) == {"blumer": "0.30", "ag": "0.50"}


async def test_a_wash_that_gets_its_place_after_its_month_was_closed_is_taken_off_what_the_owner_paid(
    tmp_path: Path,
) -> None:
    async with laundry(tmp_path, house=QUICK) as here:
        await here.wash(ANNA, 10)
        await here.ended()
        here.clock.boot()
        await here.tap(BLOCKED)  # so that the other badge has been away
        await here.wash(ANNA, 50)
        await here.alarmed("session_unbilled")
        await here.stop()
        here.clock.behind = timedelta(0)
        answer = await here.parts.bus.read("power")
        for later in (0, 69):
            at = here.clock.now() + timedelta(days=later)
            await here.store.keep([polled(answer, at, "boot-1", trusted=True)])
        await close_month_of(here)
        assert await here.store.dirty() == []
        assert await energy_of(here) == {"blumer": "0.10", "ag": "0.50"}
        await here.restart()
        await here.ended(2)
        await here.stop()
        await close_month_of(here)
        assert await energy_of(here) == {"blumer": "0.60"}


async def test_a_run_that_is_adopted_after_its_months_were_closed_is_taken_off_what_the_owner_paid(
    tmp_path: Path,
) -> None:
    async with laundry(tmp_path, house=QUICK) as here:
        answer = await here.parts.bus.read("power")
        await here.store.keep([polled(answer, here.clock.now(), "boot-1", trusted=True)])
        assert await here.tap(ANNA) == "green"
        await here.switched(on=True)
        await here.is_in(State.ARMED)
        await here.stop()
        here.meter.counts["import"] += 40
        answer = await here.parts.bus.read("power")
        for later in (timedelta(0), timedelta(days=70)):
            here.clock.later = later
            await here.store.keep([polled(answer, here.clock.now(), "boot-1", trusted=True)])
        await settle(here, here.clock.later)
        assert await energy_of(here) == {"ag": "0.40"}
        await here.restart()
        here.meter.counts["import"] += 10
        await here.ended()
        await here.stop()
        await settle(here, here.clock.later)
        assert await energy_of(here) == {"blumer": "0.50"}


async def test_a_badge_that_did_not_hold_at_the_placed_tap_is_not_charged(here: Laundry) -> None:
    here.clock.boot()
    await here.wash(EXPIRED, 50)  # in 1970 it was not yet
    here.clock.behind = timedelta(0)
    here.point.refresh()
    (session,) = await here.ended()
    assert (session["clock"], session["badge"]) == ("placed", "b-expired")
    await here.alarmed("session_unbilled")
    assert await here.events("charge") == []


async def test_closing_the_month_leaves_the_charges_of_its_sessions_as_they_are(here: Laundry) -> None:
    await here.wash(ANNA, 85)
    await here.ended()
    before = [one for one in await here.events("charge") if one["session"]]
    await here.stop()
    await close_month_of(here)
    after = [one for one in await here.events("charge") if one["session"]]
    assert after == before


async def test_a_wash_without_a_price_is_told_until_there_is_one(tmp_path: Path) -> None:
    price = 'prices = [{ price = "1.20" }]'
    async with laundry(
        tmp_path, house=QUICK.replace(price, 'prices = [{ from = 2090-01-01, price = "1.20" }]')
    ) as here:
        await here.wash(ANNA, 50)
        await here.ended()
        await here.alarmed("no_price")
        await settle(here)
        await here.alarmed("no_price")
        await tell(here.store, QUICK)
        await settle(here)
        await here.alarmed("no_price", over=True)
        await close_month_of(here)
        washed = [one for one in await here.events("charge") if one["session"]]
        assert sorted((one["component"], one["amount"]) for one in washed) == [("cycle", "1.20"), ("energy", "0.14")]


async def settle(here: Laundry, later: timedelta = timedelta(0)) -> None:
    """As the settler does, some time later."""

    class Later(RightClock):
        def now(self) -> datetime:
            return super().now() + later

    clock = Later()
    await Settler(store=here.store, clock=clock, bell=clock.bell(), gateway="gw-01", beat=lambda: None).settle_due()


async def energy_of(here: Laundry) -> dict[str, str]:
    """Who pays for how much of the register."""
    found: dict[str, Fraction] = defaultdict(Fraction)
    for charge in await here.events("charge"):
        if charge["component"] == "energy":
            found[charge["payer"]["id"]] += Fraction(charge["quantity"])
    return {payer: f"{float(kwh):.2f}" for payer, kwh in found.items() if kwh}


async def close_month_of(here: Laundry) -> None:
    """As the settler does, some months later."""
    await settle(here, timedelta(days=70))
    assert await here.store.closed_months("house")
