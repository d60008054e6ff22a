from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.metering import Exchange, Reading, Register
from gateway.core.period import Period, midnight
from gateway.core.track import Track, track
from gateway.core.units import Scaled
from gateway.service.retain import months_before, next_quiet, rolled_up, spare

ZONE = "Europe/Zurich"
FIRST = date(2026, 10, 24)
MIDNIGHTS = [midnight(FIRST + timedelta(days=day), ZONE) for day in range(4)]
"""the second day has 25 hours"""
REGISTER = Register(
    id="heat-01-heat",
    meter="heat-01",
    key="heat",
    energy_source="heating",
    unit="kWh",
    exponent=-3,
    max_per_day=Scaled.parse("5000"),
    modulus=Scaled.parse("1000"),
)


def reading(at: datetime, index: str = "1.000") -> Reading:
    return Reading(meter="heat-01", register="heat", at=at, index=Scaled.parse(index), unit="kWh", serial="4711")


def thinned(readings: list[Reading], register: Register | None = REGISTER) -> list[Reading]:
    """What is left of the readings after each of the days was thinned, one after the other."""
    for start, until in pairwise(MIDNIGHTS):
        going = spare(readings, register, Period(start, until))
        readings = [each for each in readings if each not in going]
    return readings


def day(*indexes: str, start: datetime = MIDNIGHTS[0]) -> list[Reading]:
    """A reading every two hours."""
    return [reading(start + timedelta(hours=2 * number), index) for number, index in enumerate(indexes)]


def test_of_an_uneventful_day_the_readings_beside_its_midnights_stay() -> None:
    readings = day("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13")
    left = [str(each.index) for each in thinned(readings)]
    assert left == ["1", "2", "12", "13"]


def test_what_the_meter_kept_itself_stays_and_keeps_nothing_else_back() -> None:
    readings = day("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13")
    kept = replace(reading(MIDNIGHTS[0] + timedelta(hours=5), "3.5"), origin="stored", obis="6-0:1.0.0*1")
    assert [str(each.index) for each in thinned([*readings, kept])] == ["1", "2", "12", "13", "3.5"]


def test_what_the_meter_kept_itself_is_no_part_of_a_roll_up() -> None:
    kept = replace(reading(MIDNIGHTS[0] + timedelta(hours=5), "3.5"), origin="stored", obis="6-0:1.0.0*1")
    found = {("heat-01", "heat"): [*day("1", "2"), kept]}
    assert sum(each.count for each in rolled_up(found, Period(*MIDNIGHTS[:2])) if each.whole_day) == 2


@st.composite
def courses(draw: st.DrawFn) -> list[Reading]:
    """Three days of readings at any moments, with a counter that may roll over and gaps of any length."""
    span = (MIDNIGHTS[-1] - MIDNIGHTS[0]) // timedelta(minutes=1)
    minutes = draw(st.sets(st.integers(-60, span + 60), min_size=2, max_size=60))
    instants = sorted({*minutes, *draw(st.sets(st.sampled_from(range(0, span, 15)), max_size=80))})
    index, readings = draw(st.integers(0, 999_999)), []
    for before, minute in pairwise([instants[0] - 1, *instants]):
        index += draw(st.integers(0, min((minute - before) * 3000, 900_000)))
        at = MIDNIGHTS[0] + timedelta(minutes=minute)
        readings.append(replace(reading(at), index=Scaled(index % 1_000_000, -3), modulus=REGISTER.modulus))
    return readings


def charged(course: Track, tolerance: timedelta) -> list[object]:
    """What a settlement takes from the course: indexes with their evidence from midnight to midnight."""
    course = replace(course, tolerance=tolerance)
    extent = course.extent
    wanted = [Period(*edges) for edges in (*pairwise(MIDNIGHTS), (MIDNIGHTS[0], MIDNIGHTS[-1]))]
    assert extent is not None
    return [course.segments(each) for each in wanted if extent.start <= each.start and each.until <= extent.until]


@given(courses(), st.sampled_from([timedelta(0), timedelta(minutes=30)]), st.sampled_from([REGISTER.modulus, None]))
def test_thinning_changes_no_index_that_a_settlement_asks_for(
    readings: list[Reading], tolerance: timedelta, own: Scaled | None
) -> None:
    """Of a counter that begins again where the register says it, or its readings do."""
    register = replace(REGISTER, modulus=own)
    before, after = track(register, readings), track(register, thinned(readings, register))
    if before.blocked():  # what is held stays held
        assert [code for _, code in after.blocked()] == [code for _, code in before.blocked()]
    else:
        assert charged(after, tolerance) == charged(before, tolerance)


