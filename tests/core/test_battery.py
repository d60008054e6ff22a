from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.service.battery import DAY, Battery, Budget, Waking, spaced

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


def just(reads: int) -> Budget:
    return Budget(reads=reads, bears=reads)


def deadlines(every: timedelta) -> list[datetime]:
    """Of one day, as the poller has them."""
    return [MIDNIGHT + count * every for count in range(-(-DAY // every))]


@given(st.integers(1, 86_400), st.integers(1, 3_000))
def test_a_day_never_has_more_reads_than_the_battery_is_made_for(seconds: int, reads: int) -> None:
    seconds = max(seconds, 40)  # some thousand deadlines a day are enough
    every = timedelta(seconds=seconds)
    battery = Battery(every, just(reads))
    done = sum(battery.spend(due) for due in deadlines(every))
    assert 1 <= done <= reads
    assert battery.spared == len(deadlines(every)) - done


@given(st.integers(1, 60), st.integers(1, 3_000), st.integers(0, 1_439))
def test_a_restart_within_the_day_reads_nothing_more(minutes: int, reads: int, restart: int) -> None:
    every = minutes * MINUTE
    before, after = Battery(every, just(reads)), Battery(every, just(reads))
    at = MIDNIGHT + restart * MINUTE
    done = sum((before if due < at else after).spend(due) for due in deadlines(every))
    assert done <= reads


def test_a_clock_that_is_set_back_again_and_again_spends_no_more_than_the_day_has() -> None:
    battery = Battery(15 * MINUTE, just(100))
    done = sum(battery.spend(due) for _ in range(5) for due in deadlines(15 * MINUTE))
    assert done == 100


def test_the_next_day_has_its_own_reads() -> None:
    battery = Battery(15 * MINUTE, just(96))
    assert sum(battery.spend(due + day * DAY) for day in range(3) for due in deadlines(15 * MINUTE)) == 3 * 96


def test_without_a_battery_every_deadline_is_used() -> None:
    battery = Battery(MINUTE, None)
    assert all(battery.spend(due) for due in deadlines(MINUTE))
    assert battery.spared == 0


def hours(battery: Battery, repeats: dict[int, int], day: int = 0) -> list[int]:
    """Of one day, at which the meter was read; after some of these reads there were repeats."""
    read = []
    for hour in range(24):
        if battery.spend(MIDNIGHT + day * DAY + hour * 60 * MINUTE):
            read.append(hour)
            battery.repeated(repeats.get(hour, 0))
    return read


def test_repeats_are_reads_too_and_are_paid_for_at_once_so_that_the_end_of_the_day_is_read() -> None:
    assert hours(Battery(60 * MINUTE, just(24)), {3: 2}) == [hour for hour in range(24) if hour not in (4, 5)]
    assert hours(Battery(60 * MINUTE, Budget(reads=24, bears=26)), {3: 2}) == list(range(24))
    assert hours(Battery(60 * MINUTE, Budget(reads=24, bears=300)), dict.fromkeys(range(24), 2)) == list(range(24))


def test_what_the_last_read_of_a_day_had_too_many_the_next_day_has_less() -> None:
    battery = Battery(60 * MINUTE, just(24))
    hours(battery, {23: 2})
    assert battery.today == 26
    assert hours(battery, {}, day=1) == list(range(2, 24))
    assert battery.today == 24


@given(st.dictionaries(st.integers(0, 9), st.integers(1, 500), min_size=1), st.integers(10, 500))
def test_all_selections_of_a_line_fit_what_the_weakest_battery_bears(wanted: dict[int, int], bears: int) -> None:
    waking = Waking(battery="heat", bears=bears, wanted={str(meter): reads for meter, reads in wanted.items()})
    shares = [waking.share(meter) for meter in waking.wanted]
    assert sum(each.bears for each in shares) <= bears
    assert all(1 <= each.reads <= each.bears for each in shares)
    if waking.total <= bears:
        assert [each.reads for each in shares] == list(wanted.values()), "nobody is spared without need"
