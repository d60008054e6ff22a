"""Whether the indexes of an exchange fit to what is known before and after it: readings, and other exchanges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from gateway.core.problem import Problem
from gateway.core.track import track
from gateway.core.units import Scaled, UnitError
from gateway.service import property_schema as schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from gateway.core.course import Node
    from gateway.core.metering import Exchange, Reading, Register
    from gateway.core.track import Track
    from gateway.service.command import Plan

_WRONG = {"index_decrease": "less than", "index_jump": "more than the largest possible flow above"}
"""the faults that an index can have beside its neighbour's"""


class ReadingStore(Protocol):
    """What is read beside an exchange."""

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime
    ) -> Mapping[tuple[str, str], Sequence[Reading]]:
        """(meter, register key) -> its readings in [start, until], the last before and the first after."""


async def misfits(store: ReadingStore, planned: Plan) -> list[Problem]:
    """What contradicts the exchanges that the plan adds, each with the reading or the exchange it does not fit to."""
    found = []
    for change in planned.changes:
        if not isinstance(change.after, schema.Register):
            continue
        register = planned.book.registers[change.id]
        new = _times(change.after) - _times(change.before)
        zone = planned.book.facilities[planned.book.meters[register.meter].facility].time_zone
        for exchange in (one for one in register.exchanges if one.at in new):
            around = await store.readings({register.meter}, exchange.at, exchange.at)
            heard = around.get((register.meter, register.key), ())
            for field, text in _misfits(register, exchange, heard, ZoneInfo(zone)):
                found.append(Problem(code="refused", kind="meter", id=register.meter, text=text, field=field))
    return found


def _times(register: schema.Entity | None) -> set[datetime]:
    return {step.at for step in register.exchanges or ()} if isinstance(register, schema.Register) else set()


def _misfits(
    register: Register, exchange: Exchange, heard: Sequence[Reading], zone: ZoneInfo
) -> Iterator[tuple[str, str]]:
    try:
        course = track(register, heard)
    except UnitError:  # settling tells that the register is declared in another unit than its meter reads
        return
    place = next(number for number, node in enumerate(course.nodes) if node.at == exchange.at)
    before, final, start, after = (_node(course, number) for number in range(place - 1, place + 3))
    assert final is not None and start is not None  # noqa: S101, PT018 - an exchange has both sides
    if before is not None and before.unit == final.unit and final.fault in _WRONG:
        told = f"{exchange.final} is {_WRONG[final.fault]}"
        yield "final", f"{register.id}: {told} {_neighbour(course, before, zone)}"
    if after is not None and after.unit == start.unit and after.fault in _WRONG:
        told = f"after {exchange.start}, what follows is {_WRONG[after.fault]} it:"
        yield "start", f"{register.id}: {told} {_neighbour(course, after, zone)}"


def _node(course: Track, number: int) -> Node | None:
    return course.nodes[number] if 0 <= number < len(course.nodes) else None


def _neighbour(course: Track, node: Node, zone: ZoneInfo) -> str:
    """The reading or the exchange, and what to do where that is what is wrong."""
    register, at = course.register, node.at.astimezone(zone).isoformat()
    shown = f"{Scaled(node.raw, course.exponent)} {register.unit}"
    if any(one.at == node.at for one in register.exchanges):
        remedy = f"submeter exchange {register.meter} --mistaken --at {at}"
        return f"{shown} of the exchange of {at}; correct it, or take that one back first (`{remedy}`)"
    remedy = f"submeter reading void {register.meter} {register.key} {at} --reason TEXT"
    return f"the reading of {at}, {shown}; correct it, or void that reading first (`{remedy}`)"
