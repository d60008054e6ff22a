"""A reader that reports thousands of badges a second: few are judged, and who holds a known badge to it has a turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.core.access import TAPS_PER_S
from gateway.service import access
from tests.laundry import ANNA, BLOCKED, EXPIRED, Laundry, laundry
from tests.outbox import HANGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.steady

STRANGERS = 200
"""so many fit what the line holds"""


@pytest.fixture
async def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Laundry]:
    """Its monotonic clock stands still until a test moves it."""
    async with laundry(tmp_path) as one:
        assert await one.tap(BLOCKED) == "red"  # the line is open by then
        now = one.clock.monotonic()
        monkeypatch.setattr(type(one.clock), "monotonic", lambda _: now)
        yield one


async def storm(here: Laundry) -> list[str]:
    """Many strangers' badges at once, and one that is known; what the lamp shows until that."""
    for number in range(STRANGERS):
        here.reader.hold(f"05{number:012X}")
    here.reader.hold(ANNA)
    shown = [""]
    async with asyncio.timeout(HANGS):
        while shown[-1] != "green":
            shown.append(await here.reader.shown.get())
    return shown[1:]


async def test_of_a_storm_few_taps_are_judged_the_others_counted_and_told_and_a_known_badge_has_its_turn(
    here: Laundry,
) -> None:
    assert await storm(here) == ["red"] * TAPS_PER_S + ["green"]
    assert here.point.dropped == STRANGERS - TAPS_PER_S
    await here.alarmed("tap_storm")
    (alarm,) = [one for one in await here.events("alarm") if one["code"] == "tap_storm"]
    assert alarm["text"].startswith("the reader of washer reports more than 20 badges a second; what is beyond")


async def test_a_storm_that_is_over_is_told_once_and_taps_count_again(
    here: Laundry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storm(here)
    await here.alarmed("tap_storm")
    later = here.clock.monotonic() + access.CALM_S + 1
    monkeypatch.setattr(type(here.clock), "monotonic", lambda _: later)
    await here.alarmed("tap_storm", over=True)
    assert await here.tap(EXPIRED) == "red"
    assert here.point.dropped == STRANGERS - TAPS_PER_S
    assert [one["code"] for one in await here.events("alarm")].count("tap_storm") == len(("begun", "ended"))


async def test_a_badge_that_is_held_during_a_storm_is_one_tap(here: Laundry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await storm(here)
    for identifier in ("05AAAAAAAAAAAA", ANNA, "05BBBBBBBBBBBB", ANNA):
        here.reader.hold(identifier)
    assert await here.tap(EXPIRED) == "red"
    assert sum("b-anna: Answer" in message for message in caplog.messages) == 1
