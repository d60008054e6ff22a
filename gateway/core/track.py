"""The course of one register: which stretches of it can be believed, and its index at any boundary.

Between two neighbouring nodes of one physical meter (gateway/core/course.py) lies a *stretch*; an anomaly at a node
blocks the two stretches that touch it and nothing else.

What a meter kept itself for a date (`stored`) is no node: a value that fits between its neighbours is the index at a
boundary that has no reading of its own, and counts for nothing else.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from gateway.core.course import instant, nodes
from gateway.core.period import Period
from gateway.core.units import Scaled, convert, half_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.core.course import Node
    from gateway.core.metering import Reading, Register, Stranger

Quality = Literal["measured", "stored", "bracketed", "interpolated", "manual", "substituted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An index that was read."""

    value: Scaled
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The index at a boundary and how it is known."""

    value: Scaled
    at: datetime
    quality: Quality
    clock_trusted: bool = True
    between: tuple[Point, Point] | None = None
    """the two readings that it was interpolated between"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What one physical meter counted between two boundaries: less than its modulus, with at most one rollover."""

    meter: str
    serial: str
    register: str
    obis: str
    modulus: Scaled | None
    """the register's own; else, where the counter rolled over, the one that it did at"""
    start: Index
    until: Index

    @property
    def quantity(self) -> Scaled:
        """The difference of the indexes; the modulus is added where the counter rolled over."""
        difference = self.until.value - self.start.value
        return difference + self.modulus if difference.digits < 0 and self.modulus is not None else difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The course of one register, nodes in order of time."""

    register: Register
    exponent: int
    nodes: tuple[Node, ...]
    anchors: tuple[Node, ...]
    """the nodes, and what the meter kept itself for a date between two of them"""
    tolerance: timedelta = timedelta(0)
    stranger: Stranger | None = None
    """who answers already before the first node, and is not believed"""

    @property
    def extent(self) -> Period | None:
        """From the first to the last node; None without any."""
        return Period(self.nodes[0].at, self.nodes[-1].at) if self.nodes else None

    def blocked(self) -> list[tuple[Period, str]]:
        """The stretches that touch an anomaly, each with its code, neighbours of one code merged."""
        found: list[tuple[Period, str]] = []
        for left, right in zip(self.nodes, self.nodes[1:], strict=False):
            code = right.fault or left.fault
            if code is None or left.at == right.at:
                continue
            if found and found[-1][0].until == left.at and found[-1][1] == code:
                found[-1] = (Period(found[-1][0].start, right.at), code)
            else:
                found.append((Period(left.at, right.at), code))
        return found

    def fault(self, at: datetime) -> str | None:
        """Why what was read at this instant, which must lie in `extent`, is not believed; None where it is.

        None also where nothing was: a reading that retention has thinned was one without doubt.
        """
        here = self.nodes[bisect_left(self.nodes, at, key=instant) : bisect_right(self.nodes, at, key=instant)]
        return next((node.fault for node in here if node.fault is not None), None)

    def believes(self, period: Period) -> bool:
        """Whether the period lies in `extent` and touches no blocked stretch."""
        extent = self.extent
        inside = extent is not None and extent.overlap(period) == period
        return inside and not any(stretch.overlap(period) for stretch, _ in self.blocked())

    def segments(self, period: Period) -> tuple[Segment, ...]:
        """What was counted in `period`, which must lie in `extent` and touch no blocked stretch."""
        first = bisect_right(self.nodes, period.start, key=instant)
        last = bisect_left(self.nodes, period.until, key=instant)
        inside = self.nodes[first:last]
        edges = [self._boundary(period.start, ends=False), *inside, self._boundary(period.until, ends=True)]
        return tuple(self._join(edges))

    def quantity(self, period: Period) -> int:
        """The sum of `segments(period)` in steps of `10**exponent`."""
        return sum(segment.quantity.at(self.exponent).digits for segment in self.segments(period))

    def known(self, at: datetime) -> bool:
        """Whether the index at `at` was read or kept by the meter, or lies between two measured readings."""
        low = bisect_left(self.anchors, at, key=instant)
        return bisect_right(self.anchors, at, key=instant) > low or None not in self._measured_around(at)

    def _measured_around(self, at: datetime) -> tuple[Node | None, Node | None]:
        """The measured neighbours whose indexes can be compared: of one meter, which did not begin again between."""
        low = bisect_left(self.nodes, at, key=instant)
        life = (self.nodes[low - 1].unit, self.nodes[low - 1].life) if low else None
        before, after = (
            map(self.nodes.__getitem__, way) for way in (reversed(range(low)), range(low, len(self.nodes)))
        )
        left = (node for node in before if node.interpolates and (node.unit, node.life) == life)
        right = (node for node in after if node.interpolates and (node.unit, node.life) == life)
        return next(left, None), next(right, None)

    def _join(self, edges: Sequence[Node | _Boundary]) -> Iterable[Segment]:
        """Segments that are cut only where the physical meter changes, or before a whole modulus was counted."""
        start, previous = edges[0], edges[0]
        for edge in edges[1:]:
            if edge.unit != start.unit:
                yield self._segment(start, previous)
                start = edge
            elif not _is_one_turn(start, previous, edge):
                yield self._segment(start, previous)
                start = previous
            previous = edge
        yield self._segment(start, previous)

    def _segment(self, start: Node | _Boundary, until: Node | _Boundary) -> Segment:
        turned = until.turned - start.turned
        used = Scaled(turned, self.exponent) if turned else None
        return Segment(
            meter=self.register.meter,
            serial=start.serial,
            register=self.register.key,
            obis=start.obis,
            modulus=used if self.register.modulus is None else self.register.modulus,
            start=self._index(start),
            until=self._index(until),
        )

    def _index(self, edge: Node | _Boundary) -> Index:
        return Index(
            value=Scaled(edge.shown, self.exponent),
            at=edge.at,
            quality=edge.origin,
            clock_trusted=edge.clock_trusted,
            between=edge.between if isinstance(edge, _Boundary) else None,
        )

    def _boundary(self, at: datetime, *, ends: bool) -> Node | _Boundary:
        """The anchor at `at` (of an exchange: the side that the period lies on), or the index interpolated there."""
        low, high = bisect_left(self.anchors, at, key=instant), bisect_right(self.anchors, at, key=instant)
        if low < high:
            return self.anchors[low] if ends else self.anchors[high - 1]
        left, right = self._measured_around(at)
        if left is None or right is None:
            message = f"the index of {self.register.id} at {at} is not known"
            raise LookupError(message)
        share = Fraction(Period(left.at, at).microseconds, Period(left.at, right.at).microseconds)
        step = 10 ** (self.register.exponent - self.exponent)
        course = half_up((left.course + (right.course - left.course) * share) / step) * step
        near = right.at - left.at <= self.tolerance
        before, after = self.anchors[low - 1], self.anchors[low]
        course = min(max(course, before.course), after.course)
        return _Boundary(
            at=at,
            course=course,
            turned=after.turned if course >= after.turned else before.turned,
            origin="bracketed" if near else "interpolated",
            serial=left.serial,
            obis=left.obis,
            clock_trusted=left.clock_trusted and right.clock_trusted,
            unit=left.unit,
            between=(self._point(left), self._point(right)),
        )

    def _point(self, node: Node) -> Point:
        return Point(value=Scaled(node.raw, self.exponent), at=node.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Boundary:
    """An interpolated index, shaped like a node."""

    at: datetime
    course: int
    origin: Quality
    serial: str
    obis: str
    clock_trusted: bool
    unit: int
    turned: int
    between: tuple[Point, Point]

    @property
    def shown(self) -> int:
        """The index on the meter itself."""
        return self.course - self.turned


def _is_one_turn(start: Node | _Boundary, previous: Node | _Boundary, edge: Node | _Boundary) -> bool:
    """Whether what was counted from `start` to `edge` is the difference of their indexes, over one rollover at most.

    `previous` is the neighbour before `edge`, which is one turn away.
    """
    if edge.turned == start.turned:
        return True
    return previous.turned in {start.turned, edge.turned} and edge.shown < start.shown


def track(
    register: Register,
    readings: Iterable[Reading],
    tolerance: timedelta = timedelta(0),
    stranger: Stranger | None = None,
) -> Track:
    """The course of `register` from its readings, given in any order; those of an untrusted clock are left out.

    `stranger`: who is known to answer in place of the register's meter since before these readings.
    """
    trusted = sorted((reading for reading in readings if reading.clock_trusted), key=lambda reading: reading.at)
    values = [convert(reading.index, reading.unit, register.unit) for reading in trusted]
    marks = [mark for exchange in register.exchanges for mark in (exchange.final, exchange.start)]
    marks += [mark for mark in (register.backflow, register.modulus) if mark is not None]
    exponent = min([register.exponent, *(value.exponent for value in values), *map(_needed, marks)])
    course, kept = nodes(register.judging(stranger), list(zip(trusted, values, strict=True)), exponent)
    anchors = tuple(sorted((*course, *kept), key=instant))
    return Track(
        register=register, exponent=exponent, nodes=course, anchors=anchors, tolerance=tolerance, stranger=stranger
    )


def _needed(mark: Scaled) -> int:
    """The exponent that a number needs: how a person writes it changes no step that months are counted in."""
    digits, exponent = mark.digits, mark.exponent
    while exponent < 0 and digits % 10 == 0:
        digits, exponent = digits // 10, exponent + 1
    return exponent
