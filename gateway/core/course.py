"""The nodes of a register's course: the instants at which its index is known, judged one after the other.

Indexes are integers in steps of `10**exponent`. A node is a reading or one side of an exchange. Rollovers are
unwrapped, so that within one physical meter the course never falls.

A step rolls over at the modulus that is known with the later of its two nodes: the register's own, else what the
reading's model says. What a person or the meter itself wrote down says none and goes by the readings around it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import groupby, takewhile
from typing import TYPE_CHECKING

from gateway.core.metering import same_serial
from gateway.core.period import Period
from gateway.core.units import Scaled, convert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.core.metering import Exchange, Origin, Reading, Register

_PREFERENCE: tuple[Origin, ...] = ("measured", "stored", "manual", "substituted")
_DAY = timedelta(days=1) // timedelta(microseconds=1)
_NO_WITNESS = frozenset({"conflicting_reading", "identity_changed"})
"""faults of a node that says nothing of its neighbour: it has two values, or is another meter's"""
HUMP = timedelta(hours=3)
"""so long before a fall its index is looked for; its last neighbour but one is looked at in any case"""


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
    turned: int = 0
    """what the rollovers before it add up to: `course - turned` is what the meter shows, but for a backflow"""
    modulus: int | None = None
    """the index at which the meter begins again at 0, as far as it is known with this node"""
    life: int = 0
    """number of the counter's start: one more where a counter that was reset is believed again"""
    exchange: bool = False
    """one side of an exchange: what a person read off the meter and wrote down"""
    fault: str | None = None
    contradicted: bool = False
    """whether nothing is wrong with it but that the index fell below it afterwards"""

    @property
    def shown(self) -> int:
        """The index that the course has reached on the meter itself."""
        return self.course - self.turned

    @property
    def interpolates(self) -> bool:
        """Whether an index beside it may be interpolated from it: it was read off the meter, and is believed."""
        return self.fault is None and (self.exchange or self.origin == "measured")


def nodes(
    register: Register, readings: Sequence[tuple[Reading, Scaled]], exponent: int
) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """The course, and what the meter itself kept for instants between its nodes, both in order of time.

    `readings` are in order of time, each with its index in the register's unit.
    """
    bare, stored = _bare(register, readings, exponent)
    course = tuple(_course(register, bare, exponent))
    return course, tuple(_between(_Limits.of(register, exponent), course, stored))


def _bare(
    register: Register, readings: Sequence[tuple[Reading, Scaled]], exponent: int
) -> tuple[list[Node], list[Node]]:
    """What the course is made of, and what the meter alone kept for other instants."""
    exchanges = sorted(register.exchanges, key=instant)
    changes = [exchange.at for exchange in exchanges]
    nodes = [node for number, one in enumerate(exchanges) for node in _sides(register, one, number, exponent)]
    stored: list[Node] = []
    for at, group in groupby(readings, key=lambda pair: pair[0].at):
        if at in changes:
            continue  # the exchange itself says what both meters showed at that instant
        pairs = list(group)
        alone = all(reading.origin == "stored" for reading, _ in pairs)
        (stored if alone else nodes).append(_node(register, pairs, bisect_right(changes, at), exponent))
    return sorted(nodes, key=lambda node: (node.at, node.unit)), stored


def _between(limits: _Limits, nodes: Sequence[Node], stored: Iterable[Node]) -> Iterable[Node]:
    """The stored values that fit between their neighbours; the others were kept by a wrong clock, or are garbage."""
    latest: Node | None = None
    for bare in stored:
        place = bisect_left(nodes, bare.at, key=instant)
        if place in {0, len(nodes)} or bare.fault is not None:
            continue
        left, right = nodes[place - 1], nodes[place]
        if bare.serial and not same_serial(bare.serial, left.serial):
            continue
        before = left if latest is None or latest.at < left.at else latest
        course, turned, fault = limits.step(before, bare, right.modulus)
        if fault is None and course <= right.course:
            latest = replace(bare, serial=left.serial, obis=bare.obis or left.obis, course=course, turned=turned)
            yield latest


