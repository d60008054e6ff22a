"""Which indexes of a register lean on a reading: they are interpolated with it and without it, and compared."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gateway.core.course import instant
from gateway.core.period import MAX, Period
from gateway.core.track import track
from gateway.core.units import Scaled, UnitError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from gateway.core.metering import Reading, Register
    from gateway.core.track import Track


def leaning(register: Register, readings: Collection[Reading], changed: Callable[[Reading], bool]) -> Period | None:
    """From the first to the last instant at which what is billed may differ with and without what is `changed`.

    That is added to or taken from `readings`, which hold its neighbours, too, as far as settling reads them. The
    instants of what changed lie in it, and both of its edges count. None where nothing did.

    Whose readings are the meter's own may be undecided: those of each serial number are also looked at alone.
    """
    serials = {one.serial for one in readings if one.serial}
    alone = [[one for one in readings if one.serial in {"", serial}] for serial in serials] if len(serials) > 1 else []
    found = [edge for some in (readings, *alone) for edge in _edges(register, some, changed)]
    return Period(min(found), max(found)) if found else None


def _edges(register: Register, readings: Collection[Reading], changed: Callable[[Reading], bool]) -> list[datetime]:
    found = [one.at for one in readings if changed(one)]
    if not found:
        return []
    try:
        courses = track(register, readings), track(register, [one for one in readings if not changed(one)])
    except UnitError:  # nothing of it is billed until its unit is corrected, and then all of it is settled again
        return found
    for gap in pairwise(sorted({node.at for course in courses for node in course.anchors})):
        if _inside(courses[0], *gap) != _inside(courses[1], *gap):
            found += gap
    return [*found, MAX] if _goes_on(*courses) else found


def _goes_on(one: Track, other: Track) -> bool:
    """Whether a backflow holds another maximum beyond what is looked at, until the index rises above it."""
    ends = [
        [(node.at, Scaled(node.shown, each.exponent).fraction) for node in each.nodes[-1:]] for each in (one, other)
    ]
    return any(at == same and index != held for (at, index), (same, held) in zip(*ends, strict=False))


def _inside(course: Track, start: datetime, until: datetime) -> tuple[Any, ...] | None:
    """What each index between two neighbouring instants is made of; None where none is known there."""
    at = start + (until - start) / 2
    place, beside = (bisect_left(nodes, at, key=instant) for nodes in (course.nodes, course.anchors))
    if place in {0, len(course.nodes)}:
        return None
    left, right = course.nodes[place - 1], course.nodes[place]
    before, after = course.anchors[beside - 1], course.anchors[beside]
    shown, counted = (Scaled(digits, course.exponent) for digits in (before.shown, after.course - before.course))
    between = course.segments(Period(at, at))[0].start.between if course.known(at) else None
    return right.fault or left.fault, before.at, shown, after.at, counted, between
