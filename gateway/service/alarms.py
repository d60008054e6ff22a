"""Where alarms begin and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.core.event import Alarm


class AlarmSink(Protocol):
    """Where alarms begin and end. Both calls may be repeated without effect."""

    async def raise_alarm(self, alarm: Alarm) -> None:
        """Open the alarm unless one of its code and source is open."""

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        """End the open alarm of this code and source, if there is one."""
