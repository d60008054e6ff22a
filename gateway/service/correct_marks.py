"""Which months are settled again where readings are added or voided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.period import local_date
from gateway.service.records import DirtyMonth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from gateway.core.charge import EndedSession
    from gateway.service.records import ClosedMonth


class MonthsStore(Protocol):
    """Where it stands what is closed."""

    async def closed_months(self, facility: str | None = None) -> Sequence[ClosedMonth]:
        """The months whose charges are made, of one facility or of all."""


async def touched(
    store: MonthsStore,
    place: tuple[str, str],
    around: Iterable[datetime],
    sessions: Iterable[EndedSession],
    reason: str,
) -> list[DirtyMonth]:
    """The closed months of a facility (`place`: its id and time zone) that lean on what is added or voided.

    They lie between the reading before and the one after (`around`), or hold a part of a session that begins or ends
    with it: once that is charged no more, what it took out of each of its months is the register's again.
    """
    facility, zone = place
    stretches = [list(around), *([one.start.at, one.end.at, one.ended_at] for one in sessions)]
    spans = [tuple(f"{local_date(edge, zone):%Y-%m}" for edge in (min(each), max(each))) for each in stretches]
    return [
        DirtyMonth(facility=one.facility, month=one.month, reason=reason)
        for one in await store.closed_months(facility)
        if any(first <= one.month <= last for first, last in spans)
    ]
