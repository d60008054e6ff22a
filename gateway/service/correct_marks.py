"""Which months are settled again where readings are added or voided, or come late."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from gateway.core.leaning import leaning
from gateway.core.period import Period, local_date
from gateway.service.beside import spans
from gateway.service.records import DirtyMonth

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.charge import EndedSession
    from gateway.core.metering import Reading, Register
    from gateway.service.records import ClosedMonth


class MarkStore(Protocol):
    """Where it stands what was read, and what is closed."""

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime, keys: Collection[str] | None = None
    ) -> Mapping[tuple[str, str], Sequence[Reading]]:
        """(meter, register key) -> its readings in [start, until], the last before and the first after."""

    async def closed_months(self, facility: str | None = None) -> Sequence[ClosedMonth]:
        """The months whose charges are made, of one facility or of all."""


async def touched(
    store: MarkStore,
    place: tuple[str, str],
    leaned: Iterable[Period],
    sessions: Iterable[EndedSession],
    reason: str,
) -> list[DirtyMonth]:
    """The closed months of a facility (`place`: its id and time zone) that lean on what is added or voided.

    They lie in stretches whose indexes do (`leaned`), or hold a part of a session that begins or ends with it: once
    that is charged no more, what it took out of each of its months is the register's again.
    """
    facility, zone = place
    ends = ((one.start.at, one.end.at, one.ended_at) for one in sessions)
    stretches = [*leaned, *(Period(min(each), max(each)) for each in ends)]
    return marks(await store.closed_months(facility), zone, stretches, reason)


def marks(closed: Iterable[ClosedMonth], zone: str, stretches: Iterable[Period], reason: str) -> list[DirtyMonth]:
    """Those of the closed months that lie in a stretch; both of its edges count."""
    spans = [tuple(f"{local_date(edge, zone):%Y-%m}" for edge in (each.start, each.until)) for each in stretches]
    return [
        DirtyMonth(facility=one.facility, month=one.month, reason=reason)
        for one in closed
        if any(first <= one.month <= last for first, last in spans)
    ]


async def leaning_on(
    store: MarkStore,
    register: Register,
    edges: Iterable[datetime],
    changed: Callable[[Reading], bool],
    added: Collection[Reading] = (),
) -> list[Period]:
    """Where what is billed of the register leans on what changes from the first to the last of the edges.

    What is `added` is not kept yet.
    """
    heard = dict.fromkeys(added)  # each once
    for at in dict.fromkeys(edges):
        heard |= dict.fromkeys(await _around(store, register, at))
    found = await asyncio.to_thread(leaning, register, heard, changed)
    return [] if found is None else [found]


async def _around(store: MarkStore, register: Register, at: datetime) -> list[Reading]:
    heard: list[Reading] = []
    for span in spans(at, heard):
        found = await store.readings({register.meter}, span.start, span.until, {register.key})
        heard[:] = found.get((register.meter, register.key), ())
    return heard
