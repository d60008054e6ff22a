"""One stream on its way out: what goes next, what was refused, and how far its consumers are. No I/O here."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from gateway.core.event import Event

    Fetch = Callable[[str, int, int], Awaitable[Sequence[Event]]]
    Lets = Callable[[Event], bool]
    """whether an event may go now; asked only of one that then goes"""

BATCH = 100
"""events read from the store at a time"""
MAX_REFUSED = 1000
"""refused events of one stream; with more, the broker refuses the whole stream, and what is new waits for a success"""
MAX_AGAIN = 1000
"""events repeated at a time for a silent consumer: one that is away for weeks must not cost the whole backlog hourly"""
AHEAD = 250
"""events sent ahead of the acks: with four streams as many as Mosquitto queues for a consumer before it drops any"""
PATIENCE = 0.5
"""seconds without an ack after which as many again are sent: 500 a second reach who acknowledges seldom or never"""
BURST = 0.1
"""seconds of a throttle's rate that may pass at once after a pause"""


class Source:
    """Events of a stream in order: those after a seq, up to `last` (None: also those still to come)."""

    def __init__(self, stream: str, after: int, last: int | None = None) -> None:
        self.stream = stream
        self.start = after
        self.last = last
        self.more = True
        self.position = after
        self._batch: deque[Event] = deque()

    async def next(self, fetch: Fetch, lets: Lets) -> Event | None:
        """The next event; None when there is none for now, or (`draining`) when it may not go yet."""
        if not self._batch and self.more:
            self.more = False  # set again by whoever makes events while the store is asked
            batch = await fetch(self.stream, self.position, BATCH)
            self.more = self.more or len(batch) == BATCH
            self._batch.extend(event for event in batch if self.last is None or event.seq <= self.last)
        if not self._batch or not lets(self._batch[0]):
            return None
        event = self._batch.popleft()
        self.position = event.seq
        return event

    def extend(self, last: int) -> None:
        """Go on up to `last`."""
        self.last = last
        self.more = True

    @property
    def draining(self) -> bool:
        """Whether events that were read wait to be sent."""
        return bool(self._batch)


class Backoff:
    """Delays that double, in seconds of the monotonic clock."""

    def __init__(self, first: float, limit: float) -> None:
        self._first = self._delay = first
        self._limit = limit
        self.due: float | None = None

    def arm(self, now: float) -> None:
        """Due after the present delay; the next one is twice as long."""
        self.due = now + self._delay
        self._delay = min(self._delay * 2, self._limit)

    def reset(self) -> None:
        """Not due, and short again."""
        self.due, self._delay = None, self._first

    def passed(self, now: float) -> bool:
        """Whether it was due; it no longer is then."""
        if self.due is None or now < self.due:
            return False
        self.due = None
        return True


class Pace:
    """Holds a source back until the consumer that it is paced by follows."""

    def __init__(self) -> None:
        self.due: float | None = None
        """when to ask again, None while nothing is held back"""
        self._reached = -1
        self._limit = 0
        self._since = 0.0

    def holds(self, position: int, reached: int, now: float) -> bool:
        """Whether to wait: `position` is how far the source is, `reached` how far the consumer."""
        if reached != self._reached:
            self._reached, self._limit, self._since = reached, reached + AHEAD, now
        elif position >= self._limit and now >= self._since + PATIENCE:
            self._limit, self._since = position + AHEAD, now
        held = position >= self._limit
        self.due = self._since + PATIENCE if held else None
        return held


class Throttle:
    """Lets so many a second through."""

    def __init__(self, per_second: int) -> None:
        self.due: float | None = None
        """when the next may pass, None while nobody was held back"""
        self._gap = 1 / per_second
        self._next = -math.inf

    def lets(self, now: float) -> bool:
        """Whether one passes now; then it counts."""
        if now < self._next:
            self.due = self._next
            return False
        self._next = max(self._next, now - BURST) + self._gap
        return True


