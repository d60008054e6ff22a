"""Where alarms begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.core.event import Alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The alarm of this code and source holds no more."""

    code: str
    source: str
    at: datetime


class AlarmSink(Protocol):
    """Where alarms begin and end. Both calls may be repeated without effect."""

    async def raise_alarm(self, alarm: Alarm) -> None:
        """Open the alarm unless one of its code and source is open."""

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        """End the open alarm of this code and source, if there is one."""


class AlarmLog(Protocol):
    """Where several begin and end at once."""

    async def change_alarms(self, changes: Sequence[Alarm | Ended]) -> None:
        """Raise and end alarms in this order, in one transaction. It may be repeated without effect."""


class Gathered:
    """An `AlarmSink` of one line: what begins and ends in a round is kept until the round is told."""

    def __init__(self, log: AlarmLog) -> None:
        self._log = log
        self._changes: list[Alarm | Ended] = []

    async def raise_alarm(self, alarm: Alarm) -> None:
        """See `AlarmSink`."""
        self._changes.append(alarm)

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        """See `AlarmSink`."""
        self._changes.append(Ended(code=code, source=source, at=at))

    async def tell(self) -> None:
        """Hand over the round."""
        if self._changes:
            await self._log.change_alarms(tuple(self._changes))
            self._changes.clear()
