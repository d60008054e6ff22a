"""A counter that begins again at 0: at the index that its meter's model says, and only where so much can flow."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.charge import body, parse
from gateway.core.metering import Exchange, Reading
from gateway.core.period import Period
from gateway.core.track import Track, track
from gateway.core.units import Scaled
from gateway.service.judge import Judge
from gateway.service.polled import Poll
from tests.core.test_track import REGISTER, counted, day
from tests.core.worlds import MONTH, World, at, hours, worlds
from tests.verifier import counted as recomputed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from random import Random

    from gateway.core.event import Alarm
    from gateway.core.metering import Origin
    from gateway.core.track import Segment
    from gateway.service.records import PropertyRow


def heard(number: float, index: str, modulus: str | None = "1000", origin: Origin = "measured") -> Reading:
    """A reading; a person and the meter's own memory say nothing of a modulus."""
    return Reading(
        meter="m",
        register="k",
        at=day(number),
        index=Scaled.parse(index),
        unit="kWh",
        origin=origin,
        modulus=Scaled.parse(modulus) if modulus is not None and origin == "measured" else None,
    )


def held(course: Track) -> list[str]:
    return [code for _, code in course.blocked()]


def evidence(course: Track, first: float, last: float) -> list[tuple[str, str, str]]:
    """Index at the start, at the end, modulus: as they are published."""
    found = course.segments(Period(day(first), day(last)))
    return [(str(one.start.value), str(one.until.value), str(one.modulus)) for one in found]


def test_the_models_modulus_is_believed_and_stands_in_the_evidence_where_it_was_used() -> None:
    course = track(REGISTER, [heard(0, "980"), heard(1, "990"), heard(2, "5"), heard(3, "7")])
    assert held(course) == []
    assert counted(course, 0, 3) == "27.0"
    assert evidence(course, 0, 3) == [("980.0", "7.0", "1000.0")]
    assert evidence(course, 0, 1) == [("980.0", "990.0", "None")]
    assert evidence(course, 2, 3) == [("5.0", "7.0", "None")]


@pytest.mark.parametrize(
    ("modulus", "most", "last"),
    [
        ("1000", None, "990"),  # without a largest flow nothing is a rollover
        ("1000", Scaled(14, 0), "990"),  # 15 in a day is more than can flow
        ("100000", Scaled(100, 0), "990"),  # too large a modulus
        ("900", Scaled(100, 0), "990"),  # too small a one: it has shown more
        ("990", Scaled(100, 0), "990"),
        (None, Scaled(100, 0), "990"),
        ("1000", Scaled(100, 0), "500"),  # a reset
    ],
)
def test_elsewhere_a_decrease_stays_an_anomaly(modulus: str | None, most: Scaled | None, last: str) -> None:
    register = replace(REGISTER, max_per_day=most)
    course = track(register, [heard(0, last, modulus), heard(1, "5", modulus), heard(2, "6", modulus)])
    assert held(course) == ["index_decrease"]


def test_a_negative_index_is_no_rollover() -> None:
    assert held(track(REGISTER, [heard(0, "90"), heard(1, "-950")])) == ["index_decrease"]


@pytest.mark.parametrize("said", ["500", "4294967.296", None])
def test_the_registers_own_modulus_beats_the_models(said: str | None) -> None:
    register = replace(REGISTER, modulus=Scaled(1000, 0))
    course = track(register, [heard(0, "990", said), heard(1, "5", said)])
    assert evidence(course, 0, 1) == [("990.0", "5.0", "1000")]
    assert evidence(track(register, [heard(0, "5", said), heard(1, "9", said)]), 0, 1) == [("5.0", "9.0", "1000")]


def test_a_declared_backflow_is_no_rollover_however_long_nothing_was_read() -> None:
    register = replace(REGISTER, backflow=Scaled.parse("0.5"))
    course = track(register, [heard(0, "500"), heard(20, "499.8"), heard(21, "501")])
    assert held(course) == []
    assert counted(course, 0, 21) == "1.0"


def test_after_an_exchange_the_new_meters_modulus_counts() -> None:
    exchange = Exchange(at=day(1.5), final=Scaled.parse("3"), start=Scaled.parse("9995"), serial="2")
    readings = [heard(0, "990"), heard(1, "2"), heard(2, "9999", "10000"), heard(3, "5", "10000")]
    course = track(replace(REGISTER, exchanges=(exchange,)), readings)
    assert held(course) == []
    assert evidence(course, 0, 3) == [("990.0", "3.0", "1000.0"), ("9995.0", "5.0", "10000.0")]
    assert counted(course, 0, 3) == "23.0"


