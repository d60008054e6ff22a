"""Retained state: whoever subscribes gets the latest of everything at once.

Nothing is queued while the broker is away: what has changed since is overtaken by what holds when the connection is
back, and then everything is published again, because a broker may have forgotten it. One message is in flight at a
time and waits its turn behind the events, so that state costs delivery one place in the window and is never starved.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gateway.core.canonical import Json, canonical
from gateway.core.period import rfc3339
from gateway.service.messages import OfflineError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gateway.ports.clock import Clock
    from gateway.service.polled import Poll, ReadingStore

METERS = "state/meters"
LIVE = 60.0
"""seconds between two states of one meter"""
PATIENCE = 60.0
"""seconds that the broker gets to confirm a state, before it is tried again"""
HEARTBEAT = 30.0
"""seconds between two signs of life where nothing happens"""

_log = logging.getLogger(__name__)


class StateOutlet(Protocol):
    """The way to the broker."""

    def listen(self, connected: Callable[[], None]) -> None:
        """Call `connected` in the event loop at every new connection."""

    async def retain(self, end: str, payload: bytes) -> None:
        """Leave the payload at the broker, or take away what is there (b""); RefusedError, OfflineError."""


@dataclass(slots=True)
class _Topic:
    payload: bytes = b""
    latest: Callable[[], Json] | None = None
    """what makes the payload when it goes out"""
    every: float = 0.0
    """seconds between two messages"""
    changed: bool = True
    anew: bool = False
    """to be cleared before the payload is published"""
    sent: float = -math.inf
    """when, on the monotonic clock"""


class State:
    """The worker that keeps the retained topics as they are told here."""

    def __init__(self, *, outlet: StateOutlet, clock: Clock, beat: Callable[[], None]) -> None:
        """`beat` is called at every sign of life."""
        self._outlet = outlet
        self._clock = clock
        self._beat = beat
        self._topics: dict[str, _Topic] = {}
        self._wake = asyncio.Event()
        self._connection = self._lost = 0
        self._refused = False
        outlet.listen(self._connected)

    def put(self, end: str, body: Json, *, every: float = 0.0, anew: bool = False) -> None:
        """Let the topic show `body`, or nothing where it is None; `anew`: clear it first."""
        topic = self._topics.setdefault(end, _Topic())
        payload = b"" if body is None else canonical(body)
        topic.changed |= anew or payload != topic.payload
        topic.anew |= anew
        topic.payload, topic.latest, topic.every = payload, None, every
        self._wake.set()

    def follow(self, end: str, latest: Callable[[], Json], *, every: float) -> None:
        """Let the topic show what `latest` gives once it goes out: of what changes each second most never does."""
        topic = self._topics.setdefault(end, _Topic())
        topic.changed, topic.latest, topic.every = True, latest, every
        self._wake.set()

    def put_all(self, branch: str, bodies: Mapping[str, Json], *, anew: Collection[str] = ()) -> None:
        """Let a branch show these bodies by id, and no others that it has shown."""
        gone = {end: None for end in self._topics if end.rpartition("/")[0] == branch}
        for end, body in (gone | {f"{branch}/{name}": body for name, body in bodies.items()}).items():
            self.put(end, body, anew=end.rpartition("/")[2] in anew)

    async def run(self) -> None:
        """Publish what changes until cancelled."""
        while True:
            self._beat()
            end = self._next()
            if end is None:
                await self._woken()
            else:
                await self._send(end, self._topics[end])

    def _connected(self) -> None:
        self._connection += 1
        self._refused = False
        for topic in self._topics.values():
            topic.changed, topic.sent = True, -math.inf
        self._wake.set()

    def _next(self) -> str | None:
        """The end of a topic that may be published now."""
        if self._connection == self._lost:
            return None
        now = self._clock.monotonic()
        due = (end for end, topic in self._topics.items() if topic.changed and topic.sent + topic.every <= now)
        return next(due, None)

    async def _woken(self) -> None:
        """Wait until something has changed, or is due."""
        due = [topic.sent + topic.every for topic in self._topics.values() if topic.changed]
        patience = min(due, default=math.inf) - self._clock.monotonic()
        online = self._connection != self._lost
        with suppress(TimeoutError):
            async with asyncio.timeout(min(patience, HEARTBEAT) if online else HEARTBEAT):
                await self._wake.wait()
        self._wake.clear()

    async def _send(self, end: str, topic: _Topic) -> None:
        connection = self._connection
        if topic.latest is not None:
            topic.payload, topic.latest = canonical(topic.latest()), None
        clearing = topic.anew and topic.payload != b""
        topic.anew, topic.changed = False, clearing
        if not clearing:
            topic.sent = self._clock.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._outlet.retain(end, b"" if clearing else topic.payload)
        except (OfflineError, TimeoutError) as error:
            topic.anew |= clearing
            topic.changed, topic.sent = True, -math.inf
            if isinstance(error, OfflineError):
                self._lost = connection
        except RefusedError as error:
            self._tell(end, error)

    def _tell(self, end: str, error: RefusedError) -> None:
        """Once a connection: the next one tries everything again."""
        if not self._refused:
            self._refused = True
            _log.warning("The broker refuses %s (%s); give the gateway the right to publish its state", end, error)


class Shown:
    """The store of readings, which also shows the latest of each meter once it is kept."""

    def __init__(self, store: ReadingStore, state: State) -> None:
        self._store = store
        self._state = state

    async def keep(self, polls: Sequence[Poll]) -> None:
        """Keep the polls of one round in one transaction; return once they are durable."""
        await self._store.keep(polls)
        for poll in polls:
            self._state.follow(f"{METERS}/{poll.meter}", partial(_reading, poll), every=LIVE)


def _reading(poll: Poll) -> Json:
    """As in a reading event."""
    return {
        "meter": poll.meter,
        "serial": poll.serial,
        "at": rfc3339(poll.at),
        "clock_trusted": poll.clock_trusted,
        "status": poll.status,
        "registers": [
            {
                "register": reading.register,
                "obis": reading.obis,
                "index": str(reading.index),
                "unit": reading.unit,
                "quality": reading.origin,
            }
            for reading in poll.readings
        ],
    }
