"""What a meter says of itself with each answer: the status byte (EN 13757-3, 5.8; M-Bus documentation 4.8, 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.event import Alarm

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.service.alarms import AlarmSink

METER_STATUS = "meter_status"
_APPLICATION = ("", "application busy", "application error", "abnormal condition")
_BUSY = 1
_BITS = {0x04: "power low", 0x08: "permanent error", 0x10: "temporary error"}
_PERMANENT, _ALARMING, _MAKERS = 0x08, 0x1C, 0xE0


def words(status: int) -> tuple[str, ...]:
    """What the byte says; nothing for 0. The upper three bits are the maker's own."""
    said = [_APPLICATION[status & 3], *(word for bit, word in _BITS.items() if status & bit)]
    if status & _MAKERS:
        said.append(f"maker's bits {status & _MAKERS:02x}")
    return tuple(filter(None, said))


class Status:
    """Tells once when a meter begins to complain, and once when it has ceased. Its counters stay believed."""

    def __init__(self, meter: str, alarms: AlarmSink) -> None:
        self._meter = meter
        self._alarms = alarms
        self._known: int | None = None

    async def note(self, status: int, now: datetime) -> None:
        """The status of an answer. Being busy and the maker's own bits are no complaint."""
        complaint = status & _ALARMING | (status & 3 if status & 3 > _BUSY else 0)
        if complaint == self._known:
            return
        self._known = complaint
        await self._alarms.end_alarm(METER_STATUS, self._meter, now)
        if complaint:
            text = f"the meter reports {', '.join(words(status))}; see its manual. What it counts is still billed"
            await self._alarms.raise_alarm(
                Alarm(
                    code=METER_STATUS,
                    source=self._meter,
                    severity="error" if complaint & _PERMANENT else "warning",
                    since=now,
                    text=text,
                )
            )
