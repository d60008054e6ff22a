"""What the bench counts as drift of a meter that is read each second."""

from __future__ import annotations

import pytest

from benches.modbus_load import drift_ms

SECOND = 1_000_000


def read_at(*milliseconds: int) -> list[int]:
    return [each * 1000 for each in milliseconds]


def test_reads_at_the_same_moment_of_each_second_do_not_drift() -> None:
    assert drift_ms([number * SECOND + 4000 for number in range(300)]) == 0


def test_a_period_that_is_too_long_is_seen_at_the_end() -> None:
    assert drift_ms([number * (SECOND + 1000) for number in range(300)]) == pytest.approx(200)


@pytest.mark.parametrize("late", [0, 300, 900])
def test_a_deadline_that_was_left_out_counts_however_late_the_round_before_it_was(late: int) -> None:
    """A round of more than a second spills into the next one, which then is not without readings."""
    assert drift_ms(read_at(4, 1004, 2004, 3004 + late, 5004, 6004, 7004, 8004, 9004)) >= 1000
    assert drift_ms(read_at(4, 1004, 2004, 3004 + late, 4004, 5004, 6004, 7004, 8004)) == 0