def _sides(register: Register, exchange: Exchange, number: int, exponent: int) -> tuple[Node, Node]:
    old = Node(
        at=exchange.at,
        raw=exchange.final.at(exponent).digits,
        course=0,
        origin="manual",
        serial="",
        obis="",
        clock_trusted=True,
        unit=number,
        modulus=steps(register.modulus, exponent),
        exchange=True,
    )
    new = replace(old, raw=exchange.start.at(exponent).digits, serial=exchange.serial, unit=number + 1)
    return old, new


def _node(register: Register, group: Sequence[tuple[Reading, Scaled]], unit: int, exponent: int) -> Node:
    """One node for all values of one instant: a measured value beats a stored one, and so on."""
    best = min(_PREFERENCE.index(reading.origin) for reading, _ in group)
    same = [(reading, value) for reading, value in group if reading.origin == _PREFERENCE[best]]
    reading, value = same[0]
    if same[1:]:  # whichever came first: the order of the input must change nothing
        reading, value = min(same, key=lambda pair: (pair[1].fraction, pair[0].serial, pair[0].obis))
    return Node(
        at=reading.at,
        raw=value.at(exponent).digits,
        course=0,
        origin=reading.origin,
        serial=reading.serial,
        obis=reading.obis,
        clock_trusted=reading.clock_trusted,
        unit=unit,
        modulus=_modulus(register, [reading for reading, _ in same], exponent),
        fault="conflicting_reading" if any(other != value for _, other in same) else None,
    )


def _modulus(register: Register, readings: Iterable[Reading], exponent: int) -> int | None:
    """The register's own, else the one that the readings say: the largest, which can do no harm."""
    if register.modulus is not None:
        return steps(register.modulus, exponent)
    said = [
        _whole_steps(modulus.digits, modulus.exponent, reading.unit, register.unit, exponent) or 0
        for reading in readings
        if (modulus := reading.modulus) is not None
    ]
    return max(said, default=None)


@lru_cache(maxsize=256)
def _whole_steps(digits: int, power: int, unit: str, target: str, exponent: int) -> int | None:
    """Kept, as every reading of a meter says the same. None where it is no whole number of steps: nobody shows it."""
    modulus = convert(Scaled(digits, power), unit, target)
    try:
        return modulus.at(exponent).digits
    except ValueError:
        return None


def _course(register: Register, nodes: Iterable[Node], exponent: int) -> Iterable[Node]:
    """The nodes with their unwrapped course and their faults. One physical meter after the other."""
    for number, unit in groupby(nodes, key=lambda node: node.unit):
        serial = "" if number else register.serial
        judged = list(_course_of_unit(_Limits.of(register, exponent), list(unit), serial))
        wrong = _contradicted(judged)
        for place, node in enumerate(judged):
            yield replace(node, fault="index_decrease", contradicted=True) if place in wrong else node


def _course_of_unit(limits: _Limits, nodes: Sequence[Node], expected: str) -> Iterable[Node]:
    """`expected`: the serial number of the meter; "": that of the first node that has one."""
    said = (node.serial for node in nodes if node.serial)
    serial = next((each for each in said if not expected or same_serial(each, expected)), "")
    obis = next((node.obis for node in nodes if node.obis), "")
    previous: Node | None = None  # the neighbour, where it is a witness
    good: Node | None = None  # the last one without a fault
    life = 0
    for bare in nodes:
        course, turned, fault, modulus = bare.raw, 0, bare.fault, bare.modulus
        if modulus is None and bare.origin != "measured" and good is not None:
            modulus = good.modulus
        if fault is None and bare.serial and not same_serial(bare.serial, serial):
            fault = "identity_changed"
        if fault is None:
            course, turned, fault, begins = _judge(limits, bare, modulus, good, previous)
            life += begins
        node = replace(
            bare, serial=serial, obis=obis, course=course, turned=turned, modulus=modulus, life=life, fault=fault
        )
        yield node
        previous = None if fault in _NO_WITNESS else node
        good = node if fault is None else good


