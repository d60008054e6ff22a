"""Alarms that a person has dealt with. Most end by themselves; of some only a person knows that they are over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.period import rfc3339
from gateway.service.command_schema import Answer, ChangeTold, ProblemTold
from gateway.service.settle import HELD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.core.event import Alarm
    from gateway.service.command_schema import EndAlarm, Value
    from gateway.service.records import KeptAlarm

ALARM = "alarm"
"""kind of an alarm among what was changed"""


class AlarmStore(Protocol):
    """What ending alarms by hand needs of the store."""

    async def kept_alarms(self) -> Sequence[KeptAlarm]:
        """The open alarms with their ids, the oldest first."""

    async def end_alarm_by_hand(self, alarm_id: str, at: datetime, by: str, reason: str) -> KeptAlarm | None:
        """End the open alarm of this id, keep who did it and why, and make its event; None where there is none."""


async def deal_with(store: AlarmStore, command: EndAlarm, by: str, now: datetime) -> Answer:
    """End the alarm; refused where settling would raise it again, as what it says is still so."""
    found = next((one for one in await store.kept_alarms() if one.id == command.id), None)
    if found is not None and found.alarm.code in HELD:
        return _refused(command, f"{found.alarm.code} ends by itself, once what it says is done: {found.alarm.text}")
    ended = await store.end_alarm_by_hand(command.id, now, by, command.reason)
    if ended is None:
        return _refused(command, "there is no open alarm of this id; `submeter alarm list` names them")
    change = ChangeTold(kind=ALARM, id=ended.id, before=told(ended.alarm, command.reason), after=None)
    return Answer(ok=True, applied=True, changes=(change,))


def told(alarm: Alarm, reason: str | None) -> Value:
    """The alarm as it was, and why it was ended."""
    since = rfc3339(alarm.since)
    return {"code": alarm.code, "source": alarm.source, "since": since, "text": alarm.text, "reason": reason}


def _refused(command: EndAlarm, text: str) -> Answer:
    return Answer(ok=False, problems=(ProblemTold(kind=ALARM, id=command.id, text=text),))
