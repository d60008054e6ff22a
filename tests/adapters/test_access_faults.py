"""What can go wrong at a machine, and who pays then: real reader protocol, real relay, real meter, real store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.core.period import local_date
from gateway.core.session import State, stepping
from gateway.service import access
from tests.adapters.test_access import QUICK, close_month_of, energy_of
from tests.laundry import ANNA, BLOCKED, CARETAKER, HOUSE, WIRING, Laundry, RightClock, laundry, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.steady

DAY = timedelta(days=1)
ZONE = "Europe/Zurich"


SLOW = replace(WIRING, quiet=timedelta(seconds=1))
"""time enough for something to happen in the middle of a run"""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Laundry]:
    async with laundry(tmp_path, wiring=SLOW) as one:
        yield one


async def running(here: Laundry, hundredths: int) -> None:
    """Anna's wash, in the middle."""
    assert await here.tap(ANNA) == "green"
    await here.switched(on=True)
    here.meter.counts["import"] += hundredths
    await here.is_in(State.RUNNING)


async def charged(here: Laundry) -> list[tuple[str, str, str, str]]:
    """Who pays what for which quantity, of the sessions."""
    found = [one for one in await here.events("charge") if one["session"]]
    return sorted((one["payer"]["id"], one["component"], one["quantity"], one["amount"]) for one in found)


async def test_a_badge_of_another_access_point_is_invalid_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    at_the_dryer = 'identifier = "04000000000003"\naccess_points = ["dryer"]'
    house = HOUSE.replace('identifier = "04000000000003"\naccess_points = ["washer"]', at_the_dryer)
    async with laundry(tmp_path, house=house, wiring=SLOW) as here:
        assert await here.tap(CARETAKER) == "red"
    assert "b-caretaker: Answer(result='Invalid')" in caplog.text


async def test_a_badge_with_a_session_at_another_machine_begins_none_here(here: Laundry) -> None:
    here.parts.busy["dryer"] = "b-anna"
    assert await here.tap(ANNA) == "red"
    del here.parts.busy["dryer"]
    assert await here.tap(BLOCKED) == "red"  # so that the other badge has been away
    await here.wash(ANNA, 50)
    assert len(await here.ended()) == 1


async def test_of_two_badges_that_cannot_be_told_apart_none_is_picked(tmp_path: Path) -> None:
    async with laundry(tmp_path, house=HOUSE.replace(CARETAKER, ANNA)) as here:
        assert await here.tap(ANNA) == "red"
        await here.alarmed("badge_collision")
        assert await here.store.open_sessions() == []


@pytest.mark.parametrize("box_too", [False, True])
async def test_a_power_cut_before_the_start_costs_nothing(here: Laundry, *, box_too: bool) -> None:
    assert await here.tap(ANNA) == "green"
    await here.switched(on=True)
    await here.is_in(State.ARMED)
    here.relay.on = False
    if box_too:
        await here.reboot()
    (session,) = await here.ended()
    assert (session["quantity"], session["stop_reason"]) == ("0.00", "PowerLoss")
    assert await here.events("charge") == []


async def test_after_a_power_cut_in_a_run_its_user_goes_on_and_pays_one_cycle(here: Laundry) -> None:
    await running(here, 30)
    here.relay.on = False
    await here.is_in(State.INTERRUPTED)
    assert await here.tap(CARETAKER) == "red"
    assert await here.tap(ANNA) == "green"
    await here.switched(on=True)
    here.meter.counts["import"] += 20
    (session,) = await here.ended()
    assert (session["badge"], session["quantity"]) == ("b-anna", "0.50")
    assert await charged(here) == [("blumer", "cycle", "1", "1.20"), ("blumer", "energy", "0.50", "0.14")]


@pytest.mark.parametrize("box_too", [False, True])
async def test_after_a_power_cut_in_a_run_without_a_tap_what_was_counted_is_paid(
    here: Laundry, monkeypatch: pytest.MonkeyPatch, *, box_too: bool
) -> None:
    monkeypatch.setattr(stepping, "GRACE_S", 0.2)
    await running(here, 30)
    here.relay.on = False
    if box_too:
        await here.reboot()
    (session,) = await here.ended()
    assert (session["quantity"], session["stop_reason"]) == ("0.30", "PowerLoss")
    assert await charged(here) == [("blumer", "cycle", "1", "1.20"), ("blumer", "energy", "0.30", "0.08")]


async def test_what_a_machine_takes_through_a_stuck_relay_is_the_owners_and_not_the_last_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(access.SAMPLES_S, State.IDLE, 0.2)
    async with laundry(tmp_path, house=QUICK, wiring=SLOW) as here:
        await running(here, 50)
        here.relay.stuck = True
        (session,) = await here.ended()
        await here.alarmed("relay_mismatch")
        here.meter.counts["import"] += 40
        await here.alarmed("unattributed_use")
        here.relay.stuck = False
        await here.alarmed("relay_mismatch", over=True)
        assert await here.tap(BLOCKED) == "red"
        await here.wash(CARETAKER, 10)
        assert len(await here.ended(2)) == 2
        await here.stop()
        await close_month_of(here)
        assert session["quantity"] == "0.50"
        assert await energy_of(here) == {"blumer": "0.50", "ag": "0.50"}
        rest = [one for one in await here.events("charge") if not one["session"] and one["quantity"] != "0.00"]
        assert [(one["quantity"], one["payer"]["reason"]) for one in rest] == [("0.40", "unattributed")]


async def test_a_meter_that_is_silent_in_a_run_closes_it_with_its_next_reading(here: Laundry) -> None:
    await running(here, 30)
    here.meter.fault = "silence"
    await here.alarmed("meter_lost")
    here.meter.counts["import"] += 20
    assert await here.tap(CARETAKER) == "red"
    assert await here.events("session") == []
    here.meter.fault = None
    (session,) = await here.ended()
    assert (session["badge"], session["quantity"]) == ("b-anna", "0.50")
    await here.alarmed("meter_lost", over=True)


async def test_who_moves_out_during_a_wash_pays_it_at_the_price_of_its_beginning(tmp_path: Path) -> None:
    today = local_date(RightClock().now(), ZONE)
    house = HOUSE.replace("entry = 2021-01-01 }", f"entry = 2021-01-01, exit = {today} }}")
    house = house.replace('[{ price = "1.20" }]', f'[{{ price = "1.20" }}, {{ from = {today + DAY}, price = "9.90" }}]')
    async with laundry(tmp_path, house=house, wiring=SLOW) as here:
        await running(here, 50)
        here.clock.later = 2 * DAY
        (session,) = await here.ended()
        assert session["started_at"][:10] < session["ended_at"][:10]
        assert await charged(here) == [("blumer", "cycle", "1", "1.20"), ("blumer", "energy", "0.50", "0.14")]
        assert await here.tap(BLOCKED) == "red"
        assert await here.tap(ANNA) == "red"


async def test_a_badge_that_is_blocked_during_its_run_pays_the_run_and_begins_no_other(here: Laundry) -> None:
    await running(here, 30)
    await tell(here.store, HOUSE.replace('id = "b-anna"', 'id = "b-anna"\nstate = "blocked"'))
    here.point.refresh()
    here.meter.counts["import"] += 20
    (session,) = await here.ended()
    assert (session["quantity"], session["stop_reason"]) == ("0.50", "Local")
    assert await charged(here) == [("blumer", "cycle", "1", "1.20"), ("blumer", "energy", "0.50", "0.14")]
    assert await here.tap(BLOCKED) == "red"
    assert await here.tap(ANNA) == "red"
