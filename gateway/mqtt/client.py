"""The connection to the broker: paho in its own thread, everything else in the event loop.

MQTT 5 is tried first. A broker that refuses it is spoken to in 3.1.1 until the gateway is started again. Some that
know only 3.1.1 do not refuse but stay silent or hang up (amqtt 0.12 waits for ever, as it takes the properties for the
client id): until a broker has answered for the first time, an attempt without an answer is followed by one in the
other protocol.

A session ends with its connection: what must survive is in the store, and is published again after every connect,
because a broker may lose its sessions as well as its messages. A kept session would add nothing but a queue of old
commands at the broker.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.core.canonical import Json, canonical
from gateway.mqtt.release import release
from gateway.mqtt.security import Security, fault, refused
from gateway.mqtt.state import state_topic
from gateway.mqtt.topics import OFFLINE, ONLINE, Gateway, event_payload, event_topic, info_payload, parse
from gateway.service.messages import Connection, OfflineError, Problem, RefusedError
from gateway.service.reports import BROKER_UNUSABLE, DUPLICATE_GATEWAY, SUBSCRIBE_REFUSED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.core.event import Event
    from gateway.mqtt.security import Context
    from gateway.service.messages import Received, Reply

WINDOW = 20
"""messages in flight; Mosquitto takes no more from one client by default"""
FIRST_RETRY, LAST_RETRY = 1, 60
"""seconds between two attempts to connect"""
KEEP_ALIVE = 30
"""seconds; a connection that has gone silent is noticed after one and a half times as long"""
MAX_PACKET = 65_536
"""octets that the broker sends us at once; what is larger it keeps to itself: MQTT 5, 3.1.2.11.4"""
ANSWER = 5.0
"""seconds that a broker gets to answer CONNECT, and then SUBSCRIBE"""
LAST_WORDS = 2.0
"""seconds that the broker gets to take over the last status"""
WRONG_PROTOCOL = "Unsupported protocol version"
TAKEN_OVER = "Session taken over"
"""reason code 0x8E: another client has connected with our name"""
BRIEF, PUSHED_OFF = 10.0, 3
"""seconds that a connection lasts at least, and how many in a row may not: Mosquitto 2.0.11 and whoever speaks 3.1.1
just hang up on whom another client pushes off"""
PLAIN = Security()
ENDS = {
    "Unspecified error": "the connection broke off",
    "Keep alive timeout": "it has fallen silent",
}
"""how a connection ends, in plain words; other reasons are the broker's own words"""
NAMES = {MQTTProtocolVersion.MQTTv5: "MQTT 5", MQTTProtocolVersion.MQTTv311: "MQTT 3.1.1"}

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Ends:
    """How often the connection of one client of paho's has ended. Its thread connects anew on its own."""

    seen: int = 0
    """by paho's thread"""
    heard: int = 0
    """of these, by the event loop"""


