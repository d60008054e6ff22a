"""Meters that answer without a value for a register which property data name: it is not billed meanwhile."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.core.event import Alarm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.metering import Register
    from gateway.service.alarms import AlarmSink
    from gateway.service.polled import Poll

METER_INCOMPLETE = "meter_incomplete"
CALM = timedelta(hours=1)
"""so long a register that was without a value twice within it must have one before its alarm ends"""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lack:
    """A register without a value."""

    why: str
    """what the meter said first: it may say another thing with each answer"""
    last: datetime
    restless: bool
    """whether it had been so and had a value again shortly before"""


@dataclass(slots=True)
class _Meter:
    told: str = ""
    """the text of its open alarm"""
    lacks: dict[str, _Lack] = field(default_factory=dict)
    over: dict[str, datetime] = field(default_factory=dict)
    """when a register had a value again"""


class Incomplete:
    """Tells once which registers of a meter have no value, and once when all that are billed have one again.

    A register that comes and goes is told like one that is gone, or there would be two alarms with each of its answers.
    """

    def __init__(self, alarms: AlarmSink) -> None:
        self._alarms = alarms
        self._meters: dict[str, _Meter] = {}

    def recall(self, alarms: Iterable[Alarm]) -> None:
        """What was open before the start."""
        self._meters = {alarm.source: _Meter(alarm.text) for alarm in alarms if alarm.code == METER_INCOMPLETE}

    async def note(self, poll: Poll, billed: Mapping[tuple[str, str], Register]) -> Sequence[Register]:
        """The registers of the property data, by meter and key, that an answer has no value for."""
        why = {each.register: each.why for each in poll.without if (poll.meter, each.register) in billed}
        if poll.raw and poll.readings and (why or poll.meter in self._meters):
            meter = self._meters.setdefault(poll.meter, _Meter())
            _follow(meter, why, poll.at, {key for source, key in billed if source == poll.meter})
            await self._tell(poll, meter, _text(meter.lacks, [billed[poll.meter, key] for key in sorted(meter.lacks)]))
        return [billed[poll.meter, key] for key in why]

    async def _tell(self, poll: Poll, meter: _Meter, text: str) -> None:
        if text == meter.told:
            return
        meter.told = text
        await self._alarms.end_alarm(METER_INCOMPLETE, poll.meter, poll.at)
        if not text:
            _log.warning("%s: gives all its registers again", poll.meter)
            return
        _log.warning("%s: %s", poll.meter, text)
        alarm = Alarm(code=METER_INCOMPLETE, source=poll.meter, severity="warning", since=poll.at, text=text)
        await self._alarms.raise_alarm(alarm)


def _follow(meter: _Meter, why: Mapping[str, str], at: datetime, billed: set[str]) -> None:
    """What a meter lacks after an answer that is without these."""
    for key, reason in why.items():
        known = meter.lacks.get(key)
        restless = known.restless if known else key in meter.over and _is_soon(meter.over[key], at)
        meter.lacks[key] = _Lack(known.why if known else reason, at, restless)
    for key in meter.lacks.keys() - why.keys():
        lack = meter.lacks[key]
        if key not in billed or not (lack.restless and _is_soon(lack.last, at)):
            del meter.lacks[key]
            meter.over[key] = at


def _is_soon(before: datetime, at: datetime) -> bool:
    """Not so where the clock was set back."""
    return timedelta(0) <= at - before < CALM


def _text(lacks: Mapping[str, _Lack], lacking: Sequence[Register]) -> str:
    """Without what changes from answer to answer: it is told once."""
    if not lacks:
        return ""
    named = ", ".join(f"{key} ({lacks[key].why})" for key in sorted(lacks))
    ends = ", ".join(f"submeter register end {each.id}" for each in lacking)
    return (
        f"the meter answers, but gives no value for {named}, so nothing of that is billed; its other registers are."
        f" Look at the meter and its manual; where it does not count that, {ends}"
    )
