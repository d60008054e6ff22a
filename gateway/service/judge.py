"""Readings judged when they are polled: what cannot be is told at once, and not when the month is settled.

The rules are those of settling (gateway/core/course.py), over the last reading that was believed, the latest one and
the new one. Nothing is changed or left out: every reading is kept, settling holds what touches an anomaly, and only a
person ends it, by voiding a reading, entering an exchange or correcting the register. Here it is counted, and told in
one alarm per register until nothing of it is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from gateway.core.event import Alarm
from gateway.core.metering import same_serial
from gateway.core.period import rfc3339
from gateway.core.track import track
from gateway.core.units import UnitError
from gateway.service.incomplete import Incomplete
from gateway.service.property import book_of
from gateway.service.storing import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.course import Node
    from gateway.core.metering import Reading, Register
    from gateway.service.alarms import AlarmSink
    from gateway.service.polled import Poll, ReadingStore
    from gateway.service.records import PropertyRow

READING_IMPLAUSIBLE = "reading_implausible"
Verdict = Literal["measured", "rollover", "exchange_suspected", "garbage", "no_value"]
VERDICTS: dict[str, Verdict] = {
    "identity_changed": "exchange_suspected",
    "index_decrease": "exchange_suspected",
    "index_jump": "garbage",
}
"""by the fault of the course"""
_DAY = 24 * 3600 * 10**6

_log = logging.getLogger(__name__)
Key = tuple[str, str]
"""meter, register key"""


class JudgeStore(Protocol):
    """Where to look back."""

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """The property data as known at the instant; None: now."""

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime, keys: Collection[str] | None = None
    ) -> Mapping[Key, tuple[Reading, ...]]:
        """Each register's readings in [start, until], the last before and the first after."""

    async def open_alarms(self) -> Sequence[Alarm]:
        """The alarms that have not ended."""


@dataclass(slots=True)
class _Course:
    """What is remembered of one register."""

    good: Reading | None = None
    """the last one that was believed"""
    latest: Reading | None = None
    since: datetime | None = None
    """of the oldest anomaly that nobody has ended"""


