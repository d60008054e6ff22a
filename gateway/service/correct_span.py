"""All readings of a stretch of time that a person voids: of meters that were crossed for weeks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from gateway.service import property_schema as schema
from gateway.service.command import labels
from gateway.service.command_moves import instant, register_named, registers_of, zone_of
from gateway.service.command_schema import Answer, ChangeTold, ProblemTold
from gateway.service.correct_marks import MarkStore, leaning_on, touched
from gateway.service.doubt import SessionsStore, based_on, left_out
from gateway.service.property import book
from gateway.service.records import VoidedSpan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gateway.core.charge import EndedSession
    from gateway.core.metering import Reading, Register
    from gateway.service.command_edits import Known
    from gateway.service.command_schema import VoidSpan
    from gateway.service.records import DirtyMonth, SpanRead

MOST = 50_000
"""readings voided at once: what is polled must not wait long"""
_TOLD = frozenset({"measured", "stored"})
"""by the meter: what a person added stays"""


class SpanStore(SessionsStore, MarkStore, Protocol):
    """What is asked of the store."""

    async def span_read(
        self, meter: str, registers: Collection[str], start: datetime, until: datetime
    ) -> Sequence[SpanRead]:
        """What the meter told of these registers (keys) in [start, until) and counts; not what a person added."""

    async def void_span(self, span: VoidedSpan, dirty: Sequence[DirtyMonth]) -> int:
        """Leave all that out, with a correction row for each instant, and keep the marks, in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Which readings are meant."""

    meter: schema.Meter
    registers: tuple[schema.Register, ...]
    counters: Mapping[str, Register]
    """by key: the same, as they are billed"""
    zone: str
    start: datetime
    until: datetime

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(register.key for register in self.registers)

    def local(self, at: datetime) -> str:
        """The instant as a person of the place writes it, with its offset."""
        return at.astimezone(ZoneInfo(self.zone)).isoformat()


async def void_span(
    store: SpanStore, known: Known, command: VoidSpan, by: str, now: datetime, past: datetime
) -> Answer:
    """Void what a meter told in a stretch, and have the closed months settled again in whose charges it has a part.

    Without `yes` it is refused with what it would void. The stretch does not begin or end later than `past`.
    """
    span = _span(known, command, past)
    if isinstance(span, str):
        return _refused(command, span)
    read = await store.span_read(span.meter.id, span.keys, span.start, span.until)
    count = sum(each.readings for each in read)
    if not count:
        text = f"nothing was read from {span.local(span.start)} to {span.local(span.until)}, or all of it is void"
        return _refused(command, text)
    if count > MOST:
        return _refused(command, f"these are {count} readings, more than {MOST}; void them in shorter stretches")
    ids = {register.id for register in span.registers}
    sessions = await based_on(store, span.meter.facility, ids, span.start, span.until)
    marks = await _marks(store, span, read, sessions)
    if not command.yes:
        return _refused(command, _warning(span, read, labels(marks)))
    await store.void_span(_voided(span, command.reason, by, now), marks)
    changes = tuple(_change(span, each, command.reason) for each in read)
    return Answer(ok=True, applied=True, changes=changes, settled_again=labels(marks), said=left_out(sessions))


def _span(known: Known, command: VoidSpan, past: datetime) -> _Span | str:
    meter = known.get(("meter", command.meter))
    if not isinstance(meter, schema.Meter):
        return "there is no meter of this id; `submeter meter list` names them"
    registers = registers_of(known, meter.id)
    has = ", ".join(one.id for one in registers) or "none"
    if command.register_ is not None:
        named = register_named(registers, command.register_)
        registers = [] if named is None else [named]
    if not registers:
        return f"{meter.id} has no register {command.register_ or 'that could be read'}; it has: {has}"
    zone = zone_of(known, meter)
    start, until = (instant(text, zone, past) for text in (command.start, command.until))
    if isinstance(start, str):
        return start
    if isinstance(until, str):
        return until
    if start >= until:
        return f"{command.until} is not after {command.start}; the instant of --to is the first whose reading stays"
    billed = book(known.values()).registers
    return _Span(
        meter=meter,
        registers=tuple(registers),
        counters={one.key: billed[one.id] for one in registers},
        zone=zone,
        start=start.astimezone(UTC),
        until=until.astimezone(UTC),
    )


async def _marks(
    store: SpanStore, span: _Span, read: Sequence[SpanRead], sessions: Iterable[EndedSession]
) -> list[DirtyMonth]:
    def told(one: Reading) -> bool:
        return span.start <= one.at < span.until and one.origin in _TOLD

    stretches = [await leaning_on(store, span.counters[one.register], (one.first, one.last), told) for one in read]
    leaned = [stretch for found in stretches for stretch in found]
    return await touched(store, (span.meter.facility, span.zone), leaned, sessions, "void")


def _voided(span: _Span, reason: str, by: str, now: datetime) -> VoidedSpan:
    return VoidedSpan(
        meter=span.meter.id,
        registers=span.keys,
        start=span.start,
        until=span.until,
        reason=reason,
        recorded_at=now,
        recorded_by=by,
    )


def _warning(span: _Span, read: Sequence[SpanRead], again: Sequence[str]) -> str:
    parts = ", ".join(
        f"{_readings(each)} of {span.meter.id} {each.register} from {span.local(each.first)} to {span.local(each.last)}"
        for each in read
    )
    settled = f", and settle {', '.join(again)} again" if again else ""
    return f"nothing is done yet: this would void {parts}{settled}; write --yes to do it"


def _readings(each: SpanRead) -> str:
    return f"{each.readings} reading{'s' * (each.readings != 1)}"


def _change(span: _Span, each: SpanRead, reason: str) -> ChangeTold:
    told = {"from": span.local(each.first), "to": span.local(each.last), "readings": each.readings, "reason": reason}
    return ChangeTold(kind="reading", id=f"{span.meter.id} {each.register}", before=told, after=None)


def _refused(command: VoidSpan, text: str) -> Answer:
    return Answer(ok=False, problems=(ProblemTold(kind="meter", id=command.meter, text=text),))
