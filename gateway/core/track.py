"""The course of one register: which stretches of it can be believed, and its index at any boundary.

Indexes are integers in steps of `10**exponent`. A *node* is an instant at which the index is known:
a reading, or one side of an exchange. Between two neighbouring nodes of one physical meter lies a
*stretch*; an anomaly at a node blocks the two stretches that touch it and nothing else.
Rollovers are unwrapped, so that within one physical meter the course never falls.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from gateway.core.period import Period
from gateway.core.units import Scaled, convert, half_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.core.metering import Exchange, Origin, Reading, Register

Quality = Literal["measured", "stored", "bracketed", "interpolated", "manual", "substituted"]
ESTIMATED: frozenset[Quality] = frozenset({"interpolated", "substituted"})
_PREFERENCE: tuple[Origin, ...] = ("measured", "stored", "manual", "substituted")
_DAY = timedelta(days=1) // timedelta(microseconds=1)


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
    """What one physical meter counted between two boundaries: less than its modulus."""

    meter: str
    serial: str
    register: str
    obis: str
    modulus: Scaled | None
    start: Index
    until: Index

    @property
    def quantity(self) -> Scaled:
        """The difference of the indexes; the modulus is added where the counter rolled over."""
        difference = self.until.value - self.start.value
        return difference + self.modulus if difference.digits < 0 and self.modulus is not None else difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An instant at which the index of a physical meter is known."""

    at: datetime
    raw: int
    """as the meter shows it"""
    course: int
    """unwrapped: never falls within one physical meter"""
    origin: Origin
    serial: str
    obis: str
    clock_trusted: bool
    unit: int
    """number of the physical meter: 0 before the first exchange"""
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The course of one register, nodes in order of time."""

    register: Register
    exponent: int
    nodes: tuple[Node, ...]
    tolerance: timedelta = timedelta(0)

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

    def segments(self, period: Period) -> tuple[Segment, ...]:
        """What was counted in `period`, which must lie in `extent` and touch no blocked stretch."""
        first = bisect_right(self.nodes, period.start, key=_at)
        last = bisect_left(self.nodes, period.until, key=_at)
        inside = self.nodes[first:last]
        edges = [self._boundary(period.start, ends=False), *inside, self._boundary(period.until, ends=True)]
        return tuple(self._join(edges))

    def quantity(self, period: Period) -> int:
        """The sum of `segments(period)` in steps of `10**exponent`."""
        return sum(segment.quantity.at(self.exponent).digits for segment in self.segments(period))

    def known(self, at: datetime) -> bool:
        """Whether the index at `at` was read, or lies between two measured readings."""
        low = bisect_left(self.nodes, at, key=_at)
        return bisect_right(self.nodes, at, key=_at) > low or None not in self._measured_around(low)

    def _measured_around(self, low: int) -> tuple[Node | None, Node | None]:
        left = (node for node in reversed(self.nodes[:low]) if _interpolates(node))
        right = (node for node in self.nodes[low:] if _interpolates(node))
        return next(left, None), next(right, None)

    def _join(self, edges: Sequence[Node | _Boundary]) -> Iterable[Segment]:
        """Segments that are cut only where the physical meter changes, or before a whole modulus was counted."""
        modulus = _steps(self.register.modulus, self.exponent)
        start, previous = edges[0], edges[0]
        for edge in edges[1:]:
            if edge.unit != start.unit:
                yield self._segment(start, previous)
                start = edge
            elif modulus is not None and edge.course - start.course >= modulus:
                yield self._segment(start, previous)
                start = previous
            previous = edge
        yield self._segment(start, previous)

    def _segment(self, start: Node | _Boundary, until: Node | _Boundary) -> Segment:
        return Segment(
            meter=self.register.meter,
            serial=start.serial,
            register=self.register.key,
            obis=start.obis,
            modulus=self.register.modulus,
            start=self._index(start),
            until=self._index(until),
        )

    def _index(self, edge: Node | _Boundary) -> Index:
        modulus = _steps(self.register.modulus, self.exponent)
        value = edge.course if modulus is None else edge.course % modulus
        return Index(
            value=Scaled(value, self.exponent),
            at=edge.at,
            quality=edge.origin,
            clock_trusted=edge.clock_trusted,
            between=edge.between if isinstance(edge, _Boundary) else None,
        )

    def _boundary(self, at: datetime, *, ends: bool) -> Node | _Boundary:
        """The node at `at` (of an exchange: the side that the period lies on), or the index interpolated there."""
        low, high = bisect_left(self.nodes, at, key=_at), bisect_right(self.nodes, at, key=_at)
        if low < high:
            return self.nodes[low] if ends else self.nodes[high - 1]
        left, right = self._measured_around(low)
        if left is None or right is None:
            message = f"the index of {self.register.id} at {at} is not known"
            raise LookupError(message)
        share = Fraction(Period(left.at, at).microseconds, Period(left.at, right.at).microseconds)
        step = 10 ** (self.register.exponent - self.exponent)
        course = half_up((left.course + (right.course - left.course) * share) / step) * step
        near = right.at - left.at <= self.tolerance
        return _Boundary(
            at=at,
            course=min(max(course, self.nodes[low - 1].course), self.nodes[low].course),
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
    between: tuple[Point, Point]


def track(register: Register, readings: Iterable[Reading], tolerance: timedelta = timedelta(0)) -> Track:
    """The course of `register` from its readings, given in any order; those of an untrusted clock are left out."""
    trusted = sorted((reading for reading in readings if reading.clock_trusted), key=lambda reading: reading.at)
    values = [convert(reading.index, reading.unit, register.unit) for reading in trusted]
    marks = [mark for exchange in register.exchanges for mark in (exchange.final, exchange.start)]
    marks += [mark for mark in (register.backflow, register.modulus) if mark is not None]
    exponent = min([register.exponent, *(value.exponent for value in (*values, *marks))])
    nodes = _nodes(register, list(zip(trusted, values, strict=True)), exponent)
    return Track(
        register=register, exponent=exponent, nodes=tuple(_course(register, nodes, exponent)), tolerance=tolerance
    )


def _nodes(register: Register, readings: Sequence[tuple[Reading, Scaled]], exponent: int) -> list[Node]:
    exchanges = sorted(register.exchanges, key=_at)
    changes = [exchange.at for exchange in exchanges]
    nodes = [node for number, exchange in enumerate(exchanges) for node in _sides(exchange, number, exponent)]
    for at, group in groupby(readings, key=lambda pair: pair[0].at):
        if at in changes:
            continue  # the exchange itself says what both meters showed at that instant
        nodes.append(_node(list(group), bisect_right(changes, at), exponent))
    return sorted(nodes, key=lambda node: (node.at, node.unit))


def _sides(exchange: Exchange, number: int, exponent: int) -> tuple[Node, Node]:
    old = Node(
        at=exchange.at,
        raw=exchange.final.at(exponent).digits,
        course=0,
        origin="measured",
        serial="",
        obis="",
        clock_trusted=True,
        unit=number,
    )
    new = replace(old, raw=exchange.start.at(exponent).digits, serial=exchange.serial, unit=number + 1)
    return old, new


def _node(group: Sequence[tuple[Reading, Scaled]], unit: int, exponent: int) -> Node:
    """One node for all values of one instant: a measured value beats a stored one, and so on."""
    best = min(_PREFERENCE.index(reading.origin) for reading, _ in group)
    same = [(reading, value) for reading, value in group if reading.origin == _PREFERENCE[best]]
    reading, value = same[0]
    return Node(
        at=reading.at,
        raw=value.at(exponent).digits,
        course=0,
        origin=reading.origin,
        serial=reading.serial,
        obis=reading.obis,
        clock_trusted=reading.clock_trusted,
        unit=unit,
        fault="conflicting_reading" if any(other != value for _, other in same[1:]) else None,
    )


def _course(register: Register, nodes: Iterable[Node], exponent: int) -> Iterable[Node]:
    """The nodes with their unwrapped course and their faults. One physical meter after the other."""
    for _, unit in groupby(nodes, key=lambda node: node.unit):
        yield from _course_of_unit(_Limits.of(register, exponent), list(unit))


def _course_of_unit(limits: _Limits, nodes: Sequence[Node]) -> Iterable[Node]:
    serial = next((node.serial for node in nodes if node.serial), "")
    obis = next((node.obis for node in nodes if node.obis), "")
    previous: Node | None = None  # the neighbour
    good: Node | None = None  # the last one without a fault
    for bare in nodes:
        course, fault = bare.raw, bare.fault
        if fault is None and bare.serial not in {"", serial}:
            fault = "identity_changed"
        if fault is None:
            course, fault = _judge(limits, bare, good, previous)
        node = replace(bare, serial=serial, obis=obis, course=course, fault=fault)
        yield node
        previous = node
        good = node if fault is None else good


def _judge(limits: _Limits, node: Node, good: Node | None, previous: Node | None) -> tuple[int, str | None]:
    """The node's course, and a fault where it follows neither from the last good node nor from its neighbour.

    A value that follows from its neighbour alone (a counter that was reset) is believed from there on: the
    stretch before it is blocked by the neighbour's fault.
    """
    if good is None:
        return node.raw, None
    fault = None
    for before in (good, previous):
        if before is None:
            continue
        course, fault_here = limits.step(before, node)
        if fault_here is None:
            return course, None
        fault = fault or fault_here
    return node.raw, fault


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """What a register can do between two nodes, in steps of `10**exponent`."""

    step_size: int
    modulus: int | None
    backflow: int
    max_per_day: Fraction | None

    @classmethod
    def of(cls, register: Register, exponent: int) -> _Limits:
        return cls(
            step_size=10 ** (register.exponent - exponent),
            modulus=_steps(register.modulus, exponent),
            backflow=_steps(register.backflow, exponent) or 0,
            max_per_day=None
            if register.max_per_day is None
            else register.max_per_day.fraction / Fraction(10) ** exponent,
        )

    def step(self, before: Node, node: Node) -> tuple[int, str | None]:
        """The unwrapped course at `node`, and the fault that the step from `before` would be."""
        shown = before.course if self.modulus is None else before.course % self.modulus
        flow = node.raw - shown
        if flow < 0 and self.modulus is not None and self._possible(flow + self.modulus, before, node):
            return before.course + flow + self.modulus, None
        if flow < 0:
            return before.course, None if -flow <= self.backflow else "index_decrease"
        if self.max_per_day is not None and not self._possible(flow - self.step_size, before, node):
            return before.course + flow, "index_jump"
        return before.course + flow, None

    def _possible(self, flow: int, before: Node, node: Node) -> bool:
        if self.max_per_day is None:
            return False
        return flow * _DAY <= self.max_per_day * Period(before.at, node.at).microseconds


def _interpolates(node: Node) -> bool:
    return node.origin == "measured" and node.fault is None


def _at(node: Node | Exchange) -> datetime:
    return node.at


def _steps(value: Scaled | None, exponent: int) -> int | None:
    return None if value is None else value.at(exponent).digits
