"""Which stretches of a register are believed, and its index at a boundary."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.metering import Exchange, Reading, Register, same_serial
from gateway.core.period import Period
from gateway.core.track import track
from gateway.core.units import Scaled, UnitError

if TYPE_CHECKING:
    from gateway.core.metering import Origin
    from gateway.core.track import Track

START = datetime(2026, 10, 1, tzinfo=UTC)
REGISTER = Register(
    id="r", meter="m", key="k", energy_source="electricity", unit="kWh", exponent=-1, max_per_day=Scaled(100, 0)
)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def heard(number: float, index: str, origin: Origin = "measured", serial: str = "1") -> Reading:
    return Reading(
        meter="m", register="k", at=day(number), index=Scaled.parse(index), unit="kWh", serial=serial, origin=origin
    )


def held(course: Track) -> list[tuple[float, float, str]]:
    return [
        ((span.start - START) / timedelta(days=1), (span.until - START) / timedelta(days=1), code)
        for span, code in course.blocked()
    ]


def counted(course: Track, first: float, last: float) -> str:
    return str(Scaled(course.quantity(Period(day(first), day(last))), course.exponent))


def test_a_zero_in_the_middle_holds_its_two_stretches_and_no_other() -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1, "20"), heard(2, "0"), heard(3, "40"), heard(4, "50")])
    assert held(course) == [(1, 3, "index_decrease")]
    assert counted(course, 3, 4) == "10.0"


def test_a_spike_holds_its_two_stretches_and_no_other() -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1, "900"), heard(2, "30"), heard(3, "40")])
    assert held(course) == [(0, 2, "index_jump")]
    assert counted(course, 2, 3) == "10.0"


def test_a_spike_that_the_largest_flow_allows_is_held_once_the_index_goes_on_from_below_it() -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1, "20"), heard(2, "60"), heard(3, "30"), heard(4, "40")])
    assert held(course) == [(1, 4, "index_decrease")]
    assert counted(course, 0, 1) == "10.0"


@pytest.mark.parametrize(("fall", "since"), [(3, 0), (4, 3)])
def test_several_wrong_values_are_held_where_the_index_goes_on_as_it_was_up_to_three_hours_before(
    fall: int, since: int
) -> None:
    hour = 1 / 24
    wrong = [heard(number * hour, "12") for number in range(1, fall)]
    after = [heard((fall + number) * hour, text) for number, text in enumerate(["10.2", "10.4", "10.6"])]
    course = track(REGISTER, [heard(-1, "9"), heard(0, "10"), *wrong, *after])
    (first, last, code) = held(course)[0]
    assert (round(first / hour), round(last / hour), code) == (since, fall + 1, "index_decrease")
    assert len(held(course)) == 1


def test_where_the_course_goes_on_from_above_the_low_value_alone_is_wrong() -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1, "20"), heard(2, "15"), heard(3, "30"), heard(4, "40")])
    assert held(course) == [(1, 3, "index_decrease")]


def test_two_low_values_are_held_until_the_index_is_again_where_it_was() -> None:
    low = [heard(2, "11"), heard(3, "12")]
    course = track(REGISTER, [heard(0, "18"), heard(1, "20"), *low, heard(4, "30"), heard(5, "40")])
    assert held(course) == [(1, 4, "index_decrease")]
    assert counted(course, 4, 5) == "10.0"


def test_low_values_of_a_counter_that_was_reset_before_are_held_too() -> None:
    low = [heard(4, "11"), heard(5, "12")]
    reset = [heard(0, "100"), heard(1, "10"), heard(2, "18"), heard(3, "20")]
    course = track(REGISTER, [*reset, *low, heard(6, "30"), heard(7, "40")])
    assert held(course) == [(0, 2, "index_decrease"), (3, 6, "index_decrease")]
    assert (counted(course, 2, 3), counted(course, 6, 7)) == ("2.0", "10.0")


def test_a_counter_that_takes_longer_to_be_where_it_was_did_begin_again() -> None:
    after = [heard(2, "2"), heard(3, "8"), heard(4, "14"), heard(5, "21")]
    course = track(REGISTER, [heard(0, "18"), heard(1, "20"), *after])
    assert held(course) == [(1, 3, "index_decrease")]
    assert counted(course, 3, 5) == "13.0"


def test_before_a_reset_nothing_is_held() -> None:
    course = track(REGISTER, [heard(0, "500"), heard(1, "510"), heard(2, "1"), heard(3, "9"), heard(4, "10")])
    assert held(course) == [(1, 3, "index_decrease")]
    assert counted(course, 0, 1) == "10.0"


def test_a_counter_that_was_reset_is_believed_from_there_on() -> None:
    course = track(REGISTER, [heard(0, "500"), heard(1, "0"), heard(2, "5"), heard(3, "9")])
    assert held(course) == [(0, 2, "index_decrease")]
    assert counted(course, 2, 3) == "4.0"


def test_a_small_backflow_holds_the_maximum() -> None:
    register = replace(REGISTER, backflow=Scaled.parse("0.3"))
    course = track(register, [heard(0, "10"), heard(1, "9.8"), heard(2, "10.5")])
    assert not held(course)
    assert [counted(course, 0, 1), counted(course, 1, 2)] == ["0.0", "0.5"]


def test_a_jump_of_one_step_within_a_moment_is_no_jump() -> None:
    assert not held(track(REGISTER, [heard(0, "10"), heard(0.00001, "10.1")]))


def test_every_rollover_ends_a_segment_before_the_next() -> None:
    register = replace(REGISTER, modulus=Scaled(100, 0))
    course = track(register, [heard(number, str(number * 60 % 100)) for number in range(6)])
    assert counted(course, 0, 5) == "300.0"
    segments = course.segments(Period(day(0), day(5)))
    assert sum(part.quantity.fraction for part in segments) == 300
    assert len(segments) > 1


def test_without_a_largest_flow_a_decrease_is_no_rollover() -> None:
    register = replace(REGISTER, modulus=Scaled(100, 0), max_per_day=None)
    assert held(track(register, [heard(0, "90"), heard(1, "5")])) == [(0, 1, "index_decrease")]


def test_how_many_zeros_somebody_writes_behind_an_exchanges_index_changes_no_step() -> None:
    exchange = Exchange(at=day(3), final=Scaled.parse("30.0000"), start=Scaled.parse("0.000"), serial="2")
    for register in (replace(REGISTER, exchanges=(exchange,)), replace(REGISTER, modulus=Scaled.parse("1000.000"))):
        assert track(register, [heard(0, "10.0"), heard(1, "20.0")]).exponent == -1
    finer = replace(exchange, final=Scaled.parse("30.12"))
    assert track(replace(REGISTER, exchanges=(finer,)), [heard(0, "10.0")]).exponent == -2


def test_another_serial_number_is_held_until_the_exchange_is_recorded() -> None:
    readings = [heard(0, "90"), heard(1, "95"), heard(2, "3", serial="2"), heard(3, "5", serial="2")]
    assert held(track(REGISTER, readings)) == [(1, 3, "identity_changed")]
    exchange = Exchange(at=day(1.5), final=Scaled.parse("97"), start=Scaled.parse("1"), serial="2")
    course = track(replace(REGISTER, exchanges=(exchange,)), readings)
    assert not held(course)
    assert [part.serial for part in course.segments(Period(day(0), day(3)))] == ["1", "2"]
    assert counted(course, 0, 3) == "11.0"
    old, new = course.segments(Period(day(0), day(3)))
    assert (old.until.quality, new.start.quality) == ("manual", "manual")  # a person wrote them down


def test_another_meter_than_the_property_data_name_is_held_from_its_first_reading_on() -> None:
    named = replace(REGISTER, serial="A")
    crossed = [heard(number, str(number * 10), serial="B") for number in range(3)]
    assert held(track(named, crossed)) == [(0, 2, "identity_changed")]
    course = track(named, [*crossed, heard(3, "90", serial="A"), heard(4, "95", serial="A")])
    assert held(course) == [(0, 3, "identity_changed")]
    assert [part.serial for part in course.segments(Period(day(3), day(4)))] == ["A"]
    assert counted(course, 3, 4) == "5.0"


def test_a_reading_that_says_no_serial_number_is_in_no_doubt() -> None:
    named = replace(REGISTER, serial="A")
    course = track(named, [heard(0, "10", serial=""), heard(1, "20", serial=""), heard(2, "30", serial="A")])
    assert not held(course)
    silent = track(named, [heard(0, "10", serial=""), heard(1, "20", serial="")])
    assert [part.serial for part in silent.segments(Period(day(0), day(1)))] == [""], "what is published says the same"


def test_a_serial_number_is_the_meters_own_writing_whatever_that_of_its_label() -> None:
    readings = [heard(0, "10", serial="00123456ab"), heard(1, "20", serial="00123456ab")]
    course = track(replace(REGISTER, serial="12 3456 AB"), readings)
    assert not held(course)
    assert [part.serial for part in course.segments(Period(day(0), day(1)))] == ["00123456ab"]


def test_the_number_of_the_first_meter_says_nothing_of_those_after_an_exchange() -> None:
    exchange = Exchange(at=day(1.5), final=Scaled.parse("21"), start=Scaled.parse("0"), serial="0B 1")
    register = replace(REGISTER, serial="A", exchanges=(exchange,))
    readings = [heard(0, "10", serial="A"), heard(1, "20", serial="A"), heard(2, "1", serial="b1")]
    assert not held(track(register, readings))
    assert held(track(register, [*readings, heard(3, "2", serial="A")])) == [(2, 3, "identity_changed")]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0012 3456", "123456", True),
        ("274123s", "274123S", True),
        ("0", "000", True),
        ("0", "", False),
        ("10", "1", False),
        ("123456", "123457", False),
    ],
)
def test_case_blanks_and_leading_zeros_make_no_other_serial_number(one: str, other: str, *, same: bool) -> None:
    assert same_serial(one, other) is same
    assert same_serial(other, one) is same


def test_interpolation_runs_to_what_was_read_off_the_old_meter_and_from_the_new_one_on() -> None:
    exchange = Exchange(at=day(2), final=Scaled.parse("30"), start=Scaled.parse("1"), serial="2")
    readings = [heard(0, "10"), heard(4, "9", serial="2")]
    course = track(replace(REGISTER, exchanges=(exchange,)), readings)
    assert [counted(course, 0, 1), counted(course, 1, 3), counted(course, 3, 4)] == ["10.0", "14.0", "4.0"]


def test_a_boundary_between_close_readings_is_bracketed_else_interpolated() -> None:
    readings = [heard(0, "10.0"), heard(0.01, "10.1"), heard(2, "20.1")]
    course = track(REGISTER, readings, timedelta(minutes=30))
    first = course.segments(Period(day(0.005), day(1)))[0]
    assert (first.start.quality, str(first.start.value)) == ("bracketed", "10.1")
    assert (first.until.quality, str(first.until.value)) == ("interpolated", "15.1")
    assert first.until.between is not None
    assert [str(point.value) for point in first.until.between] == ["10.1", "20.1"]


def test_interpolation_runs_between_measured_readings_but_never_past_a_value_read_by_hand() -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1, "18", "manual"), heard(2, "20")])
    assert str(course.segments(Period(day(0), day(0.5)))[0].until.value) == "12.5"
    assert str(course.segments(Period(day(1.2), day(2)))[0].start.value) == "18.0"
    assert course.segments(Period(day(0), day(1)))[0].until.quality == "manual"


def test_between_values_read_by_hand_alone_no_index_is_known() -> None:
    course = track(REGISTER, [heard(0, "10", "manual"), heard(2, "20", "manual")])
    assert course.known(day(0))
    assert not course.known(day(1))
    with pytest.raises(LookupError):
        course.segments(Period(day(0), day(1)))


def test_a_measured_value_beats_a_stored_one_of_the_same_instant() -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1, "15", "stored"), heard(1, "15.2"), heard(2, "20")])
    assert not held(course)
    assert counted(course, 0, 1) == "5.2"


def test_what_the_meter_kept_for_a_date_is_the_index_at_a_boundary_without_a_reading() -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1.5, "13", "stored"), heard(2, "20")])
    first, second = course.segments(Period(day(0), day(1.5))), course.segments(Period(day(1.5), day(2)))
    assert [part.until.quality for part in first] == ["stored"]
    assert [counted(course, 0, 1.5), counted(course, 1.5, 2)] == ["3.0", "7.0"]
    assert second[0].start.between is None
    assert course.known(day(1.5))


def test_a_kept_value_is_used_at_no_other_instant_but_never_contradicted_there() -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1.5, "11", "stored"), heard(2, "20")])
    assert not held(course)
    assert len(course.segments(Period(day(0), day(2)))) == 1
    assert [part.until.quality for part in course.segments(Period(day(0), day(1)))] == ["interpolated"]
    assert counted(course, 0, 1) == "1.0"  # 5 in a straight line, but only 1 by the day after
    assert counted(course, 1, 1.5) == "0.0"


@pytest.mark.parametrize("kept", ["9", "21", "300"])
def test_a_kept_value_that_does_not_fit_between_its_neighbours_counts_for_nothing(kept: str) -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1, kept, "stored"), heard(2, "20")])
    assert not held(course)
    assert course.segments(Period(day(0), day(1)))[0].until.quality == "interpolated"


def test_a_value_kept_by_another_meter_or_twice_differently_counts_for_nothing() -> None:
    stranger = track(REGISTER, [heard(0, "10"), heard(1, "13", "stored", serial="2"), heard(2, "20")])
    twice = track(REGISTER, [heard(0, "10"), heard(1, "13", "stored"), heard(1, "14", "stored"), heard(2, "20")])
    for course in (stranger, twice):
        assert course.segments(Period(day(0), day(1)))[0].until.quality == "interpolated"


def test_two_kept_values_are_in_order_even_over_a_rollover() -> None:
    register = replace(REGISTER, modulus=Scaled(100, 0))
    kept = [heard(1, "96", "stored"), heard(2, "2", "stored"), heard(2.5, "1", "stored")]
    course = track(register, [heard(0, "90"), *kept, heard(3, "5")])
    assert [counted(course, 0, 1), counted(course, 1, 2), counted(course, 2, 3)] == ["6.0", "6.0", "3.0"]
    assert course.segments(Period(day(0), day(2.5)))[0].until.quality == "interpolated"


def test_a_value_kept_by_the_new_meter_counts_however_its_number_was_typed() -> None:
    exchange = Exchange(at=day(0), final=Scaled.parse("90"), start=Scaled.parse("10"), serial="0B 1")
    readings = [heard(1, "13", "stored", serial="b1"), heard(2, "20", serial="b1")]
    course = track(replace(REGISTER, exchanges=(exchange,)), readings)
    assert course.segments(Period(day(0), day(1)))[0].until.quality == "stored"


def test_nothing_is_extrapolated_from_what_the_meter_kept() -> None:
    course = track(REGISTER, [heard(1, "10", "stored"), heard(2, "20"), heard(3, "30"), heard(4, "40", "stored")])
    assert course.extent == Period(day(2), day(3))


def test_readings_of_an_untrusted_clock_count_for_nothing() -> None:
    wrong = replace(heard(1, "77"), clock_trusted=False)
    course = track(REGISTER, [heard(0, "10"), wrong, heard(2, "20")])
    assert not held(course)
    assert [counted(course, 0, 1), counted(course, 0, 2)] == ["5.0", "10.0"]


def test_another_unit_of_the_same_kind_is_turned_exactly_and_any_other_refused() -> None:
    watt_hours = replace(heard(1, "12345"), unit="Wh")
    assert counted(track(REGISTER, [heard(0, "10"), watt_hours]), 0, 1) == "2.345"
    with pytest.raises(UnitError, match="GJ cannot be turned into kWh"):
        track(REGISTER, [replace(heard(1, "12"), unit="GJ")])


@pytest.mark.parametrize("turned_around", [False, True])
def test_a_value_is_not_believed_because_one_of_two_values_of_an_instant_is_near(*, turned_around: bool) -> None:
    two = [heard(2, "400"), heard(2, "410")]
    course = track(
        REGISTER, [heard(0, "0"), heard(1, "50"), *(reversed(two) if turned_around else two), heard(3, "505")]
    )
    assert held(course) == [(1, 2, "conflicting_reading"), (2, 3, "index_jump")]


def test_an_index_is_never_interpolated_across_a_counter_that_began_again() -> None:
    read = [heard(0, "300"), heard(1, "1"), heard(2, "2", "substituted"), heard(4, "60"), heard(5, "80")]
    course = track(REGISTER, read)
    assert held(course) == [(0, 2, "index_decrease")]
    assert not course.known(day(3))
    with pytest.raises(LookupError, match="not known"):
        course.segments(Period(day(3), day(5)))
    assert counted(course, 2, 5) == "78.0"


def test_an_index_is_interpolated_across_a_spike() -> None:
    course = track(REGISTER, [heard(0, "10"), heard(1, "900"), heard(2, "30", "manual"), heard(4, "50")])
    assert counted(course, 3, 4) == "10.0"


class Handed(tuple[Any, ...]):
    """Counts how many nodes it hands out one by one, or in slices."""

    __slots__ = ()
    so_far = 0

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - as the tuple's
        found = super().__getitem__(place)
        Handed.so_far += len(found) if isinstance(place, slice) else 1
        return found


def test_an_index_is_interpolated_without_looking_at_the_whole_course() -> None:
    course = track(REGISTER, [heard(each / 100, str(each / 10)) for each in range(0, 400, 2)])
    course = replace(course, nodes=Handed(course.nodes))
    Handed.so_far = 0
    assert course.known(day(2.01))
    assert Handed.so_far < 100
