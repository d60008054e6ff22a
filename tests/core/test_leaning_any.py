"""Random courses: no month that leans on nothing that changed is billed otherwise, read as settling reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.leaning import leaning
from gateway.core.metering import Reading
from gateway.core.period import Period
from gateway.core.track import track
from gateway.core.units import Scaled
from gateway.service.beside import spans
from tests.core.test_leaning import REGISTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HOUR = timedelta(hours=1)
EDGES = [datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 6)]
GAPS = st.sampled_from([1, 2, 5, 7, 12, 30, 100, 200, 400])
"""hours from one reading to the next"""
KINDS = st.sampled_from(
    ["measured"] * 8 + ["manual", "manual", "substituted", "stored", "high", "high", "low", "other", "untrusted"]
)


@st.composite
def courses(draw: st.DrawFn) -> list[Reading]:
    steps = draw(st.lists(st.tuples(GAPS, KINDS, st.integers(0, 5)), min_size=6, max_size=20))
    hours = list(accumulate(gap for gap, _, _ in steps))
    counted = accumulate(100 * flow for _, _, flow in steps)
    return [
        _reading(EDGES[0] + hour * HOUR, kind, 50_000 + index)
        for hour, (_, kind, _), index in zip(hours, steps, counted, strict=True)
    ]


def _reading(at: datetime, kind: str, index: int) -> Reading:
    """`index` in Wh."""
    by_hand = kind in {"manual", "substituted"}
    wrong = {"high": 30_000, "low": -30_000, "other": -40_000}.get(kind, 0)
    return Reading(
        meter="m",
        register="k",
        at=at,
        index=Scaled(index + wrong, -3),
        unit="kWh",
        serial="" if by_hand else "2" if kind == "other" else "1",
        origin=kind if by_hand or kind == "stored" else "measured",  # type: ignore[arg-type] # its words
        clock_trusted=kind != "untrusted",
    )


def around(readings: Iterable[Reading], at: datetime) -> list[Reading]:
    """What is read around an instant, as a store gives it."""
    heard: list[Reading] = []
    for span in spans(at, heard):
        beside = [one for one in readings if one.origin != "stored"]
        before = [one for one in beside if one.at < span.start][-1:]
        after = [one for one in beside if one.at > span.until][:1]
        heard[:] = [*before, *(one for one in readings if span.start <= one.at <= span.until), *after]
    return heard


def billed(readings: Sequence[Reading], month: Period) -> list[Any] | None:
    """The evidence of a month; None where anything of it is held, as that is looked at every day."""
    near = [one for edge in (month.start, month.until) for one in around(readings, edge)]
    course = track(REGISTER, [one for one in readings if one.at in month or one in near])
    part = None if course.extent is None else course.extent.overlap(month)
    if part is None:
        return []
    if any(part.overlap(blocked) for blocked, _ in course.blocked()):
        return None
    if not (course.known(part.start) and course.known(part.until)):
        return None
    return [
        (each.start.at, each.start.value, each.until.at, each.until.value, each.quantity)
        for each in course.segments(part)
    ]


@given(courses(), st.data())
@settings(max_examples=150)
def test_a_month_that_does_not_lean_on_what_changes_is_billed_the_same_without_it(
    readings: list[Reading], data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(readings) - 1))
    changed = readings[first : first + data.draw(st.integers(1, 3))]
    without = [one for one in readings if one not in changed]
    heard = dict.fromkeys([*around(readings, changed[0].at), *around(readings, changed[-1].at)])
    leaned = leaning(REGISTER, heard, changed.__contains__)
    assert leaned is not None
    for month in (Period(start, until) for start, until in pairwise(EDGES)):
        if month.until <= leaned.start or leaned.until < month.start:
            before, after = billed(readings, month), billed(without, month)
            assert before == after or None in (before, after)
