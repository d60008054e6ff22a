"""Readings that a person adds or voids, with the reason. Nothing is edited: both are kept beside what was read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from gateway.core.metering import Reading
from gateway.core.units import Scaled
from gateway.service import property_schema as schema
from gateway.service.command import labels
from gateway.service.command_moves import instant, register_named, registers_of, zone_of
from gateway.service.command_schema import AddReading, Answer, ChangeTold, ProblemTold
from gateway.service.correct_marks import MarkStore, leaning_on, touched
from gateway.service.doubt import SessionsStore, based_on, left_out
from gateway.service.property import book
from gateway.service.property_fields import DECIMALS, WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from gateway.core import metering
    from gateway.core.charge import EndedSession
    from gateway.service.command_edits import Known
    from gateway.service.command_schema import VoidReading
    from gateway.service.records import Correction, DirtyMonth

MAX_DIGITS = 18
"""what the store can count"""
_INSTANT = timedelta(microseconds=1)


class CorrectionStore(SessionsStore, MarkStore, Protocol):
    """What correcting readings needs of the store."""

    async def add_reading(
        self, reading: Reading, reason: str, by: str, at: datetime, dirty: Sequence[DirtyMonth]
    ) -> bool:
        """Keep a reading of origin "manual", its correction row, its event and the marks in one transaction.

        False, and nothing kept, where the same value of this register and instant is known and not voided. An
        instant whose readings are voided takes a new one without a conflict.
        """

    async def void_readings(
        self,
        meter: str,
        register: str,
        instant: datetime,
        reason: str,
        by: str,
        at: datetime,
        dirty: Sequence[DirtyMonth],
    ) -> Sequence[Reading]:
        """Leave every value of this register and instant out of `readings` for good, also where it comes again.

        What was voided; empty, and nothing kept, where no value was known. The rows themselves stay.
        """

    async def corrections(self) -> Sequence[Correction]:
        """Every added and voided reading, in the order in which they were recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One instant of one register."""

    meter: schema.Meter
    register: schema.Register
    counter: metering.Register
    """the same, as it is billed"""
    zone: str
    at: datetime
    present: Sequence[Reading]
    """what was read at that instant"""
    around: Sequence[Reading]
    """also the last before and the first after"""

    @property
    def shown(self) -> str:
        return ", ".join(f"{one.index} {one.unit}" for one in self.present)

    def local(self, at: datetime) -> str:
        """The instant as a person of the place writes it, with its offset."""
        return at.astimezone(ZoneInfo(self.zone)).isoformat()


async def correct(
    store: CorrectionStore, known: Known, command: AddReading | VoidReading, by: str, now: datetime, past: datetime
) -> Answer:
    """Add or void a reading, and have the closed months settled again whose charges it has a part in.

    It was not taken later than `past`.
    """
    place = await _place(store, known, command, past)
    if isinstance(place, str):
        return _refused(command, place)
    if isinstance(command, AddReading):
        return await _add(store, place, command, by, now)
    return await _void(store, place, command, by, now)


async def _place(
    store: CorrectionStore, known: Known, command: AddReading | VoidReading, past: datetime
) -> _Place | str:
    meter = known.get(("meter", command.meter))
    if not isinstance(meter, schema.Meter):
        return "there is no meter of this id; `submeter meter list` names them"
    registers = registers_of(known, meter.id)
    register = register_named(registers, command.register_)
    if register is None:
        has = ", ".join(one.id for one in registers) or "none"
        return f"{meter.id} has no register {command.register_}; it has: {has}"
    zone = zone_of(known, meter)
    at = instant(command.at, zone, past)
    if isinstance(at, str):
        return at
    at = at.astimezone(UTC)
    found = (await store.readings({meter.id}, at, at)).get((meter.id, register.key), ())
    present = [one for one in found if one.at == at]
    counter = book(known.values()).registers[register.id]
    return _Place(meter=meter, register=register, counter=counter, zone=zone, at=at, present=present, around=found)


async def _add(store: CorrectionStore, place: _Place, command: AddReading, by: str, now: datetime) -> Answer:
    index = _index(place.register, command.value)
    if isinstance(index, str):
        return _refused(command, index)
    if place.present:
        return _refused(command, f"{place.shown} was read at that instant; void it first (`submeter reading void`)")
    reading = Reading(
        meter=place.meter.id,
        register=place.register.key,
        at=place.at,
        index=index,
        unit=place.register.unit,
        origin="manual",
    )
    marks = await _marks(store, place, await _sessions(store, place), "late_reading", [reading])
    await store.add_reading(reading, command.reason, by, now, marks)
    return _told(command, place, marks, (None, f"{index} {reading.unit}"))


async def _void(store: CorrectionStore, place: _Place, command: VoidReading, by: str, now: datetime) -> Answer:
    if not place.present:
        return _refused(command, _nothing_there(place))
    sessions = await _sessions(store, place)
    marks = await _marks(store, place, sessions, "void")
    await store.void_readings(place.meter.id, place.register.key, place.at, command.reason, by, now, marks)
    return _told(command, place, marks, (place.shown, None)).model_copy(update={"said": left_out(sessions)})


async def _sessions(store: CorrectionStore, place: _Place) -> list[EndedSession]:
    return await based_on(store, place.meter.facility, {place.register.id}, place.at, place.at + _INSTANT)


def _index(register: schema.Register, text: str) -> Scaled | str:
    try:
        index = Scaled.parse(text)
    except ValueError as error:
        return str(error)
    if index.digits < 0:
        return f"{text} is no index: a meter does not count below 0; write what it shows"
    whole, _, decimals = text.partition(".")
    if len(whole) > WHOLE or len(decimals) > DECIMALS or len(whole + decimals) > MAX_DIGITS:
        return (
            f"{text} is no index; write at most {WHOLE} digits before the point and {DECIMALS} after it, "
            f"{MAX_DIGITS} in all"
        )
    if register.modulus is not None and index >= register.modulus:
        return f"{text} is more than {register.id} can show: it starts again at {register.modulus}"
    return index


def _nothing_there(place: _Place) -> str:
    nearest = min(place.around, key=lambda one: abs(one.at - place.at), default=None)
    hint = "nothing was ever read" if nearest is None else f"the nearest was at {place.local(nearest.at)}"
    return f"nothing was read from {place.register.id} at {place.local(place.at)}; {hint}"


async def _marks(
    store: CorrectionStore,
    place: _Place,
    sessions: Iterable[EndedSession],
    reason: str,
    added: Sequence[Reading] = (),
) -> list[DirtyMonth]:
    leaned = await leaning_on(store, place.counter, [place.at], lambda one: one.at == place.at, added)
    return await touched(store, (place.meter.facility, place.zone), leaned, sessions, reason)


def _refused(command: AddReading | VoidReading, *texts: str) -> Answer:
    problems: Iterable[ProblemTold] = (ProblemTold(kind="meter", id=command.meter, text=text) for text in texts)
    return Answer(ok=False, problems=tuple(problems))


def _told(
    command: AddReading | VoidReading,
    place: _Place,
    marks: Iterable[DirtyMonth],
    values: tuple[str | None, str | None],
) -> Answer:
    """`values`: before and after."""
    before, after = values
    told = {"at": place.local(place.at), "reason": command.reason}
    change = ChangeTold(
        kind="reading",
        id=f"{place.meter.id} {place.register.key}",
        before=None if before is None else {**told, "value": before},
        after=None if after is None else {**told, "value": after},
    )
    return Answer(ok=True, applied=True, changes=(change,), settled_again=labels(marks))