def test_where_a_release_has_corrected_the_model_each_step_goes_by_its_later_reading() -> None:
    """The first two were read with a modulus that was too large, the others with the right one."""
    course = track(REGISTER, [heard(0, "980", "100000"), heard(1, "990", "100000"), heard(2, "5"), heard(3, "30")])
    assert (held(course), counted(course, 0, 3)) == ([], "50.0")
    wrong = track(REGISTER, [heard(0, "990"), heard(1, "5", "100000"), heard(2, "6")])
    assert held(wrong) == ["index_decrease"]
    both = track(REGISTER, [heard(0, "990"), heard(1, "80"), heard(2, "99", "100"), heard(3, "20", "100")])
    assert evidence(both, 0, 3) == [("990.0", "99.0", "1000.0"), ("99.0", "20.0", "100.0")]
    assert counted(both, 0, 3) == "130.0"


def test_a_model_that_knows_no_modulus_any_more_is_believed_too() -> None:
    assert held(track(REGISTER, [heard(0, "990"), heard(1, "5", None)])) == ["index_decrease"]


def test_of_two_moduli_for_one_value_the_larger_counts_whatever_comes_first() -> None:
    twice = [heard(1, "5", "995"), heard(1, "5", "1000")]
    for order in (twice, twice[::-1]):
        assert counted(track(REGISTER, [heard(0, "990"), *order]), 0, 1) == "15.0"


def test_what_a_person_or_the_meter_wrote_down_goes_by_the_readings_around_it() -> None:
    by_hand = track(REGISTER, [heard(0, "990"), heard(1, "5", origin="manual"), heard(2, "9")])
    assert (held(by_hand), counted(by_hand, 0, 1)) == ([], "15.0")
    kept = track(REGISTER, [heard(0, "980"), heard(1, "4", origin="stored"), heard(2, "9")])
    assert [one.until.quality for one in kept.segments(Period(day(0), day(1)))] == ["stored"]
    assert (counted(kept, 0, 1), counted(kept, 1, 2)) == ("24.0", "5.0")
    alone = track(REGISTER, [heard(0, "990", origin="manual"), heard(1, "5", origin="manual")])
    assert held(alone) == ["index_decrease"]


def test_a_boundary_is_interpolated_over_the_rollover() -> None:
    course = track(REGISTER, [heard(0, "990"), heard(1, "10")])
    assert evidence(course, 0, 0.25) == [("990.0", "995.0", "None")]
    assert evidence(course, 0, 0.5) == [("990.0", "0.0", "1000.0")]
    assert evidence(course, 0.25, 0.75) == [("995.0", "5.0", "1000.0")]
    assert evidence(course, 0.5, 1) == [("0.0", "10.0", "None")]


def test_a_modulus_in_another_unit_is_turned_into_the_registers() -> None:
    first, second = heard(0, "990"), replace(heard(1, "5000", "1000000"), unit="Wh")
    assert counted(track(REGISTER, [first, second]), 0, 1) == "15.000"


def test_the_models_modulus_makes_no_number_finer() -> None:
    """What is shared out in whole steps stays as it was, whatever the model says."""
    course = track(REGISTER, [heard(0, "990", "1000.001"), heard(1, "5", "1000.001")])
    assert (course.exponent, held(course)) == (-1, ["index_decrease"])


MODULI = ("1000", "500.0", "4294967.296")


@st.composite
def rolling(draw: st.DrawFn) -> tuple[list[Reading], list[Fraction]]:
    """A counter that begins again and again, its model corrected or not, and how much flowed before each reading."""
    modulus = Fraction(draw(st.sampled_from(MODULI)))
    steps = [Fraction(one, 10) for one in draw(st.lists(st.integers(0, 999), min_size=2, max_size=25))]
    index = Fraction(draw(st.integers(0, 9999)), 10) % modulus
    readings, flown, total = [], [], Fraction(0)
    for number, flow in enumerate(steps):
        turns = index + flow >= modulus
        index, total = (index + flow) % modulus, total + flow
        others = [str(modulus.__floor__()) if modulus.denominator == 1 else "4294967.296"]
        said = others[0] if turns else draw(st.sampled_from([*others, "100000", None]))
        readings.append(heard(number, str(Scaled.rounded(index, -1)), said))
        flown.append(total)
    return readings, flown