class MqttClient:
    """An `Outlet` and a `StateOutlet` to one broker.

    `consumers` are those whose acks finish an event; they are told in info.
    """

    def __init__(
        self, gateway: Gateway, *, host: str, port: int, consumers: Sequence[str], security: Security = PLAIN
    ) -> None:
        self._gateway = gateway
        self._address = (host, port)
        self._security = security
        self._context: Context | None = None
        self._consumers = consumers
        self._streams: Sequence[str] = ()
        self._receive: Callable[[Received], None] = _nobody
        self._listeners: list[Callable[[], None]] = []
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(WINDOW)
        self._flying: dict[int, asyncio.Future[ReasonCode]] = {}
        self._number = 0
        self._online = False
        self._ends = _Ends()
        self._since: float | None = None
        """the loop's time when the broker let us in; None while there is no connection"""
        self._brief = 0
        """connections in a row that have lasted too short"""
        self._lost: str | None = None
        self._told: set[str] = set()
        """what must be put right, as far as it was logged since the broker was last there"""
        self._settled = False
        """whether the broker has said which protocol it speaks"""
        self._pause = FIRST_RETRY
        self._timer: asyncio.TimerHandle | None = None
        self._client = self._new()
        self._leaving: list[asyncio.Future[MQTTErrorCode]] = []
        """the ends of the clients that were replaced"""

    @asynccontextmanager
    async def open(self, receive: Callable[[Received], None], streams: Sequence[str]) -> AsyncIterator[None]:
        """Connect, and stay connected while inside; a broker that is away is tried again and again."""
        self._receive, self._streams = receive, streams
        self._start()
        try:
            yield
        finally:
            await self._goodbye()

    async def publish(self, event: Event, *, historical: bool) -> None:
        """Return once the broker has confirmed. RefusedError with its reason; OfflineError."""
        try:
            topic = event_topic(self._gateway, event)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        await self._send(topic, event_payload(self._gateway, event, historical=historical))

    async def answer(self, reply: Reply, body: Mapping[str, Json]) -> None:
        """Answer a command. RefusedError with the broker's reason; OfflineError."""
        properties = None
        if reply.correlation is not None and self._protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has no types there
            properties.CorrelationData = reply.correlation
        await self._send(reply.topic, canonical(body), properties=properties)

    def listen(self, connected: Callable[[], None]) -> None:
        """Call `connected` in the event loop at every new connection."""
        self._listeners.append(connected)

    async def retain(self, end: str, payload: bytes) -> None:
        """Leave a state at the broker, or take it away (b""). RefusedError with its reason; OfflineError."""
        try:
            topic = state_topic(self._gateway, end)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        await self._send(topic, payload, retain=True)

    async def _send(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: Properties | None = None
    ) -> None:
        await self._room.acquire()
        if not self._online or self._ends.heard != self._ends.seen:  # it would go out ahead of what is to be repeated
            self._room.release()
            raise OfflineError(self._lost)
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        # From here on paho keeps the message, also over a lost connection: its place is free when it is confirmed.
        future: asyncio.Future[ReasonCode] = self._loop.create_future()
        self._flying[info.mid] = future
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            future.cancel()
            raise OfflineError(info.rc.name)
        reason = await future
        if reason.is_failure:
            raise RefusedError(str(reason))

    def _new(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._gateway.client_id,
            clean_session=None if self._protocol == MQTTProtocolVersion.MQTTv5 else True,  # in 5 the default expiry
            protocol=self._protocol,
        )
        client.will_set(self._gateway.status, OFFLINE, qos=1, retain=True)
        client.reconnect_delay_set(FIRST_RETRY, LAST_RETRY)
        context = self._context = self._security.context()
        if context is not None:
            client.tls_set_context(context)
        client.on_pre_connect = lambda client, _: self._identify(client)
        client.on_socket_open = lambda client, *_: self._call(client, self._on_open)
        client.on_connect = lambda client, *args: self._connected(client, args[2])
        client.on_connect_fail = lambda client, *_: self._call(
            client, self._on_failed, fault(sys.exception(), self._address[0])
        )
        ends = self._ends = _Ends()
        client.on_disconnect = lambda client, *args: self._ended(client, ends, str(args[2]), context)
        client.on_publish = lambda client, *args: self._call(client, self._on_publish, args[1], args[2])
        client.on_subscribe = lambda client, *args: self._call(client, self._on_subscribe, args[2])
        client.on_message = lambda client, *args: self._call(client, self._on_message, args[1])
        return client

    def _identify(self, client: Client) -> None:
        """In paho's thread, before every attempt. FaultError, which paho takes for an attempt that failed."""
        if self._context is not None:
            self._security.load(self._context)
        client.username_pw_set(self._security.user, self._security.password())

    def _start(self) -> None:
        self._timer = None
        properties = None
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types there
            properties.MaximumPacketSize = MAX_PACKET
        self._client.connect_async(*self._address, KEEP_ALIVE, properties=properties)
        self._client.loop_start()

    def _call(self, client: Client, handler: Callable[..., None], *args: Any) -> None:  # noqa: ANN401 - paho's own
        """From paho's thread into the event loop; a client that was replaced has no say any more."""
        self._loop.call_soon_threadsafe(lambda: handler(*args) if client is self._client else None)

    def _ended(self, client: Client, ends: _Ends, reason: str, context: Context | None) -> None:
        """In paho's thread, which forgets a refusal before it connects anew."""
        ends.seen += 1
        self._call(client, self._on_closed, reason, None if context is None else context.refusal)

    def _connected(self, client: Client, reason: ReasonCode) -> None:
        """In paho's thread, which repeats what was in flight right after this.

        The answer to the subscription is read after that: until it is here nothing new may go out, or an older state
        would follow a newer one and stay.
        """
        if not reason.is_failure:
            client.subscribe([(topic, 1) for topic in self._gateway.subscriptions])
        self._call(client, self._on_connect, reason)

    def _on_open(self) -> None:
        self._timer = self._loop.call_later(ANSWER, self._on_silence)

    def _on_silence(self) -> None:
        self._timer = None
        self._on_lost("it does not answer")
        if not self._settled:
            five = self._protocol == MQTTProtocolVersion.MQTTv5
            self._switch(MQTTProtocolVersion.MQTTv311 if five else MQTTProtocolVersion.MQTTv5, self._pause)
            self._pause = min(self._pause * 2, LAST_RETRY)

    def _on_connect(self, reason: ReasonCode) -> None:
        self._answered()
        if str(reason) == WRONG_PROTOCOL and self._protocol == MQTTProtocolVersion.MQTTv5:
            self._switch(MQTTProtocolVersion.MQTTv311, 0)
        elif reason.is_failure:
            self._on_unusable(f"it refuses the gateway: {reason}")
        else:
            self._since = self._loop.time()
            self._on_open()  # it has to answer the subscription, too

    def _on_accepted(self) -> None:
        if self._lost not in (None, TAKEN_OVER) or not self._number:
            _log.info("The broker %s:%d is there, in %s", *self._address, NAMES[self._protocol])
        self._lost = None
        self._told.clear()
        self._online = True
        self._number += 1
        self._announce()
        self._receive(Connection(number=self._number))
        for connected in self._listeners:
            connected()

    def _answered(self) -> None:
        self._settled = True
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _announce(self) -> None:
        info = info_payload(
            self._gateway, consumers=self._consumers, streams=self._streams, protocol=NAMES[self._protocol]
        )
        self._client.publish(self._gateway.info, info, qos=1, retain=True)
        self._client.publish(self._gateway.status, ONLINE, qos=1, retain=True)

    def _switch(self, protocol: MQTTProtocolVersion, pause: float) -> None:
        self._protocol = protocol
        release(self._client)
        # Its thread may just be marking the connection as lost, for which it would connect once more: it is ended.
        gone = self._loop.run_in_executor(None, self._client.loop_stop)
        self._leaving = [*(one for one in self._leaving if not one.done()), gone]
        self._client = self._new()
        for _ in self._flying:  # what the old client kept goes with it
            self._room.release()
        self._flying.clear()
        self._timer = self._loop.call_later(pause, self._start)

    def _on_failed(self, clause: str | None) -> None:
        if clause is None:
            self._on_lost("it does not answer")
        else:
            self._on_unusable(clause)

    def _on_unusable(self, clause: str) -> None:
        """Something must be put right by a person."""
        text = "The broker {}:{} cannot be used: {}.".format(*self._address, clause)
        self._receive(Problem(code=BROKER_UNUSABLE, text=text))
        if clause not in self._told:
            self._told.add(clause)
            self._lost = None  # worth a line in the log, also when another reason was told before
        self._on_lost(clause)

    def _on_closed(self, reason: str, refusal: str | None) -> None:
        self._ends.heard += 1
        since, self._since = self._since, None
        self._stop_waiting()
        if refusal is not None:
            self._settled = True
            self._on_unusable(refused(refusal))
        elif since is None:  # closed without an answer
            self._on_silence()
        else:
            self._on_ended(reason, since)

    def _on_ended(self, reason: str, since: float) -> None:
        self._brief = self._brief + 1 if self._loop.time() - since < BRIEF else 0
        if reason != TAKEN_OVER and self._brief < PUSHED_OFF:
            self._on_lost(ENDS.get(reason, f"it ended the connection: {reason.lower()}"))
            return
        text = (
            "The broker {}:{} ends the connection of {} again and again: another gateway of this name pushes it off, or"
            " the broker restarts; end one of the two, or give each its own `site` or `gateway` in the settings."
        )
        self._receive(Problem(code=DUPLICATE_GATEWAY, text=text.format(*self._address, self._gateway.client_id)))
        self._on_lost(TAKEN_OVER)

    def _on_lost(self, reason: str) -> None:
        if self._lost in (None, TAKEN_OVER):
            self._lost = reason
            if reason != TAKEN_OVER:  # which comes back every second for as long as there are two: the alarm tells it
                _log.warning("The broker %s:%d is not available (%s); the gateway keeps trying", *self._address, reason)
        if self._online:
            self._online = False
            self._receive(Connection(number=None))
        for future in self._flying.values():
            if not future.done():
                future.set_exception(OfflineError(reason))

    def _on_publish(self, mid: int, reason: ReasonCode) -> None:
        future = self._flying.pop(mid, None)
        if future is None:
            return  # status or info
        self._room.release()
        if not future.done():
            future.set_result(reason)

    def _on_subscribe(self, reasons: Sequence[ReasonCode]) -> None:
        self._answered()
        self._on_accepted()
        for topic, reason in zip(self._gateway.subscriptions, reasons, strict=False):
            if reason.is_failure:
                text = f"The broker refuses to deliver {topic} ({reason}); give the gateway the right to read it."
                self._receive(Problem(code=SUBSCRIBE_REFUSED, text=text))

    def _on_message(self, message: MQTTMessage) -> None:
        response, correlation = (
            getattr(message.properties, name, None) for name in ("ResponseTopic", "CorrelationData")
        )
        payload, retained = bytes(message.payload), message.retain
        said = parse(self._gateway, message.topic, payload, response, correlation, retained=retained)
        if said is not None:
            self._receive(said)

    async def _goodbye(self) -> None:
        """Say offline ourselves: an orderly end sends no will. Where that is not taken, the will says it."""
        said = False
        if self._online:
            try:
                async with asyncio.timeout(LAST_WORDS):
                    await self._send(self._gateway.status, OFFLINE, retain=True)
                said = True
            except (OfflineError, RefusedError, TimeoutError) as error:
                _log.warning("The broker did not take the last status: %r", error)
        self._online = False
        self._stop_waiting()
        self._receive = _nobody
        self._listeners.clear()  # who listens may refer to us: a circle would leave the sockets to the collector
        release(self._client, with_will=not said)
        await asyncio.gather(asyncio.to_thread(self._client.loop_stop), *self._leaving)


def _nobody(_: Received) -> None:
    """Nothing is connected yet."""
