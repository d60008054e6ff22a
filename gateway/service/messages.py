"""What is said between delivering, the outbox and the broker: the streams, what receivers send, and the two ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from gateway.core.canonical import Json
    from gateway.core.event import Event, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One numbered stream of the current epoch."""

    kind: Kind
    name: str
    """ "charges-5f1c2a9e" """
    head: int
    """the highest seq made, 0 before the first event"""
    finished: int
    """every event up to and including this seq is finished, 0 for none"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """What a consumer says: it has taken over durably everything up to and including `seq`."""

    consumer: str
    stream: str
    seq: int


@dataclass(frozen=True, slots=True)
class Reply:
    """Where the answer to a command goes."""

    topic: str
    correlation: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """A receiver asks for everything of a stream from `from_seq` (1 or more) on, once more."""

    stream: str
    from_seq: int
    reply: Reply | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A message that says nothing usable, or a right that the broker refuses."""

    code: str
    """of the alarm"""
    text: str
    reply: Reply | None = None
    consumer: str = ""
    """who said it, as far as that is known"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """There is a new connection to the broker, or (None) there is none any more."""

    number: int | None


Received = Ack | Resend | Problem | Connection


class RefusedError(Exception):
    """The broker, or the form of a topic, does not let this message pass. The text is the reason."""


class OfflineError(Exception):
    """The connection was lost before the broker confirmed; what is unfinished is published after the next connect."""


class EventStore(Protocol):
    """The outbox. "Finished" is a cursor: a stream is finished up to a seq, never in patches."""

    async def streams(self) -> Sequence[Stream]:
        """The streams of all four kinds in the current epoch, also the empty ones."""

    async def events(self, stream: str, after: int, limit: int) -> Sequence[Event]:
        """At most `limit` events with seq > `after` that are still kept, finished or not, in order of seq."""

    async def acks(self) -> Mapping[tuple[str, str], int]:
        """The recorded acks of the current epoch: (consumer, stream) -> seq."""

    async def acknowledge(self, acks: Sequence[Ack], finished: Mapping[str, int]) -> None:
        """Record acks and, per stream, the seq up to which it is finished.

        One transaction, durable on return. A lower value than the recorded one changes nothing. `acks` is empty
        where no consumer is named.
        """


class Outlet(Protocol):
    """The way to the broker."""

    def open(self, receive: Callable[[Received], None], streams: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Connect, and stay connected while inside. `receive` is called in the event loop; `streams` go into info."""

    async def publish(self, event: Event, *, historical: bool) -> None:
        """Return once the broker has confirmed; RefusedError, OfflineError."""

    async def answer(self, reply: Reply, body: Mapping[str, Json]) -> None:
        """Answer a command; RefusedError, OfflineError."""
