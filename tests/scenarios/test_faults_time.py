"""The clock of the whole process: in 1970 at the boot, set right, and stepped by an hour and a year and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.clock import SystemClock
from gateway.store import StoreView
from tests.broker import ROOT as PROJECT
from tests.delivery import listening
from tests.ordeal import ordeal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker
    from tests.delivery import Ear

LIBRARY = PROJECT / ".tools" / "libfaketime.so.1"
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
YEAR = timedelta(days=365)
MAINS = "power-"
"""meters without a battery: they are read every second, the others as often as theirs allows"""
BOOT = datetime(1970, 1, 2, tzinfo=UTC)
PROGRAM = """
from pathlib import Path
from gateway import cli, clock
clock.TIMESYNC = Path({synchronised!r})
clock._kernel_synchronised = lambda: False
cli.main()
"""


class Wall:
    """The clock on the gateway's wall."""

    def __init__(self, folder: Path) -> None:
        if not LIBRARY.exists():
            pytest.skip("libfaketime is missing: scripts/get-faketime, or sudo apt install faketime")
        self._offset = folder / "offset"
        self._synchronised = folder / "synchronised"
        self.program = ("-c", PROGRAM.format(synchronised=str(self._synchronised)))
        self.environment = {
            "SUBMETER_CLOCK": "",
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def show(self, error: timedelta, *, synchronised: bool) -> None:
        """Be wrong by so much from now on, and believed or not."""
        if not synchronised:
            self._synchronised.unlink(missing_ok=True)
        whole = self._offset.with_suffix(".new")
        whole.write_text(f"{error // SECOND:+d}\n", encoding="utf-8")
        whole.replace(self._offset)
        if synchronised:
            self._synchronised.touch()


def at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["data"]["at"])


def readings(ear: Ear, *, trusted: bool) -> list[dict[str, Any]]:
    """What has been delivered so far, each once."""
    events = {(event["stream"], event["seq"]): event for event in ear.events("readings/")}
    return [event for event in events.values() if event["data"]["clock_trusted"] is trusted]


async def test_a_box_that_boots_in_1970_bills_nothing_of_it_and_places_its_readings_once_it_knows_the_time(
    broker: Broker, tmp_path: Path
) -> None:
    wall = Wall(tmp_path)
    error = (BOOT - SystemClock().now()) // SECOND * SECOND
    wall.show(error, synchronised=False)
    async with (
        ordeal(tmp_path, broker, poll=SECOND) as one,
        listening(broker.host, broker.port) as ear,
        one.living(wall.program, **wall.environment),
    ):
        rounds = 2 * len(one.meters.truth.devices)
        await ear.until(lambda: len(readings(ear, trusted=False)) >= rounds)
        wall.show(timedelta(0), synchronised=True)
        await ear.until(lambda: len(readings(ear, trusted=True)) >= len(readings(ear, trusted=False)) + rounds)
        placed = readings(ear, trusted=True)
        for event in readings(ear, trusted=False):
            assert at(event).year == 1970
            right = at(event) - error
            same = [other for other in placed if other["subject"] == event["subject"]]
            assert min(abs(at(other) - right) for other in same) < SECOND
        async with StoreView(one.url) as view:
            assert await view.closed_months() == []
            started = await view.first_reading()
            assert started is not None
            assert started > BOOT + YEAR


async def test_a_year_ahead_that_is_called_synchronised_is_told_and_bills_nothing_until_it_is_put_right(
    broker: Broker, tmp_path: Path
) -> None:
    wall = Wall(tmp_path)
    wall.show(timedelta(0), synchronised=True)
    async with (
        ordeal(tmp_path, broker, poll=SECOND) as one,
        listening(broker.host, broker.port) as ear,
        one.living(wall.program, **wall.environment),
    ):
        rounds = 2 * len(one.meters.truth.devices)
        await ear.until(lambda: len(readings(ear, trusted=True)) >= rounds)
        wall.show(YEAR, synchronised=True)
        await ear.until(lambda: [one["data"]["ended"] for one in clock_alarms(ear)] == [None])
        await ear.until(lambda: bool(readings(ear, trusted=False)))
        wall.show(timedelta(0), synchronised=True)
        right = len(readings(ear, trusted=True))
        await ear.until(lambda: len(clock_alarms(ear)) == 2)
        await ear.until(lambda: len(readings(ear, trusted=True)) >= right + rounds)
        now = SystemClock().now()
        assert all(abs(at(event) - now) < HOUR for event in readings(ear, trusted=True))
        assert all(at(event) > now + YEAR / 2 for event in readings(ear, trusted=False))
        async with StoreView(one.url) as view:
            assert await view.closed_months() == [], "no month of a year that has not come"


def clock_alarms(ear: Ear) -> list[dict[str, Any]]:
    """Each begin and end of the clock's alarm."""
    events = {(event["stream"], event["seq"]): event for event in ear.events("alarms/")}
    return [event for event in events.values() if event["data"]["code"] == "clock_untrusted"]


async def test_a_clock_that_is_stepped_by_an_hour_and_a_year_and_back_costs_no_poll_and_makes_none_twice(
    broker: Broker, tmp_path: Path
) -> None:
    wall = Wall(tmp_path)
    steps = [
        (timedelta(0), True),
        (HOUR, True),
        (-HOUR, True),
        (YEAR, False),
        (-YEAR, False),
    ]
    wall.show(timedelta(0), synchronised=True)
    async with (
        ordeal(tmp_path, broker, poll=SECOND) as one,
        listening(broker.host, broker.port) as ear,
        one.living(wall.program, **wall.environment),
    ):
        for error, believed in steps:
            wall.show(error, synchronised=believed)
            shown = SystemClock().now() + error

            def polled_then(shown: datetime = shown, *, believed: bool = believed) -> bool:
                found = [event for event in readings(ear, trusted=believed) if abs(at(event) - shown) < HOUR / 2]
                return {event["subject"] for event in found} >= {
                    f"readings/{device.id}" for device in one.meters.truth.devices if device.id.startswith(MAINS)
                }

            await ear.until(polled_then)
        everything = readings(ear, trusted=True) + readings(ear, trusted=False)
        assert len({(event["subject"], event["data"]["at"]) for event in everything}) == len(everything)
        async with StoreView(one.url) as view:
            assert await view.closed_months() == [], "no month of a time that never was"