class Judge:
    """The store of readings, which also judges them once they are kept."""

    def __init__(self, store: ReadingStore, past: JudgeStore, alarms: AlarmSink) -> None:
        self._store = store
        self._past = past
        self._alarms = alarms
        self._registers: dict[Key, Register] = {}
        self._changes, self._looked = 1, 0
        """of the property data: how often they have changed, and as of which change they were looked at"""
        self._courses: defaultdict[Key, _Course] = defaultdict(_Course)
        self._incomplete = Incomplete(alarms)
        self._turn = asyncio.Lock()
        self._begun = False
        self._counts: Counter[tuple[str, Verdict]] = Counter()

    @property
    def counts(self) -> Mapping[tuple[str, Verdict], int]:
        """How often a verdict was given to a register, since the start."""
        return self._counts

    def refresh(self) -> None:
        """Look at the property data again."""
        self._changes += 1

    async def keep(self, polls: Sequence[Poll]) -> None:
        """Keep the polls of one round in one transaction; return once they are durable and judged."""
        await self._store.keep(polls)
        try:
            async with self._turn:
                await self._judge_all(polls)
        except StoreUnavailableError as error:  # what is held back is found again when the month is settled
            _log.warning("readings are not judged: %s", error.reason)

    async def _judge_all(self, polls: Sequence[Poll]) -> None:
        registers = await self._known()
        for poll in polls:
            for lacking in await self._incomplete.note(poll, registers):
                self._counts[lacking.id, "no_value"] += 1
        readings = (each for poll in polls for each in poll.readings if _counts(each))
        wanted = [each for each in readings if (each.meter, each.register) in registers]
        await self._look_back(wanted)
        for reading in wanted:
            key = (reading.meter, reading.register)
            await self._judge(registers[key], self._courses[key], reading)

    async def _known(self) -> dict[Key, Register]:
        if self._looked != self._changes:
            changes = self._changes  # they may change once more while they are looked at
            book = book_of(await self._past.property_rows(None))
            self._registers = {(each.meter, each.key): each for each in book.registers.values()}
            self._looked = changes
        if not self._begun:
            await self._recall(self._registers)
            self._begun = True
        return self._registers

    async def _recall(self, registers: Mapping[Key, Register]) -> None:
        """The anomalies that were open before the start."""
        by_id = {register.id: register for register in registers.values()}
        alarms = await self._past.open_alarms()
        self._incomplete.recall(alarms)
        for alarm in alarms:
            register = by_id.get(alarm.source)
            if alarm.code != READING_IMPLAUSIBLE or register is None:
                continue
            self._courses[register.meter, register.key].since = alarm.since

    async def _look_back(self, readings: Sequence[Reading]) -> None:
        """The last reading before these, of registers of which nothing is remembered."""
        fresh = [(each.meter, each.register, each.at) for each in readings]
        instants = {(meter, key): at for meter, key, at in fresh if self._courses[meter, key].latest is None}
        if not instants:
            return
        meters, keys = {meter for meter, _ in instants}, {key for _, key in instants}
        found = await self._past.readings(meters, min(instants.values()), max(instants.values()), keys)
        for key, at in instants.items():
            before = [each for each in found.get(key, ()) if each.at < at and _counts(each)]
            self._courses[key].good = self._courses[key].latest = before[-1] if before else None

    async def _judge(self, register: Register, course: _Course, reading: Reading) -> None:
        if course.latest is not None and reading.at <= course.latest.at:
            return  # kept late, such as what was placed in time: settling judges it
        if course.since is not None:
            await self._look_again(register, course, course.since, reading.at)
        node = None if _is_plain(register, course, reading) else _last_node(register, course, reading)
        before, neighbour, course.latest = course.good, course.latest, reading
        if node is None or node.fault not in VERDICTS:
            known = [each for each in (before, neighbour) if each is not None]
            turned = node is not None and known and all(_rolled_over(register, each, reading) for each in known)
            self._counts[register.id, "rollover" if turned else "measured"] += 1
            course.good = reading
            return
        self._counts[register.id, VERDICTS[node.fault]] += 1
        if course.since is None:
            course.since = reading.at
            await self._tell(register, node.fault, before, reading)

    async def _tell(self, register: Register, fault: str, before: Reading | None, reading: Reading) -> None:
        text = _text(register, fault, before, reading)
        _log.warning("%s: %s", register.id, text)
        alarm = Alarm(code=READING_IMPLAUSIBLE, source=register.id, severity="error", since=reading.at, text=text)
        await self._alarms.raise_alarm(alarm)

    async def _look_again(self, register: Register, course: _Course, since: datetime, now: datetime) -> None:
        """Where a person has ended the oldest anomaly, its alarm ends; the next one has an alarm of its own."""
        around = await self._past_readings(register, since, since)
        if _faults(register, around, since, since):
            return
        await self._alarms.end_alarm(READING_IMPLAUSIBLE, register.id, now)
        readings = await self._past_readings(register, since, now)
        standing = _faults(register, readings, since, now)
        course.since = standing[0].at if standing else None
        if standing:
            at, fault = standing[0].at, standing[0].fault or ""
            before = [each for each in readings if each.at < at]
            found = next(each for each in readings if each.at == at)
            await self._tell(register, fault, before[-1] if before else None, found)

    async def _past_readings(self, register: Register, start: datetime, until: datetime) -> Sequence[Reading]:
        found = await self._past.readings([register.meter], start, until, {register.key})
        return found.get((register.meter, register.key), ())


def _faults(register: Register, readings: Sequence[Reading], start: datetime, until: datetime) -> list[Node]:
    """The anomalies in [start, until], of the kinds that are told here."""
    nodes = _course(register, readings)
    return [node for node in nodes if start <= node.at <= until and node.fault in VERDICTS and not node.contradicted]


