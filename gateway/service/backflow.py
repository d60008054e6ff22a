"""The index that a small backflow holds, where it was reached before what is read to settle a month.

A register that fell by less than its declared backflow counts on from its maximum. Where it hangs below that over the
end of a month, the next one would else count a second time what lies between.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from gateway.core.course import steps
from gateway.core.period import MIN
from gateway.core.track import track
from gateway.core.units import UnitError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from gateway.core.metering import Reading, Register

AT_ONCE = timedelta(days=8)
"""how much is read at once of a register that stands still: not more than a month that is settled"""


class PastStore(Protocol):
    """Where readings come from."""

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime, keys: Collection[str] | None = None
    ) -> Mapping[tuple[str, str], Sequence[Reading]]:
        """(meter, register key) -> its readings in [start, until], the last before and the first after."""


async def with_maximum(
    store: PastStore, register: Register, heard: tuple[Reading, ...], start: datetime
) -> tuple[Reading, ...]:
    """These readings, in order of time, led by the one whose index is held at `start`, where it is not among them.

    Few are read for it: none is higher that is earlier than a reading from which the index rose by the backflow.
    """
    before = [one for one in heard if one.at <= start]
    if register.backflow is None or not register.backflow.digits or not before:
        return heard
    try:
        found, looked_at = await _highest(register, before), before
        while looked_at and not found.ends:
            edge = looked_at[0].at
            past = await store.readings([register.meter], edge - AT_ONCE, edge, {register.key})
            looked_at = [one for one in past.get((register.meter, register.key), ()) if one.at < edge]
            further = await _highest(register, [*looked_at, *found.readings])
            if not further.readings or further.held_at != found.readings[0].at:  # what is found follows from none of it
                break
            found = further
    except UnitError:  # told when it is settled: nothing of the register can be billed
        return heard
    led = [one for one in found.readings if one.at < before[0].at]
    return (*led, *heard)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Highest:
    readings: list[Reading]
    """of the instant whose index is held; none where that is not known"""
    held_at: datetime
    """the last instant at which the register is believed, where it is held"""
    ends: bool
    """whether no earlier one can be higher"""


async def _highest(register: Register, heard: Sequence[Reading]) -> _Highest:
    return await asyncio.to_thread(_highest_of, register, heard)


def _highest_of(register: Register, heard: Sequence[Reading]) -> _Highest:
    course = track(register, heard)
    good = [node for node in course.nodes if node.fault is None]
    if not good:
        return _Highest(readings=[], held_at=MIN, ends=True)
    last, first = good[-1], course.nodes[0]
    of_life = [node for node in good if (node.unit, node.life) == (last.unit, last.life)]
    top = next(node for node in reversed(of_life) if node.raw + node.turned >= last.course)
    readings = [one for one in heard if one.at == top.at]
    back = steps(register.backflow, course.exponent) or 0
    rose = any(node.raw + node.turned + back <= last.course for node in of_life)
    begun = (first.unit, first.life) != (last.unit, last.life)
    return _Highest(readings=readings, held_at=last.at, ends=rose or begun or not readings)
