"""What is said of a line by what its driver has counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.lines import TOLD, Told, rounds, rows, troubles, with_budgets
from gateway.ports.health import LineHealth, MeterHealth

GOOD = MeterHealth(
    meter="heat-1", reads=100, failed=0, requests=101, repeats=0, damaged=0, unasked=0, ms=500, wire_ms=480
)


def line(*meters: MeterHealth, echo: bool = False) -> LineHealth:
    return LineHealth(baud=2400, echo=echo, meters=meters)


def test_of_a_line_that_is_well_nothing_is_said() -> None:
    assert list(troubles(line(GOOD, replace(GOOD, meter="heat-2", repeats=5)))) == []
    assert list(troubles(line(replace(GOOD, reads=0, requests=0, ms=None, wire_ms=None)))) == [], "not read yet"
    assert list(troubles(line())) == []


def test_a_round_is_predicted_and_measured_of_those_that_have_answered() -> None:
    dead = replace(GOOD, meter="heat-2", reads=0, failed=3, ms=None, wire_ms=None)
    assert rounds(line(GOOD, GOOD, dead)) == (960, 1000)
    assert rounds(line(dead)) is None


@pytest.mark.parametrize(
    ("meters", "text"),
    [
        ([replace(GOOD, repeats=6)], "asked more than once in 20 times: heat-1 (6 of 101)"),
        ([replace(GOOD, unasked=30)], "late or twice: heat-1 (30 of 101); raise latency"),
        ([replace(GOOD, ms=900)], "420 ms more than the wire needs for each read: shorten the time that the"),
        ([replace(GOOD, reads=0, requests=9, damaged=9)], "garbage: the meters or the converter have another baud"),
        ([replace(GOOD, reads=0, requests=9)], "no meter answers: look at the power"),
        ([replace(GOOD, reads=0, requests=9)], "and the baud rate (2400)"),
        ([replace(GOOD, reads=0, requests=9, damaged=9, unasked=8)], "the line never falls silent, or the converter"),
        ([replace(GOOD, reads=0, requests=0, failed=3)], "look for a second master, a device that sends unasked"),
    ],
    ids=["repeats", "late", "slow converter", "garbage", "silence", "baud of silence", "babbling", "always busy"],
)
def test_what_is_wrong_is_named_with_what_to_do(meters: list[MeterHealth], text: str) -> None:
    (told,) = troubles(line(*meters))
    assert text in told


@pytest.mark.parametrize("disturbed", [{"repeats": 6}, {"damaged": 6}, {"unasked": 6}])
def test_what_repeats_and_noise_cost_is_not_laid_to_the_converter(disturbed: dict[str, int]) -> None:
    slow = replace(GOOD, meter="heat-2", ms=2900, **disturbed)
    assert not any("packing time" in each for each in troubles(line(slow)))
    repeated_now = replace(GOOD, meter="heat-2", ms=2900, repeats=1)
    assert list(troubles(line(GOOD, repeated_now, GOOD))) == []


def test_one_dead_meter_among_others_makes_no_dead_line() -> None:
    dead = replace(GOOD, meter="heat-2", reads=0, failed=3, requests=9, repeats=6, ms=None, wire_ms=None)
    assert list(troubles(line(GOOD, dead))) == []


def test_the_worst_come_first_and_no_more_than_five_are_named() -> None:
    (told,) = troubles(line(*(replace(GOOD, meter=f"m{number}", repeats=number) for number in range(10, 17))))
    assert told.startswith("asked more than once in 20 times: m16 (16 of 101), m15")
    assert "m12 (12 of 101) and 2 more;" in told


def test_a_line_can_be_told_by_the_daemon_and_shown_as_a_table() -> None:
    lines = {"mbus-1": line(GOOD, replace(GOOD, ms=None, wire_ms=None), echo=True)}
    told = Told(lines=lines, clock_trusted=True, now=datetime(2026, 11, 1, 12, tzinfo=UTC))
    assert TOLD.validate_json(TOLD.dump_json(told)) == told
    head, first, second = rows(lines["mbus-1"])
    assert head == ("meter", "reads", "failed", "repeats", "damaged", "late", "ms", "wire ms", "today")
    assert first == ("heat-1", "100", "0", "0", "0", "0", "500", "480", "-")
    assert second[-3:] == ("-", "-", "-")


def test_a_meter_that_spares_a_battery_shows_its_reads_of_the_day_and_how_many_it_bears() -> None:
    _, first, second = rows(with_budgets(line(GOOD, replace(GOOD, meter="heat-2")), {"heat-2": (7, 300)}))
    assert (first[-1], second[-1]) == ("-", "7/300")
