"""Moments of a session whose time of day was not known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.session import Moment, in_time, lost

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def wrong(elapsed: timedelta, boot: str = "boot-1") -> Moment:
    """A box without a battery shows 1970."""
    return Moment(at=EPOCH + elapsed, trusted=False, elapsed=elapsed, boot=boot)


def right(at: datetime, elapsed: timedelta, boot: str = "boot-1") -> Moment:
    return Moment(at=at, trusted=True, elapsed=elapsed, boot=boot)


def test_a_right_clock_says_when_a_session_of_its_boot_began_and_ended() -> None:
    moments = {"started": wrong(HOUR), "ended": wrong(2 * HOUR)}
    found = in_time(moments, right(NOON, 5 * HOUR))
    assert found == {"started": right(NOON - 4 * HOUR, HOUR), "ended": right(NOON - 3 * HOUR, 2 * HOUR)}
    assert in_time(moments, wrong(5 * HOUR)) is None


def test_a_session_that_knew_the_time_once_needs_nobody_to_tell_it() -> None:
    moments = {"started": wrong(HOUR), "start": right(NOON, 2 * HOUR), "ended": wrong(3 * HOUR)}
    found = in_time(moments, wrong(HOUR, "boot-2"))
    assert found is not None
    assert [one.at for one in found.values()] == [NOON - HOUR, NOON, NOON + HOUR]


def test_what_was_trusted_stays_as_it_was() -> None:
    moments = {"started": right(NOON, HOUR), "ended": right(NOON + HOUR, 9 * HOUR)}
    assert in_time(moments, right(NOON + 10 * HOUR, 10 * HOUR)) == moments


def test_a_boot_that_ended_without_the_time_has_lost_it() -> None:
    moments = [wrong(HOUR), wrong(2 * HOUR)]
    assert not lost(moments, wrong(3 * HOUR))
    assert lost(moments, right(NOON, HOUR, "boot-2"))
    assert in_time({"started": moments[0]}, right(NOON, HOUR, "boot-2")) is None
    assert not lost([*moments, right(NOON, 3 * HOUR)], right(NOON, HOUR, "boot-2"))
    assert lost([*moments, right(NOON, HOUR, "boot-2")], right(NOON, HOUR, "boot-2"))


@given(st.lists(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)), min_size=1, max_size=4))
def test_durations_hold(elapsed: list[timedelta]) -> None:
    moments = {str(number): wrong(one) for number, one in enumerate(elapsed)}
    found = in_time(moments, right(NOON, timedelta(days=400)))
    assert found is not None
    assert [one.at for one in found.values()] == [NOON - timedelta(days=400) + one for one in elapsed]