def _counts(reading: Reading) -> bool:
    return reading.origin == "measured" and reading.clock_trusted


def _course(register: Register, readings: Iterable[Reading]) -> Sequence[Node]:
    try:
        return track(register, readings).nodes
    except UnitError:  # told when settling: nothing of the register can be billed
        return ()


def _last_node(register: Register, course: _Course, reading: Reading) -> Node | None:
    known = {each.at: each for each in (course.good, course.latest, reading) if each is not None}
    nodes = _course(register, known.values())
    return next((node for node in reversed(nodes) if node.at == reading.at), None)


def _rolled_over(register: Register, before: Reading, reading: Reading) -> bool:
    """Of a reading without a fault: more than a backflow."""
    least = before.index if register.backflow is None else before.index - register.backflow
    return reading.unit == before.unit and reading.index < least and reading.serial == before.serial


def _is_plain(register: Register, course: _Course, reading: Reading) -> bool:
    """Whether it needs no second look: this runs for every reading of a meter that is read each second."""
    good, most = course.good, register.max_per_day
    if good is None or good is not course.latest or most is None or register.exchanges:
        return False
    same = (good.serial, good.unit, good.index.exponent) == (reading.serial, register.unit, reading.index.exponent)
    if not same or reading.unit != register.unit or _is_stranger(register, reading):
        return False
    fine = reading.index.exponent - most.exponent
    flow = reading.index.digits - good.index.digits
    passed = reading.at - good.at
    micros = (passed.days * 86_400 + passed.seconds) * 10**6 + passed.microseconds
    return flow >= 0 and flow * 10 ** max(fine, 0) * _DAY <= most.digits * 10 ** max(-fine, 0) * micros


def _is_stranger(register: Register, reading: Reading) -> bool:
    """Whether another meter has answered than property data name, of a register whose meter was never exchanged."""
    return bool(register.serial and reading.serial) and not same_serial(reading.serial, register.serial)


_HELD = "what touches it is held and not billed until then"


def _text(register: Register, fault: str, before: Reading | None, reading: Reading) -> str:
    """What was seen, and what to do."""
    void, enter = _remedies(register)
    if fault == "identity_changed":
        return _stranger_text(register, before, reading)
    was = f"{before.index} {before.unit}" if before is not None else "nothing"
    seen = f"{reading.index} {reading.unit} at {rfc3339(reading.at)} after {was}"
    if fault == "index_decrease":
        wrong = void.replace("void it", "void the one that is")
        return (
            f"exchange or reset suspected: {seen} is less, and either may be wrong: {enter}, or {wrong};"
            f" {_HELD.replace('it is', 'the fall is')}"
        )
    limit = register.limit
    return f"garbage suspected: {seen} is more than {limit} allows: {void}, or correct {limit}; {_HELD}"


def _stranger_text(register: Register, before: Reading | None, reading: Reading) -> str:
    """Who answered where another meter should have: the one before, or whom property data name there."""
    void, enter = _remedies(register)
    seen, named = f"meter {reading.serial} answers since {rfc3339(reading.at)}", register.named(reading.at)
    if not named or (before is not None and same_serial(before.serial, named)):
        old = before.serial if before is not None else "another meter"
        return f"exchange suspected: {seen} where {old} did: {enter}, or {void}; {_HELD}"
    correct = f"correct the serial (submeter meter set {register.meter} --serial ...)"
    if register.exchanges:
        back = f"take the exchange back (submeter exchange {register.meter} --mistaken)"
        correct = f"{back}, correct the serial and enter it again"
    wired = f"correct the address in the settings and {void}"
    return f"{seen} where property data say {named}: {correct}, or {wired}, or {enter}; {_HELD}"


def _remedies(register: Register) -> tuple[str, str]:
    void = f"void it (submeter reading void {register.meter} {register.key})"
    return void, f"enter the exchange (submeter exchange {register.meter})"