def _contradicted(nodes: Sequence[Node]) -> set[int]:
    """Places of what the rest contradicts: believing all of it would count twice what lies between.

    A hump: the index falls and goes on from below, as if it had never been so high. A dip: it falls, and is soon again
    where it was. Either the values before the fall are wrong, or those from it on. Where the course goes on from before
    the fall, the fallen value alone is wrong.
    """
    good: list[int] = []  # places that are believed, before the one that is looked at
    found: set[int] = set()
    lefts: list[int] = []  # of each fall the place that it fell from, while the index is below that
    for place, (node, after) in enumerate(zip(nodes, _following(nodes), strict=True)):
        if node.fault is None:
            while lefts and node.shown >= nodes[lefts[-1]].shown:
                left = lefts.pop()
                while _is_soon(nodes, left, place) and good[-1] > left:
                    found.add(good.pop())
            good.append(place)
        elif node.fault == "index_decrease" and good and (after is None or after.life != nodes[good[-1]].life):
            below = _below(nodes, good, place)
            if good[-1] not in lefts:
                lefts.append(good[-1])
            while below is not None and good[-1] != below:
                found.add(good.pop())
                lefts = [left for left in lefts if left <= below]
    return found


def _is_soon(nodes: Sequence[Node], left: int, back: int) -> bool:
    return back <= left + 3 or nodes[back].at - nodes[left].at <= HUMP


def _following(nodes: Sequence[Node]) -> list[Node | None]:
    """For each node the next one without a fault."""
    found: list[Node | None] = []
    after: Node | None = None
    for node in reversed(nodes):
        found.append(after)
        after = node if node.fault is None else after
    return found[::-1]


def _below(nodes: Sequence[Node], good: Sequence[int], fall: int) -> int | None:
    """The last of the good places shortly before the fall at which the index was not above what it fell to."""
    node = nodes[fall]
    near = takewhile(lambda place: place >= fall - 2 or node.at - nodes[place].at <= HUMP, reversed(good))
    return next((place for place in near if nodes[place].shown <= node.raw), None)


def _judge(
    limits: _Limits, node: Node, modulus: int | None, good: Node | None, previous: Node | None
) -> tuple[int, int, str | None, bool]:
    """Course and turned of the node; a fault where it follows neither from the last good node nor from its neighbour.

    A value that follows from its neighbour alone (a counter that was reset) is believed from there on, and begins
    another life of the counter (True): the stretch before it is blocked by the neighbour's fault.
    """
    if good is None:
        return node.raw, 0, None, False
    fault = None
    for before in (good, previous):
        if before is None:
            continue
        course, turned, fault_here = limits.step(before, node, modulus)
        if fault_here is None:
            return course, turned, None, before is not good
        fault = fault or fault_here
    return node.raw, 0, fault, False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """What a register can do between two nodes, in steps of `10**exponent`."""

    step_size: int
    backflow: int
    max_per_day: Fraction | None

    @classmethod
    def of(cls, register: Register, exponent: int) -> _Limits:
        return cls(
            step_size=10 ** (register.exponent - exponent),
            backflow=steps(register.backflow, exponent) or 0,
            max_per_day=None
            if register.max_per_day is None
            else register.max_per_day.fraction / Fraction(10) ** exponent,
        )

    def step(self, before: Node, node: Node, modulus: int | None) -> tuple[int, int, str | None]:
        """Course and turned of `node`, and the fault that the step from `before` would be."""
        flow = node.raw - before.shown
        if flow < 0 and -flow <= self.backflow:
            return before.course, before.turned, None
        if flow < 0 and modulus is not None and self._rolls_over(before, node, modulus):
            return node.raw + before.turned + modulus, before.turned + modulus, None
        if flow < 0:
            return before.course, before.turned, "index_decrease"
        if self.max_per_day is not None and not self._possible(flow - self.step_size, before, node):
            return before.course + flow, before.turned, "index_jump"
        return before.course + flow, before.turned, None

    def _rolls_over(self, before: Node, node: Node, modulus: int) -> bool:
        """A modulus that is too large makes the flow impossible, one that is too small is below what was shown."""
        fits = 0 <= node.raw < before.shown < modulus
        return fits and self._possible(node.raw - before.shown + modulus, before, node)

    def _possible(self, flow: int, before: Node, node: Node) -> bool:
        if self.max_per_day is None:
            return False
        most, per = self.max_per_day.as_integer_ratio()  # whole numbers: this runs for every reading
        return flow * _DAY * per <= most * Period(before.at, node.at).microseconds


def instant(node: Node | Exchange) -> datetime:
    """When it was: the key that nodes are searched by."""
    return node.at


def steps(value: Scaled | None, exponent: int) -> int | None:
    """The value in steps of `10**exponent`."""
    return None if value is None else value.at(exponent).digits
