"""What delivery reports as alarms: once each, however often it happens, and counted every time."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from gateway.core.event import Alarm
from gateway.service.alarms import Ended

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection
    from datetime import datetime

    from gateway.ports.clock import Clock
    from gateway.service.alarms import AlarmLog

GATEWAY = "gateway"
BROKER_UNUSABLE = "broker_unusable"
PUBLISH_REFUSED = "publish_refused"
SUBSCRIBE_REFUSED = "subscribe_refused"
ACK_ABOVE_SENT = "ack_above_sent"
ACK_UNKNOWN_CONSUMER = "ack_unknown_consumer"
ACK_UNKNOWN_STREAM = "ack_unknown_stream"
ACK_MALFORMED = "ack_malformed"
COMMAND_MALFORMED = "command_malformed"
COMMAND_DROPPED = "command_dropped"
DUPLICATE_GATEWAY = "duplicate_gateway"
CODES = (
    BROKER_UNUSABLE,
    PUBLISH_REFUSED,
    SUBSCRIBE_REFUSED,
    ACK_ABOVE_SENT,
    ACK_UNKNOWN_CONSUMER,
    ACK_UNKNOWN_STREAM,
    ACK_MALFORMED,
    COMMAND_MALFORMED,
    COMMAND_DROPPED,
    DUPLICATE_GATEWAY,
)
OF_BROKER = (BROKER_UNUSABLE, PUBLISH_REFUSED, SUBSCRIBE_REFUSED, DUPLICATE_GATEWAY)
"""what the broker, or somebody else at it, keeps the gateway from"""
OF_ACKS = (ACK_ABOVE_SENT, ACK_UNKNOWN_STREAM, ACK_MALFORMED)
"""over with the next good ack of the same consumer"""
PASSING = {
    (code, GATEWAY)
    for code in (ACK_UNKNOWN_CONSUMER, ACK_MALFORMED, COMMAND_MALFORMED, COMMAND_DROPPED, DUPLICATE_GATEWAY)
}
"""of nobody who is known: over when it has not happened for a while"""
QUIET = 900.0
"""seconds"""

_log = logging.getLogger(__name__)


class Reports:
    """Alarms that begin or end where nothing can be awaited; `pending` is called when there is something to flush."""

    def __init__(self, alarms: AlarmLog, clock: Clock, counts: Counter[str], pending: Callable[[], None]) -> None:
        self._alarms = alarms
        self._clock = clock
        self._counts = counts
        self._pending = pending
        self._open: dict[tuple[str, str], float] = {}
        """since which second of the monotonic clock it has not happened again"""
        self._changes: deque[tuple[str, str, str | None]] = deque()

    def begin(self, code: str, source: str, text: str) -> None:
        """Count it; the first time, it becomes an alarm."""
        self._counts[code] += 1
        if (code, source) not in self._open:
            if code != BROKER_UNUSABLE:  # whoever connects has logged it
                _log.warning("%s", text)
            self._change(code, source, text)
        self._open[code, source] = self._clock.monotonic()

    def end(self, code: str, source: str) -> None:
        """It is over, if it was."""
        if (code, source) in self._open:
            del self._open[code, source]
            self._change(code, source, None)

    def acknowledged(self, consumer: str) -> None:
        """The consumer's acks are good again."""
        for code in OF_ACKS:
            self.end(code, consumer)

    def expire(self) -> None:
        """End what nobody can end who is known."""
        since = self._clock.monotonic() - QUIET
        for code, source in [one for one in PASSING if self._open.get(one, since) < since]:
            self.end(code, source)

    async def end_earlier(self, sources: Collection[str]) -> None:
        """End what an earlier run left open: whether it still holds shows again by itself."""
        now = self._clock.now()
        await self._alarms.change_alarms([Ended(code=code, source=each, at=now) for code in CODES for each in sources])

    async def flush(self) -> None:
        """Hand over what has begun and ended, in order."""
        while self._changes:
            now, changes = self._clock.now(), tuple(self._changes)
            await self._alarms.change_alarms([_change_of(code, source, text, now) for code, source, text in changes])
            for _ in changes:  # they may have become more meanwhile
                self._changes.popleft()

    def _change(self, code: str, source: str, text: str | None) -> None:
        self._changes.append((code, source, text))
        self._pending()


def _change_of(code: str, source: str, text: str | None, now: datetime) -> Alarm | Ended:
    if text is None:
        return Ended(code=code, source=source, at=now)
    return Alarm(code=code, source=source, severity="error", since=now, text=text)
