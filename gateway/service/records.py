"""What services hand to the store and get back, where a core value alone does not say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.core.event import Alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCharge:
    """A charge as it is kept and told."""

    charge_id: str
    line_id: str
    revision: int
    kind: str
    """charge, reversal, adjustment"""
    replaces: str | None
    facility: str
    closing: str
    """the month that it belongs to: "2026-10" """
    billing_point: str | None
    """None for the remainder"""
    register: str | None
    data: str
    """canonical JSON of the whole body, charge_id included"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyMonth:
    """A month of a facility that is to be settled again, and why."""

    facility: str
    month: str
    """ "2026-10" """
    reason: str
    """late_reading, move, exchange, rate, key, link, void, model, other"""
    mark: int = 0
    """given by the store; a later mark of the same month and reason has a higher one"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedMonth:
    """A month of a facility whose charges are made."""

    facility: str
    month: str
    closed_at: datetime
    settled_at: datetime
    """the last time that it was settled"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyRow:
    """What an entity is, from `recorded_at` on."""

    kind: str
    id: str
    value: str | None
    """JSON; None where the entity is ended"""
    recorded_at: datetime
    recorded_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyChange:
    """The whole new value of one entity."""

    kind: str
    """facility, building, point, user ... """
    id: str
    value: str | None
    """JSON; None ends the entity"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What a person said about one reading, kept for good."""

    kind: Literal["added", "voided"]
    meter: str
    register: str
    """key of the register in the meter's model"""
    at: datetime
    """of the reading"""
    values: tuple[str, ...]
    """the index that was added, or those that were voided, with their unit: ("8502.7 kWh",)"""
    reason: str
    recorded_at: datetime
    recorded_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRead:
    """What a meter told of one register in a stretch of time."""

    register: str
    """key of the register in the meter's model"""
    readings: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidedSpan:
    """What a person said about all readings of a meter in [start, until)."""

    meter: str
    registers: frozenset[str]
    """keys"""
    start: datetime
    until: datetime
    reason: str
    recorded_at: datetime
    recorded_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAlarm:
    """An alarm by the id with which it is told; who ended it and why, where a person did."""

    id: str
    alarm: Alarm
    ended_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A session of a badge at a machine, as it is kept: the columns that are asked for, and all of it."""

    id: str
    facility: str
    access_point: str
    started_at: datetime
    ended_at: datetime | None
    """None while it runs"""
    data: str
    """canonical JSON of the whole session"""
