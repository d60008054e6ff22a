"""Delivery: every event reaches every named consumer, in order, and is finished by their acks alone.

A PUBACK is not delivery: a broker that is killed afterwards may have lost the message. So what is unfinished is
published again after every (re)connect, and once more when a consumer stays silent. With no consumer named, a PUBACK
is all that can be had, and finishes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.core.event import ORDER
from gateway.service.lane import Lane, Throttle
from gateway.service.messages import Ack, Connection, OfflineError, Problem, RefusedError, Resend
from gateway.service.reports import (
    ACK_ABOVE_SENT,
    ACK_UNKNOWN_CONSUMER,
    ACK_UNKNOWN_STREAM,
    BROKER_UNUSABLE,
    COMMAND_DROPPED,
    GATEWAY,
    PUBLISH_REFUSED,
    Reports,
)
from gateway.service.storing import AGAIN, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gateway.core.canonical import Json
    from gateway.core.event import Event
    from gateway.ports.clock import Clock
    from gateway.service.alarms import AlarmLog
    from gateway.service.messages import EventStore, Outlet, Received

WINDOW = 20
"""publishes in flight, over all streams"""
LATE = timedelta(hours=1)
"""what is older when it is sent is historical, and back-fill"""
GATHER = 1.0
"""seconds in which acks come together in one transaction: each one wears the disk by some 20 kB"""
HEARTBEAT = 30.0
"""seconds between two signs of life where nothing happens"""
MAX_REQUESTS = 100
"""commands that wait; the oldest is dropped where a receiver asks faster than it is answered"""

_log = logging.getLogger(__name__)


class Deliver:
    """The worker that empties the outbox."""

    def __init__(
        self,
        *,
        store: EventStore,
        alarms: AlarmLog,
        outlet: Outlet,
        clock: Clock,
        consumers: Collection[str],
        backfill: int,
        beat: Callable[[], None],
    ) -> None:
        """`backfill`: historical events a second, at most. `beat` is called at every sign of life."""
        self._store = store
        self._outlet = outlet
        self._clock = clock
        self._consumers = frozenset(consumers)
        self._lanes: dict[str, Lane] = {}
        self._throttle = Throttle(backfill)
        self._connection: int | None = None
        self._flying = 0
        self._wake = asyncio.Event()
        self._mail = asyncio.Event()
        self._acked = asyncio.Event()
        self._beat = beat
        self.counts: Counter[str] = Counter()
        """published, acks, and what was refused by the code of its alarm"""
        self._reports = Reports(alarms, clock, self.counts, self._mail.set)
        self._requests: deque[Resend | Problem] = deque()

    def notify(self) -> None:
        """There are new events in the store."""
        for lane in self._lanes.values():
            lane.live.more = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        await self._load()
        async with self._outlet.open(self.receive, list(self._lanes)):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._read_mail())
                    group.create_task(self._keep_books())
                    while True:
                        await self._serve(group)
            finally:
                with suppress(StoreUnavailableError):
                    await self._book()  # acks that have just arrived: the consumer need not repeat them

    async def _load(self) -> None:
        acks = await self._store.acks()
        streams = {stream.kind: stream for stream in await self._store.streams()}
        for stream in (streams[kind] for kind in ORDER):
            known = {name: acks.get((name, stream.name), 0) for name in self._consumers}
            self._lanes[stream.name] = Lane(stream.name, head=stream.head, finished=stream.finished, acks=known)
        await self._reports.end_earlier((GATEWAY, *self._consumers))
        self._acked.set()  # a consumer that is no longer named holds nothing back

    async def _serve(self, group: asyncio.TaskGroup) -> None:
        """Send over one connection for as long as it lasts."""
        while self._flying or self._connection is None:  # what flew with the last one ends first: so order is kept
            await self._woken()
        connection = self._connection
        for lane in self._lanes.values():
            lane.restart()
        while self._connection == connection:
            for lane in self._lanes.values():
                lane.tick(self._clock.monotonic())
            chosen = await self._next() if self._flying < WINDOW else None
            if chosen is None:
                await self._woken()
            elif self._connection == connection:
                lane, event, late = chosen
                lane.hand_over(event.seq, self._clock.monotonic())
                self._flying += 1
                group.create_task(self._send(lane, event, late=late))

    async def _woken(self) -> None:
        """Wait until something has changed, or is due."""
        now = self._clock.monotonic()
        due = [instant for lane in self._lanes.values() for instant in lane.due()]
        if self._throttle.due is not None:
            due.append(self._throttle.due)
        patience = min(due, default=now + HEARTBEAT) - now if self._connection is not None else HEARTBEAT
        with suppress(TimeoutError):
            async with asyncio.timeout(max(min(patience, HEARTBEAT), 0)):
                await self._wake.wait()
        self._wake.clear()
        self._reports.expire()
        self._beat()

    async def _next(self) -> tuple[Lane, Event, bool] | None:
        """What goes out next, and whether it is late: what is unfinished by kinds, then what was asked for.

        What is late goes no faster than the back-fill is allowed to, and holds up only its own stream.
        """
        now = self._clock.monotonic()
        self._throttle.due = None
        for lane in self._lanes.values():
            if event := await lane.next(self._store.events, self._lets, now):
                return lane, event, self._late(event)
        for lane in self._lanes.values():
            if event := await lane.next_asked(self._store.events, lambda _: self._throttle.lets(now), now):
                return lane, event, True
        return None

    def _late(self, event: Event) -> bool:
        return self._clock.now() - event.time > LATE

    def _lets(self, event: Event) -> bool:
        return not self._late(event) or self._throttle.lets(self._clock.monotonic())

    async def _send(self, lane: Lane, event: Event, *, late: bool) -> None:
        try:
            await self._outlet.publish(event, historical=late)
        except OfflineError:
            pass  # everything unfinished is published again after the next connect
        except RefusedError as error:
            self._refused(lane, event, error)
        else:
            self._published(lane, event.seq)
        finally:
            self._flying -= 1
            self._wake.set()

    def _refused(self, lane: Lane, event: Event, error: RefusedError) -> None:
        lane.refuse(event.seq, self._clock.monotonic())
        text = f"The broker refuses {event.subject} ({error}); give the gateway the right to publish there."
        self._reports.begin(PUBLISH_REFUSED, GATEWAY, text)

    def _published(self, lane: Lane, seq: int) -> None:
        self.counts["published"] += 1
        lane.confirm(seq)
        if lane.progress() or lane.finishable() > lane.finished:
            self._acked.set()
        if not any(one.refused for one in self._lanes.values()):
            self._reports.end(PUBLISH_REFUSED, GATEWAY)

    def receive(self, message: Received) -> None:
        """Take what came from the broker; returns at once."""
        match message:
            case Connection():
                if message.number is not None:
                    self._reports.end(BROKER_UNUSABLE, GATEWAY)
                self._connection = message.number
                self._wake.set()
                return
            case Ack():
                self._take(message)
            case Problem():
                source = message.consumer if message.consumer in self._consumers else GATEWAY
                self._reports.begin(message.code, source, message.text)
                if message.reply is not None:
                    self._ask(message)
            case Resend():
                self._ask(message)
        self._mail.set()

    def _ask(self, request: Resend | Problem) -> None:
        """Let it wait for its answer."""
        if len(self._requests) == MAX_REQUESTS:
            self._requests.popleft()
            text = (
                f"Receivers ask faster than they can be answered: {MAX_REQUESTS} commands wait, and the oldest is"
                " dropped; a receiver must wait for each answer, and ask again where none came."
            )
            self._reports.begin(COMMAND_DROPPED, GATEWAY, text)
        self._requests.append(request)

    def _take(self, ack: Ack) -> None:
        lane = self._lanes.get(ack.stream)
        if ack.consumer not in self._consumers:
            text = f"{ack.consumer} acknowledges but is no consumer; name it in the settings as [[mqtt.consumer]]."
            self._reports.begin(ACK_UNKNOWN_CONSUMER, GATEWAY, text)
        elif lane is None:
            text = (
                f"{ack.consumer} acknowledges {ack.stream}, which is no stream of this gateway; it must start afresh."
            )
            self._reports.begin(ACK_UNKNOWN_STREAM, ack.consumer, text)
        elif not lane.claim(ack.consumer, ack.seq):
            text = (
                f"{ack.consumer} acknowledges {ack.stream}:{ack.seq}, but {lane.sent} is the last one sent; repair it."
            )
            self._reports.begin(ACK_ABOVE_SENT, ack.consumer, text)
        else:
            self.counts["acks"] += 1
            self._reports.acknowledged(ack.consumer)
            self._acked.set()

    async def _read_mail(self) -> None:
        while True:
            await self._mail.wait()
            self._mail.clear()
            await self._reports.flush()
            while self._requests:
                await self._carry_out(self._requests.popleft())

    async def _keep_books(self) -> None:
        while True:
            await self._acked.wait()
            await asyncio.sleep(GATHER)
            self._acked.clear()
            try:
                await self._book()
            except StoreUnavailableError:  # what is not booked is booked with the next acks, or a little later
                asyncio.get_running_loop().call_later(AGAIN, self._acked.set)

    async def _book(self) -> None:
        """Record what is acknowledged: however many acks have come in, in one transaction."""
        news = [(lane, lane.progress(), lane.finishable()) for lane in self._lanes.values()]
        acks = [Ack(consumer=name, stream=lane.name, seq=seq) for lane, acked, _ in news for name, seq in acked.items()]
        finished = {lane.name: until for lane, _, until in news if until > lane.finished}
        if not acks and not finished:
            return
        await self._store.acknowledge(acks, finished)
        for lane, acked, until in news:
            lane.record(acked, until, self._clock.monotonic())

    async def _carry_out(self, request: Resend | Problem) -> None:
        if isinstance(request, Problem):
            body: dict[str, Json] = {"ok": False, "error": request.code}
        else:
            body = await self._repeat(request)
            self._wake.set()
        if request.reply is not None:
            try:
                await self._outlet.answer(request.reply, body)
            except (OfflineError, RefusedError) as error:
                _log.warning("The answer to %s was not published: %s", request.reply.topic, error)

    async def _repeat(self, request: Resend) -> dict[str, Json]:
        lane = self._lanes.get(request.stream)
        if lane is None:
            return {"ok": False, "error": "unknown_stream", "streams": list(self._lanes)}
        if request.from_seq > lane.sent:
            return {"ok": False, "error": "not_sent", "stream": lane.name, "last_seq": str(lane.sent)}
        kept = await self._store.events(lane.name, request.from_seq - 1, 1)
        first = kept[0].seq if kept else lane.sent + 1
        if request.from_seq < first:
            return {"ok": False, "error": "expired", "stream": lane.name, "first_seq": str(first)}
        lane.ask(request.from_seq)
        return {"ok": True, "stream": lane.name, "from_seq": str(request.from_seq), "last_seq": str(lane.sent)}
