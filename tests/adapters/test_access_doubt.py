"""Sessions of a machine whose meter turns out to be another: real meter, real store, the judge of the daemon."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.service.command_execute import Commander
from gateway.service.command_schema import VoidReading, VoidSpan
from gateway.service.judge import Judge
from gateway.service.sessions import chargeable
from tests.adapters.test_access import close_month_of, energy_of, settle
from tests.laundry import ANNA, BLOCKED, HOUSE, Laundry, laundry, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from gateway.core.charge import EndedSession

pytestmark = pytest.mark.steady

OWN, STRANGER = "4711", "4712"
FAST = HOUSE.replace('max_per_day = "100"', 'max_per_day = "10000000"')
"""of a meter that may count in a second what others count in an hour"""
DAY = timedelta(days=1)


def named(serial: str) -> str:
    """Property data that say the number on the machine's meter."""
    return FAST.replace('of the washing machine"\n[[register]]', f'of it"\nserial = "{serial}"\n[[register]]')


@asynccontextmanager
async def washer(folder: Path, house: str) -> AsyncIterator[Laundry]:
    """A washing machine behind a meter that says its number; readings are judged as they are by the daemon."""
    async with laundry(folder, house=house, model="eastron-sdm230") as one:
        one.parts = replace(one.parts, readings=Judge(one.store, one.store, one.store))
        one.meter.serial = OWN
        await one.restart()
        yield one


def exchanged(here: Laundry, serial: str) -> None:
    """Another meter answers; who it is, is asked once a minute."""
    here.meter.serial = serial
    here.clock.later += timedelta(seconds=61)


async def charged(here: Laundry) -> list[str]:
    """The energy that sessions were charged for, taken back or not."""
    events = [one for one in await here.events("charge") if one["session"] and one["component"] == "energy"]
    return [one["quantity"] for one in events]


async def sessions(here: Laundry) -> Sequence[EndedSession]:
    now = here.clock.now()
    return chargeable(await here.store.sessions("house", now - DAY, now + DAY))


async def void(here: Laundry, session: EndedSession) -> None:
    for at in (session.start.at, session.end.at):
        await here.store.void_readings("power", "import", at, "crossed", "meier", here.clock.now(), [])


async def test_a_wash_that_a_crossed_meter_counted_is_charged_once_property_data_name_that_meter(
    tmp_path: Path,
) -> None:
    async with washer(tmp_path, named(STRANGER)) as here:
        await here.wash(ANNA, 85)
        await here.ended()
        await here.alarmed("reading_implausible")
        await here.alarmed("identity_changed")
        assert await here.events("charge") == []
        await settle(here)
        await here.alarmed("identity_changed")
        await tell(here.store, named(OWN))
        await settle(here)
        await here.alarmed("identity_changed", over=True)
        await here.stop()
        await close_month_of(here)
        assert await charged(here) == ["0.85"]


async def test_a_wash_after_an_unnoticed_exchange_is_held_and_is_the_owners_once_its_readings_are_void(
    tmp_path: Path,
) -> None:
    async with washer(tmp_path, FAST) as here:
        await here.wash(ANNA, 85)
        await here.ended()
        assert await charged(here) == ["0.85"]
        exchanged(here, STRANGER)
        for count in (2, 3):
            await here.tap(BLOCKED)  # so that the other badge has been away
            await here.wash(ANNA, 50)
            await here.ended(count)
        await settle(here)
        await here.alarmed("identity_changed")
        exchanged(here, OWN)
        await here.tap(BLOCKED)
        await here.wash(ANNA, 20)
        await here.ended(4)
        assert await charged(here) == ["0.85", "0.20"]
        for session in (await sessions(here))[1:3]:
            await void(here, session)
        await settle(here)
        await here.alarmed("identity_changed", over=True)
        await here.stop()
        await close_month_of(here)
        assert await charged(here) == ["0.85", "0.20"]
        assert await energy_of(here) == {"blumer": "1.05", "ag": "1.00"}


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_wash_in_which_another_meter_begins_to_answer_is_held(tmp_path: Path, *, restarted: bool) -> None:
    async with washer(tmp_path, FAST) as here:
        assert await here.tap(ANNA) == "green"
        await here.switched(on=True)
        if restarted:
            await here.restart()
        exchanged(here, STRANGER)
        here.meter.counts["import"] += 5000
        await here.switched(on=False)
        await here.ended()
        await here.alarmed("identity_changed")
        (session,) = await sessions(here)
        assert (session.first_serial, session.serial) == (OWN, STRANGER)
        assert await here.events("charge") == []


async def test_a_wash_that_was_charged_is_taken_back_once_its_readings_are_void(tmp_path: Path) -> None:
    async with washer(tmp_path, FAST) as here:
        await here.wash(ANNA, 85)
        await here.ended()
        await here.stop()
        (session,) = await sessions(here)
        await void(here, session)
        await close_month_of(here)
        assert await charged(here) == ["0.85", "-0.85"]


@pytest.mark.parametrize("stretch", [False, True])
async def test_who_voids_the_readings_of_a_wash_is_told_what_becomes_of_it(tmp_path: Path, *, stretch: bool) -> None:
    async with washer(tmp_path, FAST) as here:
        await here.wash(ANNA, 85)
        await here.ended()
        (session,) = await sessions(here)
        begun, now = session.start.at.isoformat(), here.clock.now().isoformat()
        commander = Commander(store=here.store, clock=here.clock, seal=lambda identifier: identifier)
        one: dict[str, object] = {"meter": "power", "register": "import", "reason": "crossed"}
        command: VoidReading | VoidSpan = VoidReading.model_validate({**one, "at": begun})
        if stretch:
            command = VoidSpan.model_validate({**one, "from": begun, "to": now, "yes": True})
        answer = await commander.execute(command, "meier")
        assert answer.applied, answer.problems
        assert answer.said == (
            f"1 session began or ended with what is void now ({session.id}): not charged, or taken back when the month"
            " is settled; what was used is the owner's"
        )
