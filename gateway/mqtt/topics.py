"""Events to topics and CloudEvents 1.0, and what receivers send back. No connection here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.canonical import Json, canonical
from gateway.core.period import rfc3339
from gateway.service.messages import Ack, Problem, Received, Reply, Resend
from gateway.service.reports import ACK_MALFORMED, COMMAND_MALFORMED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.event import Event

ID = re.compile(r"[a-z0-9-]{1,40}")
_SUBJECT = re.compile(r"(charges|sessions|alarms|readings)/([a-z0-9-]{1,40}|_remainder)")
_STREAM = re.compile(r"[a-z]{1,20}-[a-z0-9]{1,40}")
_SEQ = re.compile(r"0|[1-9][0-9]{0,15}")
_FIRST = re.compile(r"[1-9][0-9]{0,15}")
_CORRELATION = re.compile(r"[A-Za-z0-9-]{1,64}")
MAX_COMMAND = 512
"""octets of a payload from outside: also keeps its nesting far below the parser's recursion limit"""
TREE = "submeter/"
"""what the topics of all gateways begin with"""
ONLINE = b"online"
OFFLINE = b"offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Whose topics these are. ValueError for an id that could not stand in a topic."""

    site: str
    name: str

    def __post_init__(self) -> None:
        for text in (self.site, self.name):
            if not ID.fullmatch(text):
                message = f"{text!r} is no id: write 1 to 40 of a-z, 0-9 and -"
                raise ValueError(message)

    @property
    def root(self) -> str:
        """What all topics begin with, without the last slash."""
        return f"{TREE}v0/{self.site}/{self.name}"

    @property
    def source(self) -> str:
        """The CloudEvents source."""
        return f"/submeter/{self.site}/{self.name}"

    @property
    def client_id(self) -> str:
        """The name of the connection: no two pairs of site and gateway share it, for ids hold no dot."""
        return f"{self.site}.{self.name}"

    @property
    def status(self) -> str:
        """Retained: online, or offline as the will."""
        return f"{self.root}/status"

    @property
    def info(self) -> str:
        """Retained: what a receiver should know before it begins."""
        return f"{self.root}/info"

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """What the gateway listens to."""
        return (f"{self.root}/ack/+", f"{self.root}/cmd/resend")


def event_topic(gateway: Gateway, event: Event) -> str:
    """Where the event is published. ValueError for a subject that is no kind and id."""
    if not _SUBJECT.fullmatch(event.subject):
        message = f"the subject {event.subject!r} of {event.stream}:{event.seq} cannot stand in a topic"
        raise ValueError(message)
    return f"{gateway.root}/{event.subject}"


def event_payload(gateway: Gateway, event: Event, *, historical: bool) -> bytes:
    """The event as a CloudEvents 1.0 JSON object; `data` goes in byte for byte, so that its hash still holds."""
    envelope: dict[str, Json] = {
        "specversion": "1.0",
        "id": event.id,
        "source": gateway.source,
        "type": f"org.submeter.{event.kind}.v0",
        "subject": event.subject,
        "time": rfc3339(event.time),
        "datacontenttype": "application/json",
        "dataschema": f"urn:submeter:{event.kind}:v0",
        "stream": event.stream,
        "seq": str(event.seq),
        "bootid": event.bootid,
        "historical": historical,
    }
    if event.hash is not None:
        envelope |= {"hash": event.hash, "prevhash": event.prevhash}
    return canonical(envelope)[:-1] + b',"data":' + event.data.encode() + b"}"


def info_payload(gateway: Gateway, *, consumers: Sequence[str], streams: Sequence[str], protocol: str) -> bytes:
    """What a receiver should know: who must ack, and the streams of this epoch, to be asked for by resend."""
    return canonical(
        {
            "site": gateway.site,
            "gateway": gateway.name,
            "protocol": protocol,
            "consumers": list(consumers),
            "finished_by": "ack" if consumers else "puback",
            "streams": list(streams),
        }
    )


def parse(
    gateway: Gateway,
    topic: str,
    payload: bytes,
    response_topic: str | None = None,
    correlation: bytes | None = None,
    *,
    retained: bool = False,
) -> Received | None:
    """What a message under one of `Gateway.subscriptions` says; a `Problem` where it says nothing usable.

    None for the empty one with which somebody clears a retained command (MQTT 5, 3.3.1.3). `retained`: the broker had
    kept it. A command that is kept would be carried out at every connect.
    """
    end = topic.removeprefix(f"{gateway.root}/")
    if end.startswith("ack/"):
        return _ack(end.removeprefix("ack/"), payload)
    if not payload and response_topic is None:
        return None
    command = _resend(gateway, payload, response_topic, correlation)
    if retained and isinstance(command, Resend):
        text = f"A retained {end} was refused; the receiver must send it without retain, and clear it with no payload."
        return Problem(code=COMMAND_MALFORMED, text=text, reply=command.reply)
    return command


def _ack(consumer: str, payload: bytes) -> Received:
    body = _object(payload)
    if not ID.fullmatch(consumer) or body is None or body.keys() != {"stream", "seq"}:
        return _no_ack(consumer)
    stream, seq = body["stream"], body["seq"]
    if not _is(_STREAM, stream) or not _is(_SEQ, seq):
        return _no_ack(consumer)
    return Ack(consumer=consumer, stream=str(stream), seq=int(str(seq)))


def _no_ack(consumer: str) -> Problem:
    text = _advice("an ack", '{"stream":"charges-5f1c2a9e","seq":"7"}')
    return Problem(code=ACK_MALFORMED, text=text, consumer=consumer)


def _resend(gateway: Gateway, payload: bytes, response_topic: str | None, correlation: bytes | None) -> Received:
    body = _object(payload) or {}
    reply = _reply(gateway, response_topic, correlation, body.pop("correlation", None))
    stream, first = body.get("stream"), body.get("from_seq")
    if type(first) is int:  # typed by a person into a tool; bool is an int too, and no number
        first = str(first)
    if body.keys() != {"stream", "from_seq"} or not _is(_STREAM, stream) or not _is(_FIRST, first):
        text = _advice("cmd/resend", '{"stream":"charges-5f1c2a9e","from_seq":"7"}')
        return Problem(code=COMMAND_MALFORMED, text=text, reply=reply)
    return Resend(stream=str(stream), from_seq=int(str(first)), reply=reply)


def _reply(gateway: Gateway, response_topic: str | None, correlation: bytes | None, named: object) -> Reply | None:
    """Where the answer goes: never into the topics of this gateway or another, other than our own reply/."""
    if response_topic:
        own = response_topic.startswith(TREE) and not response_topic.startswith(f"{gateway.root}/reply/")
        return None if own or re.search(r"[+#\x00-\x1f]|^\$", response_topic) else Reply(response_topic, correlation)
    if named is None and correlation:
        named = correlation.decode("ascii", errors="replace")
    return Reply(f"{gateway.root}/reply/{named}", correlation) if _is(_CORRELATION, named) else None


def _is(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _object(payload: bytes) -> dict[str, object] | None:
    if len(payload) > MAX_COMMAND:
        return None
    try:
        value = json.loads(payload.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _advice(what: str, example: str) -> str:
    return f"A message to {what} was refused because it cannot be read; the receiver must send e.g. {example}."
