"""What the tests of delivery share: the worker over a real broker, and an ear on that broker."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.mqtt.client import PLAIN, MqttClient
from gateway.mqtt.topics import Gateway
from gateway.service.deliver import Deliver
from tests.outbox import HANGS, NOON, Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.mqtt.security import Security

GATEWAY = Gateway(site="sonnenhof", name="gw-01")
ROOT = "submeter/v0/sonnenhof/gw-01"


class StillClock:
    """Noon, and a monotonic clock that a test may advance."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(minutes=1)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@asynccontextmanager
async def delivering(
    outbox: Outbox,
    host: str,
    port: int,
    consumers: Sequence[str] = (),
    clock: StillClock | None = None,
    backfill: int = 10_000,
    security: Security = PLAIN,
) -> AsyncIterator[Deliver]:
    client = MqttClient(GATEWAY, host=host, port=port, consumers=consumers, security=security)
    deliver = Deliver(
        store=outbox,
        alarms=outbox,
        outlet=client,
        clock=clock or StillClock(),
        consumers=consumers,
        backfill=backfill,
        beat=lambda: None,
    )
    task = asyncio.create_task(deliver.run())
    try:
        yield deliver
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Ear:
    """A client of the broker that hears the gateway's whole tree."""

    def __init__(self, host: str, port: int, name: str, prepare: Callable[[Client], None] | None = None) -> None:
        self.heard: list[MQTTMessage] = []
        self._events: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[str] = []
        """what the broker said to each message of ours"""
        self._changed = asyncio.Condition()
        self._ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe([(f"{ROOT}/#", 1), ("elsewhere/#", 1)])
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message
        self._client.on_publish = self._answered
        if prepare is not None:
            prepare(self._client)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(host, port)
        self._client.loop_start()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ready(self) -> None:
        async with asyncio.timeout(HANGS):
            await self._ready.wait()

    def say(
        self,
        end: str,
        body: object,
        *,
        reply: str | None = None,
        correlation: bytes | None = None,
        retain: bool = False,
    ) -> None:
        """Publish below the gateway's root; bytes go as they are."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho does not type it
        if reply is not None:
            properties.ResponseTopic = reply
        if correlation is not None:
            properties.CorrelationData = correlation
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._client.publish(f"{ROOT}/{end}", payload, qos=1, retain=retain, properties=properties)

    def ack(self, consumer: str, stream: str, seq: int) -> None:
        self.say(f"ack/{consumer}", {"stream": stream, "seq": str(seq)})

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        return [event for end, event in self._events if end.startswith(kind)]

    def seqs(self, kind: str = "") -> list[int]:
        return [int(event["seq"]) for event in self.events(kind)]

    def last(self, end: str) -> bytes | None:
        """The last payload heard on a topic below the root."""
        found = [bytes(message.payload) for message in self.heard if message.topic == f"{ROOT}/{end}"]
        return found[-1] if found else None

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(HANGS), self._changed:
            await self._changed.wait_for(true)

    async def any_event(self) -> None:
        """Return once there was one."""
        await self.until(lambda: bool(self.events()))

    def close(self) -> None:
        self._client.on_connect = self._client.on_subscribe = None  # paho closes its sockets
        self._client.on_message = self._client.on_publish = None
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribed(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ready.set)

    def _answered(self, *args: Any) -> None:  # noqa: ANN401 - paho's own
        reason: ReasonCode = args[3]
        self._loop.call_soon_threadsafe(self._note, self.answers, str(reason))

    def _message(self, _: Client, __: object, message: MQTTMessage) -> None:
        self._loop.call_soon_threadsafe(self._hear, message)

    def _hear(self, message: MQTTMessage) -> None:
        end = message.topic.removeprefix(f"{ROOT}/")
        if end.startswith(("charges/", "sessions/", "alarms/", "readings/")):
            self._events.append((end, json.loads(message.payload)))
        self._note(self.heard, message)

    def _note(self, notes: list[Any], note: object) -> None:
        notes.append(note)
        task = asyncio.ensure_future(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def listening(
    host: str, port: int, name: str = "ear", prepare: Callable[[Client], None] | None = None
) -> AsyncIterator[Ear]:
    ear = Ear(host, port, name, prepare)
    try:
        await ear.ready()
        yield ear
    finally:
        ear.close()