class Lane:
    """The state of one stream. `acks`: what each named consumer has acknowledged; empty when none is named."""

    def __init__(self, name: str, *, head: int, finished: int, acks: Mapping[str, int]) -> None:
        self.name = name
        self.finished = finished
        self.sent = max(finished, *acks.values(), 0)
        """the highest seq handed to the broker"""
        self.live = Source(name, finished)
        self.again: deque[Source] = deque()
        self.asked: Source | None = None
        self.refused: set[int] = set()
        self.retry = Backoff(1, 300)
        self.silence = Backoff(60, 3600)
        self._pace = Pace()
        self._asked_pace = Pace()
        self._earlier = head  # an earlier run may have sent as far as this
        self._recorded = dict(acks)
        self._claims = dict(acks)
        self._handed = finished  # over the present connection
        self._open: set[int] = set()

    def restart(self) -> None:
        """A new connection: everything unfinished goes out again, and so does what was asked for."""
        self.live = Source(self.name, self.finished)
        self.again.clear()
        self.refused.clear()
        self._open.clear()
        self._handed = self.finished
        self.retry.reset()
        self.silence.reset()
        if self.asked is not None:
            self.asked = Source(self.name, self.asked.start, self.asked.last)

    def due(self) -> list[float]:
        """When something is to be done here without anything happening."""
        waits = (self.retry, self.silence, self._pace, self._asked_pace)
        return [one.due for one in waits if one.due is not None]

    async def next(self, fetch: Fetch, lets: Lets, now: float) -> Event | None:
        """What goes out next of what is unfinished: what was refused or not acknowledged, then what is new.

        What is new goes no faster than the fastest consumer takes it: one that is away holds nobody up.
        """
        while self.again:
            source = self.again[0]
            event = await source.next(fetch, lets)
            if event or source.draining:
                return event
            self.again.popleft()
        if len(self.refused) >= MAX_REFUSED:
            return None
        if self._claims and self._pace.holds(self.live.position, max(self._claims.values()), now):
            return None
        return await self.live.next(fetch, lets)

    async def next_asked(self, fetch: Fetch, lets: Lets, now: float) -> Event | None:
        """What goes out next of what a receiver asked for, no faster than the slowest takes it that may have asked."""
        source = self.asked
        if source is None:
            return None
        reached = [seq for seq in self._claims.values() if seq >= source.start]
        if reached and self._asked_pace.holds(source.position, min(reached), now):
            return None
        event = await source.next(fetch, lets)
        if event is None and not source.draining and source is self.asked:  # another request may have come meanwhile
            self.asked, self._asked_pace = None, Pace()
        return event

    def ask(self, from_seq: int) -> None:
        """Repeat what was sent from `from_seq` on, which was sent.

        While an earlier request that holds this one is carried out, there is nothing to begin again: a receiver that
        asks at every gap it sees would otherwise never let it end.
        """
        if self.asked is not None and self.asked.start < from_seq:
            self.asked.extend(self.sent)
        else:
            self.asked, self._asked_pace = Source(self.name, from_seq - 1, self.sent), Pace()

    def hand_over(self, seq: int, now: float) -> None:
        """The event goes to the broker."""
        self.sent = max(self.sent, seq)
        self._handed = max(self._handed, seq)
        if seq > self.finished:
            self._open.add(seq)
        if self._recorded and self.silence.due is None:
            self.silence.arm(now)

    def confirm(self, seq: int) -> None:
        """The broker has it."""
        self._open.discard(seq)
        if seq in self.refused:
            self._accepted({seq})

    def refuse(self, seq: int, now: float) -> None:
        """The broker will not have it for now."""
        if seq > self.finished:
            self.refused.add(seq)
            if self.retry.due is None:
                self.retry.arm(now)

    def tick(self, now: float) -> None:
        """Do what is due: try again what was refused, repeat what a consumer has left without an ack."""
        if self.retry.passed(now):
            self.again.extend(Source(self.name, seq - 1, seq) for seq in sorted(self.refused))
        if self.silence.passed(now) and self.finished < self.sent:
            if not self.live.draining and not self.again:
                self.again.append(Source(self.name, self.finished, min(self.sent, self.finished + MAX_AGAIN)))
            self.silence.arm(now)

    def claim(self, consumer: str, seq: int) -> bool:
        """Take an ack. False if nobody can have received that much.

        What an earlier run sent may be acknowledged before this run has sent it again; it counts from then on.
        """
        if seq > max(self.sent, self._earlier):
            return False
        self._claims[consumer] = max(self._claims[consumer], seq)
        return True

    def progress(self) -> dict[str, int]:
        """The acks that are not recorded yet."""
        reached = {name: min(seq, self.sent) for name, seq in self._claims.items()}
        return {name: seq for name, seq in reached.items() if seq > self._recorded[name]}

    def finishable(self) -> int:
        """Up to where it is finished: all named consumers' acks; with none named, the broker's confirmations."""
        if self._recorded:
            reached = min((self._recorded | self.progress()).values())
        else:
            reached = min(self._open, default=self._handed + 1) - 1
        return max(reached, self.finished)

    def record(self, acks: Mapping[str, int], finished: int, now: float) -> None:
        """The store has recorded this."""
        self._recorded |= acks
        if finished > self.finished:
            self.finished = finished
            self._accepted({seq for seq in self.refused if seq <= finished})
            self.silence.reset()
            if self._recorded and finished < self.sent:
                self.silence.arm(now)

    def _accepted(self, seqs: set[int]) -> None:
        self.refused -= seqs
        if not self.refused:
            self.retry.reset()
