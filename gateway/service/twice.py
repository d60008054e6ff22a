"""Tells where two meters turn out to be one device, on whichever lines they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.core.event import Alarm

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.ports.field import Answer
    from gateway.service.alarms import AlarmSink

METER_TWICE = "meter_twice"
GONE = timedelta(days=1)
"""without an answer for so long, a meter says no more which device it is: that may answer at another place now"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """Which device has answered for a meter."""

    line: str
    device: str
    compared: tuple[str, str]
    """what no other meter may have"""


class Devices:
    """Which device answered for each meter, of all lines that share this."""

    def __init__(self) -> None:
        self.heard: dict[str, _Heard] = {}
        self.changes = 0
        """how often `heard` has become another"""

    def note(self, line: str, answer: Answer) -> None:
        """Remember which device has answered.

        A number that was never set (0, all nines) is alike in many devices: it is compared within one line only.
        """
        known = self.heard.get(answer.meter)
        if known is not None and (known.line, known.device) == (line, answer.device):
            return
        unset = len(set(answer.serial.casefold())) <= 1
        compared = (answer.device, line if unset else "")
        self.heard[answer.meter] = _Heard(line=line, device=answer.device, compared=compared)
        self.changes += 1

    def forget(self, meter: str) -> None:
        """Nobody answers for it any more."""
        if self.heard.pop(meter, None) is not None:
            self.changes += 1


class Twice:
    """Tells of the meters of one line which of them are answered by the device of another meter, of any line.

    One alarm for each meter beyond the first of a device. The readings of both are kept: which of the two ids is wrong
    only a person can say, and devices whose number was never set are several all the same.
    """

    def __init__(self, line: str, alarms: AlarmSink, devices: Devices) -> None:
        self._line = line
        self._alarms = alarms
        self._devices = devices
        self._seen = -1
        """how many changes of the devices have been told"""
        self._last: dict[str, datetime] = {}
        """when each meter of the line has answered last"""
        self._told: dict[str, str | None] = {}
        """meter -> the other id of its device; None: it is its own"""

    def note(self, answer: Answer, now: datetime) -> None:
        """Remember which device has answered."""
        if answer.device:
            self._last[answer.meter] = now
            self._devices.note(self._line, answer)

    def silent(self, meter: str, now: datetime) -> None:
        """The meter has not answered."""
        if now - self._last.get(meter, now) > GONE:
            self._devices.forget(meter)

    async def tell(self, now: datetime) -> None:
        """Raise and end alarms by what has been heard."""
        if self._seen == self._devices.changes:
            return
        self._seen = self._devices.changes
        first: dict[tuple[str, str], str] = {}
        for meter, heard in sorted(self._devices.heard.items()):
            other = first.setdefault(heard.compared, meter)
            if heard.line == self._line:
                await self._tell(meter, other, now)
        for meter in self._told.keys() - self._devices.heard.keys():
            await self._tell(meter, meter, now)

    async def _tell(self, meter: str, other: str, now: datetime) -> None:
        """`other`: the first meter of its device, be it itself."""
        if self._told.get(meter, meter) == (None if other == meter else other):
            return
        if other == meter:
            self._told[meter] = None
            await self._alarms.end_alarm(METER_TWICE, meter, now)
        else:
            self._told[meter] = other
            await self._alarms.raise_alarm(self._alarm(meter, other, now))

    def _alarm(self, meter: str, other: str, now: datetime) -> Alarm:
        heard = self._devices.heard
        line, device = heard[other].line, heard[meter].device
        which, remedy = f"{other} and {meter} on the line {line}", "correct the address or serial of one of them"
        if line != self._line:
            which = f"{other} on the line {line} and {meter} on the line {self._line}"
            remedy = "take one of them out, or correct its address,"
        text = (
            f"{which} are answered by the same device {device}, so its counts would be billed twice; {remedy} in the"
            " settings, and void what was read of it"
        )
        return Alarm(code=METER_TWICE, source=meter, severity="error", since=now, text=text)
