"""Tells where two meters of a line turn out to be one device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.event import Alarm

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.ports.field import Answer
    from gateway.service.alarms import AlarmSink

METER_TWICE = "meter_twice"


class Twice:
    """Remembers which device answered for each meter. One alarm for each meter beyond the first of a device.

    The readings of both are kept: which of the two ids is wrong only a person can say, and devices whose number was
    never set are several all the same.
    """

    def __init__(self, line: str, alarms: AlarmSink) -> None:
        self._line = line
        self._alarms = alarms
        self._heard: dict[str, str] = {}
        self._told: dict[str, str | None] = {}
        """meter -> the other id of its device; None: it is its own"""

    def note(self, answer: Answer) -> None:
        """Remember which device has answered."""
        if answer.device:
            self._heard[answer.meter] = answer.device

    async def tell(self, now: datetime) -> None:
        """Raise and end alarms by what has been heard."""
        first: dict[str, str] = {}
        for meter, device in sorted(self._heard.items()):
            other = first.setdefault(device, meter)
            if self._told.get(meter, meter) == (None if other == meter else other):
                continue
            if other == meter:
                self._told[meter] = None
                await self._alarms.end_alarm(METER_TWICE, meter, now)
            else:
                self._told[meter] = other
                await self._alarms.raise_alarm(self._alarm(meter, other, device, now))

    def _alarm(self, meter: str, other: str, device: str, now: datetime) -> Alarm:
        text = (
            f"{other} and {meter} on the line {self._line} are answered by the same device {device}, so its counts"
            " would be billed twice; correct the address or serial of one of them in the settings, and void what was"
            " read of it"
        )
        return Alarm(code=METER_TWICE, source=meter, severity="error", since=now, text=text)