@pytest.mark.parametrize(
    "readings",
    [
        day("1", "2", "0", "4", "5", "6", "7"),
        day("1", "2", "900", "901", "902", "903", "904"),
        [*day("1", "2", "3", "4", "5", "6"), replace(day("1", "2", "3")[2], index=Scaled.parse("3.5"))],
        [replace(each, serial="4711" if number < 3 else "4712") for number, each in enumerate(day(*"123456"))],
        [replace(each, origin="manual" if number == 3 else "measured") for number, each in enumerate(day(*"123456"))],
        [replace(each, clock_trusted=number != 3) for number, each in enumerate(day(*"123456"))],
    ],
    ids=["decrease", "jump", "two values", "another meter", "by hand", "untrusted time"],
)
def test_a_day_that_a_person_may_have_to_look_at_stays_whole(readings: list[Reading]) -> None:
    assert thinned(readings) == readings


def test_without_property_data_a_plain_day_is_thinned_and_a_wrong_unit_keeps_it() -> None:
    readings = day("1", "2", "3", "4", "5", "6", "7")
    assert len(thinned(readings, None)) == 3
    assert thinned(readings, replace(REGISTER, unit="m3")) == readings


def test_the_day_of_an_exchange_stays_whole() -> None:
    noted = Exchange(at=MIDNIGHTS[0] + timedelta(hours=5), final=Scaled.parse("3.500"), start=Scaled.parse("3.500"))
    readings = day("1", "2", "3", "4", "5", "6", "7")
    assert thinned(readings, replace(REGISTER, exchanges=(noted,))) == readings


def test_a_day_is_rolled_up_by_hour_and_as_a_whole_also_with_25_hours() -> None:
    start, until = MIDNIGHTS[1], MIDNIGHTS[2]
    quarters = [start + timedelta(minutes=15 * number) for number in range(-1, 101)]
    readings = [reading(at, str(number)) for number, at in enumerate(quarters)]
    made = rolled_up({("heat-01", "heat"): readings}, Period(start, until))
    (whole,) = [each for each in made if each.whole_day]
    assert (whole.start, whole.first.at, whole.last.at, whole.count) == (start, start, quarters[-2], 100)
    hours = [each for each in made if not each.whole_day]
    assert [each.start for each in hours] == [start + timedelta(hours=number) for number in range(25)]
    assert [(str(each.first.index), str(each.last.index), each.count) for each in hours][:2] == [
        ("1", "4", 4),
        ("5", "8", 4),
    ]


def test_two_meters_of_one_register_and_untrusted_times_are_not_mixed_into_one_rollup() -> None:
    readings = day("1", "2", "3", "4")
    readings[1] = replace(readings[1], clock_trusted=False)
    readings[3] = replace(readings[3], serial="4712")
    made = rolled_up({("heat-01", "heat"): readings}, Period(MIDNIGHTS[0], MIDNIGHTS[1]))
    wholes = [(each.first.serial, each.count) for each in made if each.whole_day]
    assert wholes == [("4711", 2), ("4712", 1)]


@pytest.mark.parametrize(
    ("now", "months", "found"),
    [("2026-03-31", 1, "2026-02-01"), ("2026-01-15", 36, "2023-01-01"), ("2026-12-01", 12, "2025-12-01")],
)
def test_months_before_is_the_first_of_a_month(now: str, months: int, found: str) -> None:
    assert months_before(datetime.fromisoformat(now).replace(tzinfo=UTC), months) == datetime.fromisoformat(
        found
    ).replace(tzinfo=UTC)


def test_the_daily_work_is_done_once_on_days_when_the_clocks_change() -> None:
    now, seen = datetime(2026, 3, 27, tzinfo=UTC), []
    for _ in range(4):
        now = next_quiet(now, ZONE)
        seen.append(now.isoformat())
    assert seen == [
        f"2026-03-{day}T{hour}:00:00+00:00" for day, hour in ((27, "03"), (28, "03"), (29, "02"), (30, "02"))
    ]
