"""Meters that answer without a value for a register which property data name: it is not billed meanwhile."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.core.event import Alarm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.core.metering import Register
    from gateway.service.alarms import AlarmSink
    from gateway.service.polled import Poll

METER_INCOMPLETE = "meter_incomplete"

_log = logging.getLogger(__name__)


class Incomplete:
    """Tells once which registers of a meter have no value, and once when all that are billed have one again."""

    def __init__(self, alarms: AlarmSink) -> None:
        self._alarms = alarms
        self._told: dict[str, str] = {}
        """meter -> the text of its open alarm"""

    def recall(self, alarms: Iterable[Alarm]) -> None:
        """What was open before the start."""
        self._told = {alarm.source: alarm.text for alarm in alarms if alarm.code == METER_INCOMPLETE}

    async def note(self, poll: Poll, billed: Mapping[tuple[str, str], Register]) -> Sequence[Register]:
        """The registers of the property data, by meter and key, that an answer has no value for."""
        why = {each.register: each.why for each in poll.without if (poll.meter, each.register) in billed}
        lacking = [billed[poll.meter, key] for key in why]
        text = _text(why, lacking) if lacking else ""
        is_answer = bool(poll.raw and poll.readings)
        if text != self._told.get(poll.meter, "") and is_answer:
            await self._tell(poll, text)
        return lacking

    async def _tell(self, poll: Poll, text: str) -> None:
        await self._alarms.end_alarm(METER_INCOMPLETE, poll.meter, poll.at)
        if not text:
            _log.warning("%s: gives all its registers again", poll.meter)
            del self._told[poll.meter]
            return
        _log.warning("%s: %s", poll.meter, text)
        alarm = Alarm(code=METER_INCOMPLETE, source=poll.meter, severity="warning", since=poll.at, text=text)
        await self._alarms.raise_alarm(alarm)
        self._told[poll.meter] = text


def _text(why: Mapping[str, str], lacking: Sequence[Register]) -> str:
    """Without what changes from answer to answer: it is told once."""
    named = ", ".join(f"{key} ({reason})" for key, reason in why.items())
    ends = ", ".join(f"submeter register end {each.id}" for each in lacking)
    return (
        f"the meter answers, but gives no value for {named}, so nothing of that is billed; its other registers are."
        f" Look at the meter and its manual; where it does not count that, {ends}"
    )
