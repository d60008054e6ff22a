from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.service.battery import DAY, Battery, spaced

MIDNIGHT = datetime(2026, 10, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("poll", "reads", "minutes"),
    [
        (15, 300, 15),  # 96 quarter hours fit
        (15, 96, 15),
        (15, 95, 30),
        (15, 90, 30),  # an Engelmann SensoStar 2 by its secondary address
        (1, 300, 5),  # 288, and not 300: each hour is begun with a read
        (1, 200, 10),  # 8 minutes would fit, but begin no hour
        (1, 24, 60),
        (1, 23, 63),  # fewer than hours: as many as fit
        (7, 100, 21),
        (60, 10, 180),
        (1440, 1, 1440),
    ],
)
def test_reads_are_spread_over_the_day_and_begin_the_hours_where_that_can_be(
    poll: int, reads: int, minutes: int
) -> None:
    assert spaced(poll * MINUTE, reads) == minutes * MINUTE


def deadlines(every: timedelta) -> list[datetime]:
    """Of one day, as the poller has them."""
    return [MIDNIGHT + count * every for count in range(-(-DAY // every))]


@given(st.integers(1, 86_400), st.integers(1, 3_000))
def test_a_day_never_has_more_reads_than_the_battery_is_made_for(seconds: int, reads: int) -> None:
    seconds = max(seconds, 40)  # some thousand deadlines a day are enough
    every = timedelta(seconds=seconds)
    battery = Battery(every, reads)
    done = sum(battery.spend(due) for due in deadlines(every))
    assert 1 <= done <= reads
    assert battery.spared == len(deadlines(every)) - done


@given(st.integers(1, 60), st.integers(1, 3_000), st.integers(0, 1_439))
def test_a_restart_within_the_day_reads_nothing_more(minutes: int, reads: int, restart: int) -> None:
    every = minutes * MINUTE
    before, after = Battery(every, reads), Battery(every, reads)
    at = MIDNIGHT + restart * MINUTE
    done = sum((before if due < at else after).spend(due) for due in deadlines(every))
    assert done <= reads


def test_a_clock_that_is_set_back_again_and_again_spends_no_more_than_the_day_has() -> None:
    battery = Battery(15 * MINUTE, 100)
    done = sum(battery.spend(due) for _ in range(5) for due in deadlines(15 * MINUTE))
    assert done == 100


def test_the_next_day_has_its_own_reads() -> None:
    battery = Battery(15 * MINUTE, 96)
    assert sum(battery.spend(due + day * DAY) for day in range(3) for due in deadlines(15 * MINUTE)) == 3 * 96


def test_without_a_battery_every_deadline_is_used() -> None:
    battery = Battery(MINUTE, None)
    assert all(battery.spend(due) for due in deadlines(MINUTE))
    assert battery.spared == 0
