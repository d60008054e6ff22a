"""Delivery: every event reaches every named consumer, in order, and is finished by their acks alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from gateway.core.event import Alarm, Event, Kind


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


class AlarmSink(Protocol):
    """Where alarms begin and end; doing either twice changes nothing."""

    async def raise_alarm(self, alarm: Alarm) -> None:
        """Begin the alarm of this code and source."""

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        """End the alarm of this code and source, if there is one."""