@given(rolling(), st.randoms(use_true_random=False), st.lists(st.integers(0, 600), max_size=4, unique=True))
def test_however_a_rolling_course_is_cut_and_shuffled_its_evidence_adds_up(
    found: tuple[list[Reading], list[Fraction]], random: Random, cuts: list[int]
) -> None:
    readings, flown = found
    course = track(REGISTER, readings)
    assert held(course) == []
    whole = course.extent
    assert whole is not None
    pieces = whole.cut([whole.start + (whole.until - whole.start) * cut / 600 for cut in cuts])
    segments = [one for piece in pieces for one in course.segments(piece)]
    assert sum(one.quantity.fraction for one in segments) == flown[-1] - flown[0]
    assert sum(recomputed(published(one)) for one in segments) == flown[-1] - flown[0]
    for (first, before), (second, after) in pairwise(zip(readings, flown, strict=True)):
        assert sum(one.quantity.fraction for one in course.segments(Period(first.at, second.at))) == after - before
    random.shuffle(readings)
    assert track(REGISTER, readings) == course


def published(segment: Segment) -> dict[str, Any]:
    """As the contract has it."""
    return {
        "from": {"value": str(segment.start.value)},
        "until": {"value": str(segment.until.value)},
        "modulus": None if segment.modulus is None else str(segment.modulus),
        "factor": "1",
        "sign": 1,
    }


def rolled(world: World) -> World:
    """The same building with a meter of two digits before the point and a largest flow that lets them pass."""
    register = replace(world.book.registers["r"], max_per_day=Scaled(5000, 0))
    modulus = Scaled(100, 0)
    kept = [replace(one, index=Scaled(one.index.digits % 100_000, -3), modulus=modulus) for one in world.readings]
    return World(book=replace(world.book, registers={"r": register}), readings=tuple(kept))


@given(worlds(), hours)
def test_a_building_whose_meter_rolls_over_pays_what_it_would_without(world: World, hour: int) -> None:
    turning = rolled(world)
    whole, plain = turning.settle(), world.settle()
    assert not whole.holds
    assert [one.quantity for one in whole.charges] == [one.quantity for one in plain.charges]
    assert [one.amount for one in whole.charges] == [one.amount for one in plain.charges]
    for piece in MONTH.cut([at(hour)]):
        ours, theirs = turning.settle(piece).charges, world.settle(piece).charges
        assert [one.quantity for one in ours] == [one.quantity for one in theirs]
    for one in whole.charges:
        assert parse(body(one)) == one
        own = sum(recomputed(segment) for segment in body(one)["evidence"]["segments"])
        assert own == sum(segment.quantity.fraction for segment in one.segments)


@dataclass(slots=True)
class Past:
    """A store that keeps all in memory, and counts what it is told."""

    rows: tuple[PropertyRow, ...] = ()
    kept: list[Reading] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)

    async def keep(self, polls: Sequence[Poll]) -> None:
        self.kept += [each for poll in polls for each in poll.readings]

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:  # noqa: ARG002
        return self.rows

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime, keys: Collection[str] | None = None
    ) -> Mapping[tuple[str, str], tuple[Reading, ...]]:
        del facility_meters, start, until, keys
        return {("m", "k"): tuple(self.kept)}

    async def open_alarms(self) -> Sequence[Alarm]:
        return []

    async def raise_alarm(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        del code, source, at


@given(st.lists(st.tuples(st.integers(0, 1100), st.sampled_from(["1000", "500", None])), min_size=2, max_size=12))
def test_a_reading_is_judged_when_it_is_polled_as_it_is_when_it_is_settled(
    values: list[tuple[int, str | None]],
) -> None:
    readings = [heard(number, str(index), said) for number, (index, said) in enumerate(values)]
    assert asyncio.run(_judged(readings)) == _settled(readings)


async def _judged(readings: Sequence[Reading]) -> Counter[str]:
    past = Past()
    judge = Judge(past, past, past)
    judge._registers, judge._looked = {("m", "k"): REGISTER}, 1  # noqa: SLF001 - what it would find in the property data
    for one in readings:
        await judge.keep(
            [Poll(meter="m", at=one.at, serial="", status=0, clock_trusted=True, boot="", readings=(one,), raw=b"")]
        )
    return Counter(
        {verdict: count for (_, verdict), count in judge.counts.items() if verdict in {"exchange_suspected", "garbage"}}
    )


def _settled(readings: Sequence[Reading]) -> Counter[str]:
    told = {"index_decrease": "exchange_suspected", "index_jump": "garbage"}
    nodes = track(REGISTER, readings).nodes
    return Counter(told[node.fault] for node in nodes if node.fault is not None and not node.contradicted)
