"""Answers that needed another key: kept as they came, and read once the meter has been read with a key that fits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from gateway.ports.field import FieldError, Rereader
from gateway.service.storing import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.ports.field import Answer, MeterBus
    from gateway.service.polled import Poll

MOST_UNREAD = 3000
"""answers of one meter that wait for its key: a month of quarter hours"""

_log = logging.getLogger(__name__)


class KeptAnswers(Protocol):
    """Where answers were kept before the start."""

    async def unread(self, meter: str, before: datetime, limit: int) -> Sequence[Poll]:
        """The meter's last answers before the instant, back to the one that gave readings: those gave none.

        The oldest first, and of more than `limit` the newest.
        """


class Unread:
    """What waits of the meters of one line: since the start in memory, from before it in the store."""

    def __init__(self, bus: MeterBus, kept: KeptAnswers | None) -> None:
        self._bus = bus if isinstance(bus, Rereader) else None  # asked once: it looks through the whole protocol
        self._kept = kept
        self._waiting: dict[str, deque[Poll]] = {}
        self._read_at: dict[str, datetime] = {}
        """when each meter was first read since the start"""
        self._looked_back: set[str] = set()
        self._late: list[tuple[Answer, Poll]] = []

    def note(self, poll: Poll) -> None:
        """Remember an answer; of very many the oldest are only in the store."""
        self._waiting.setdefault(poll.meter, deque(maxlen=MOST_UNREAD)).append(poll)

    async def try_again(self, meter: str, at: datetime) -> None:
        """Read what waits of this meter, with the key that has just fitted.

        Cancelled in the middle, nothing of it counts as read. So the answer that was read now must be kept in one
        transaction with these, and not at all without them: what stands before it is not looked for again.
        """
        if self._bus is None:
            return
        waiting = self._waiting.get(meter, ())
        earlier = await self._earlier(self._bus, meter, self._read_at.setdefault(meter, at))
        known = {poll.at for poll in waiting}
        late = []
        for poll in (*(poll for poll in earlier if poll.at not in known), *waiting):
            await asyncio.sleep(0)  # a month of answers holds up no tap
            try:
                late.append((self._bus.reread(meter, poll.raw), poll))
            except FieldError as error:
                _log.warning("%s: the answer of %s stays unread: %s", meter, poll.at.isoformat(), error)
        self._late += late
        self._waiting.pop(meter, None)

    async def _earlier(self, bus: Rereader, meter: str, before: datetime) -> Sequence[Poll]:
        """What the store has of the meter from before this instant, once."""
        if self._kept is None or meter in self._looked_back or not bus.needs_key(meter):
            return ()
        try:
            found = await self._kept.unread(meter, before, MOST_UNREAD)
        except StoreUnavailableError as error:
            _log.warning("%s: whether answers from before the start wait for its key is not known: %s", meter, error)
            return ()
        self._looked_back.add(meter)
        return found

    def read_since(self) -> list[tuple[Answer, Poll]]:
        """What has been read late, with the poll that it is of, each once."""
        late, self._late = self._late, []
        return late
