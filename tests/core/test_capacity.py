"""What fuses, pipes and connected powers let through in a day: by hand from the rules named in the module."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.core.capacity import per_day, unfit
from gateway.core.charge import settle
from gateway.core.metering import Reading
from gateway.core.track import track
from gateway.core.units import Scaled
from tests.core.worlds import REGISTER, TERMS, at, worlds_book

if TYPE_CHECKING:
    from gateway.core.metering import EnergySource, Limit


@pytest.mark.parametrize(
    ("limit", "text", "unit", "expected"),
    [
        ("fuse", "3x63 A", "kWh", "1836.1728"),  # 189 A x 1.6 x 253 V x 24 h
        ("fuse", "3x16 A", "kWh", "466.3296"),
        ("fuse", "1x13 A", "kWh", "149.9784"),  # 1.9 below 16 A
        ("fuse", "1x5 A", "kWh", "57.684"),
        ("fuse", "2x4 A", "kWh", "102.0096"),  # 2.1 up to 4 A
        ("fuse", "3x63 A", "MWh", "1.8361728"),
        ("pipe", "Q3 2.5", "m3", "75"),
        ("pipe", "Q3 1.6", "l", "48000"),
        ("pipe", "Q3 16", "m3", "480"),
        ("power", "15 kW", "kWh", "450"),
        ("power", "7.5 kW", "Wh", "225000"),
        ("power", "10 kW", "MJ", "1080"),
        ("power", "10 kW", "GJ", "1.08"),
    ],
)
def test_the_most_in_a_day_is_exact(limit: Limit, text: str, unit: str, expected: str) -> None:
    assert per_day(limit, text, unit) == Scaled.parse(expected)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        *(
            ("fuse", text)
            for text in ("63 A", "4x63 A", "0x63 A", "3x0 A", "3x63A", "3 x 63 A", "3x063 A", "3x63 a", "3x63,5 A")
        ),
        *(("fuse", text) for text in ("", "3x63 A ", "3x63000 A", "٣x63 A", "3x63 A\n")),
        *(("pipe", text) for text in ("2.5", "Q3 0", "Q3 0.000", "Q3 2,5", "Q3=2.5", "Q3 2.5 m3/h", "Q3 -1", "q3 2.5")),
        *(("power", text) for text in ("15", "15kW", "0 kW", "15 kVA", "1e3 kW", "015 kW", "1234567 kW")),
    ],
)
def test_another_form_is_refused_with_an_example(limit: Limit, text: str) -> None:
    with pytest.raises(ValueError, match=r'^"[^"]*" is no .*; write e.g. "(3x63 A|Q3 2.5|15 kW)"$'):
        per_day(limit, text, "m3" if limit == "pipe" else "kWh")


@pytest.mark.parametrize(
    ("limit", "source", "unit", "said"),
    [
        ("fuse", "heating", "kWh", 'is for electricity, not heating; write e.g. power = "15 kW" instead'),
        ("fuse", "cold_water", "m3", 'is for registers of energy, not m3; write e.g. pipe = "Q3 2.5" instead'),
        ("power", "hot_water", "l", 'is for registers of energy, not l; write e.g. pipe = "Q3 2.5" instead'),
        ("pipe", "heating", "kWh", "is for registers in m3 or l, not kWh; write fuse, power or max_per_day instead"),
    ],
)
def test_what_does_not_limit_such_a_register_says_what_does(
    limit: Limit, source: EnergySource, unit: str, said: str
) -> None:
    assert unfit(limit, source, unit) == said


@pytest.mark.parametrize("limit", ["fuse", "max_per_day"])
def test_what_is_held_for_more_than_can_flow_names_the_key_that_the_register_has(limit: Limit) -> None:
    register = replace(REGISTER, max_per_day=Scaled(1, 0), limit=limit)
    book = worlds_book(registers={"r": register})
    spike = [Reading(meter="m", register="r", at=at(hour), index=Scaled(100 * hour, 0), unit="kWh") for hour in (0, 1)]
    holds = settle(book, {"r": track(register, spike)}, TERMS).holds
    assert [one.text for one in holds if one.code == "index_jump"] == [
        f"the index rose by more than the largest possible flow: void the reading or correct {limit}"
    ]


@pytest.mark.parametrize(
    ("limit", "source", "unit"),
    [
        ("fuse", "electricity", "Wh"),
        ("pipe", "cold_water", "m3"),
        ("pipe", "hot_water", "l"),
        ("pipe", "heating", "m3"),
        ("power", "heating", "GJ"),
        ("power", "cooling", "kWh"),
        ("power", "electricity", "kWh"),
    ],
)
def test_the_others_are_told_nothing(limit: Limit, source: EnergySource, unit: str) -> None:
    assert unfit(limit, source, unit) is None
