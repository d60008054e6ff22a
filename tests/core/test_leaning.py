"""Which indexes lean on a reading that comes, or does not count any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.core.leaning import leaning
from gateway.core.metering import Exchange, Reading, Register
from gateway.core.period import Period
from gateway.core.units import Scaled

if TYPE_CHECKING:
    from gateway.core.metering import Origin

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
REGISTER = Register(
    id="r",
    meter="m",
    key="k",
    energy_source="electricity",
    unit="kWh",
    exponent=-3,
    max_per_day=Scaled.parse("500"),
)


def day(number: int) -> datetime:
    return BEGIN + timedelta(days=number)


def read(number: int, index: str, origin: Origin = "measured", serial: str = "1") -> Reading:
    return Reading(
        meter="m",
        register="k",
        at=day(number),
        index=Scaled.parse(index),
        unit="kWh",
        serial=serial if origin == "measured" else "",
        origin=origin,
    )


def leans(*readings: Reading, on: int, register: Register = REGISTER) -> tuple[int, int] | None:
    """The days from which to which it leans on what was read on a day."""
    found = leaning(register, readings, lambda one: one.at == day(on))
    return None if found is None else ((found.start - BEGIN).days, (found.until - BEGIN).days)


def test_between_measured_readings_what_lies_between_the_neighbours_leans_on_one() -> None:
    readings = [read(number, f"{number}") for number in (0, 10, 20, 30, 40)]
    assert leans(*readings, on=20) == (10, 30)
    assert leans(*readings, on=0) == (0, 10)
    assert leans(*readings, on=40) == (30, 40)
    assert leans(*readings, on=15) is None


@pytest.mark.parametrize("origin", ["manual", "substituted"])
def test_an_index_leans_on_a_measured_one_beyond_what_is_not_measured(origin: Origin) -> None:
    readings = [read(0, "0"), read(10, "10"), read(20, "21", origin), read(30, "33", origin), read(40, "40")]
    assert leans(*readings, read(50, "50"), on=10) == (0, 40)
    assert leans(*readings, read(50, "50"), on=40) == (10, 50)
    assert leans(*readings, read(50, "50"), on=30) == (20, 40), "nothing is interpolated from it"


def test_what_only_hands_have_read_leans_on_its_neighbours() -> None:
    readings = [read(number, f"{number}", "manual") for number in (0, 10, 20, 30, 40)]
    assert leans(*readings, on=20) == (10, 30)


def test_an_index_leans_on_what_lies_beyond_a_reading_that_is_not_believed() -> None:
    believed = [read(0, "0"), read(10, "10"), read(25, "25", "manual"), read(40, "40"), read(50, "50")]
    assert leans(*believed, read(20, "900000"), on=10) == (0, 40)
    assert leans(*believed, read(20, "20", serial="2"), on=10) == (0, 40)
    assert leans(*believed, read(20, "20"), read(20, "19"), on=10) == (0, 40), "two values of one instant"


def test_what_comes_back_to_be_believed_counts_with_all_that_leans_on_it() -> None:
    high = [read(0, "0"), read(10, "10"), read(20, "600"), read(30, "30"), read(45, "45", "manual"), read(60, "60")]
    assert leans(*high, on=20) == (10, 60), "with it the one of day 30 is held, and is no neighbour of day 50"


def test_what_only_hands_have_read_counts_as_far_as_it_is_believed_or_not() -> None:
    indexes = {0: "5", 10: "10", 20: "600", 30: "30", 40: "40", 50: "50"}
    readings = [read(number, index, "manual") for number, index in indexes.items()]
    assert leans(*readings, on=20) == (10, 40), "with it the one of day 30 is held, and all that touches it"


def test_an_untrusted_time_is_no_neighbour_and_changes_nothing() -> None:
    untrusted = replace(read(20, "20"), clock_trusted=False)
    readings = [read(0, "0"), read(10, "10"), untrusted, read(30, "30"), read(40, "40")]
    assert leans(*readings, on=10) == (0, 30)
    assert leans(*readings, on=20) == (20, 20)


def test_nothing_leans_across_an_exchange() -> None:
    exchange = Exchange(at=day(20), final=Scaled.parse("20"), start=Scaled.parse("0"))
    register = replace(REGISTER, exchanges=(exchange,))
    new = [read(25, "4", "manual"), read(30, "10", serial="2"), read(40, "20", serial="2")]
    assert leans(read(0, "0"), read(10, "10"), *new, on=10, register=register) == (0, 20)
    assert leans(read(0, "0"), read(10, "10"), *new, on=30, register=register) == (20, 40)


def test_a_value_that_the_meter_stored_is_leaned_on_by_what_is_clamped_to_it() -> None:
    readings = [read(0, "0"), read(20, "12", "stored"), read(40, "40")]
    assert leans(*readings, on=20) == (0, 40)


def test_whose_readings_are_the_meters_own_need_not_be_decided() -> None:
    readings = [read(0, "5", serial="9"), read(5, "6", serial="9"), read(10, "10"), read(20, "21", "manual")]
    assert leans(*readings, read(40, "40"), read(50, "50"), on=10) == (5, 40)


def test_a_wrong_unit_makes_no_more_of_it_than_its_own_instants() -> None:
    found = leaning(REGISTER, [replace(read(number, "1"), unit="m3") for number in (0, 10, 20)], lambda _: True)
    assert found == Period(day(0), day(20))
