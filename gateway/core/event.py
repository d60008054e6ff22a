"""What is told to the outside, in order: one numbered stream per kind of event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

Kind = Literal["charge", "session", "alarm", "reading"]
ORDER: tuple[Kind, ...] = ("charge", "session", "alarm", "reading")
"""the order in which the streams are delivered"""
Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a stream."""

    kind: Kind
    stream: str
    """plural of the kind, "-", the epoch: "charges-5f1c2a9e" """
    seq: int
    """1, 2, 3 ... without gaps within the stream"""
    id: str
    """the charge id for a charge, else "stream:seq" """
    subject: str
    """the end of the topic: "charges/flat-3" """
    time: datetime
    """when the event was made"""
    data: str
    """canonical JSON of the payload"""
    bootid: str
    prevhash: str | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that a person should know, from when it began until it ended."""

    code: str
    """word of the programme: "index_decrease", "meter_silent" """
    source: str
    """id of what it concerns: a meter, a register, a point, "gateway" """
    severity: Severity
    since: datetime
    text: str
    """one sentence: what, where, what to do"""
    ended: datetime | None = None
