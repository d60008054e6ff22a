"""Carries out one command after the other, whoever gives it: the daemon for the command line, or the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from gateway.core.period import MAX
from gateway.core.problem import Problem
from gateway.service import property_schema as schema
from gateway.service.command import Plan, PropertyStore, fixed, labels, plan, record, touching
from gateway.service.command_edits import Edit, added, changed, ended
from gateway.service.command_fit import misfits
from gateway.service.command_import import taken_over
from gateway.service.command_moves import exchanged, moved, registers_of, shared, steps_of, taken_back
from gateway.service.command_prices import numbered
from gateway.service.command_schema import (
    Add,
    AddReading,
    Answer,
    Change,
    ChangeTold,
    Command,
    End,
    EndAlarm,
    Exchange,
    Import,
    Move,
    ProblemTold,
    Set,
    Share,
    VoidReading,
    VoidSpan,
    refusal,
)
from gateway.service.command_serial import remembering
from gateway.service.correct import CorrectionStore, correct
from gateway.service.correct_span import SpanStore, void_span
from gateway.service.dealt_with import AlarmStore, deal_with
from gateway.service.foresee import ForeseeStore, foreseen
from gateway.service.property import book, entities
from gateway.service.storing import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from gateway.ports.clock import Clock
    from gateway.service.command_edits import Known
    from gateway.service.records import ClosedMonth, PropertyRow

Seal = Callable[[str], str]
"""what is kept of a badge's identifier"""


class SealError(Exception):
    """An identifier cannot be sealed. The text is one sentence."""


class CommandStore(PropertyStore, ForeseeStore, CorrectionStore, SpanStore, AlarmStore, Protocol):
    """What commands need of the store."""

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """The property data as known at the instant; None: now."""

    async def property_history(self, kind: str | None, entity: str | None) -> Sequence[PropertyRow]:
        """Every value that entities ever had, in the order of recording; of one kind, of one id, or of all."""


class Commander:
    """Gives every command the entries as the one before has left them."""

    def __init__(
        self,
        *,
        store: CommandStore,
        clock: Clock,
        seal: Seal,
        changed: Callable[[], None] = lambda: None,
        turn: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        """`changed` is called after each change: what was settled may have to be settled again.

        `turn`: that of settling, which closes no month while a command is half done.
        """
        self._store = store
        self._clock = clock
        self._seal = seal
        self._changed = changed
        self._turn = asyncio.Lock() if turn is None else turn

    async def execute(self, command: Command, by: str) -> Answer:
        """What became of the command; `by` is kept with what it changed."""
        try:
            async with self._turn:
                answer = await self._twice(command, by)
        except SealError as error:
            return refusal(str(error))
        if answer.applied and answer.changes:
            self._changed()
        return answer

    async def _twice(self, command: Command, by: str) -> Answer:
        try:
            return await self._execute(command, by)
        except StoreUnavailableError:  # its connection was lost while nobody asked: the next one may be made
            return await self._execute(command, by)

    async def check(self, command: Change) -> Answer:
        """What would become of a change."""
        current = entities(await self._store.property_rows(None))
        planned = prepare(current, command, self._clock.now(), self._seal, await self._store.closed_months())
        return told(planned) if isinstance(planned, Plan) else refused(planned)

    async def _execute(self, command: Command, by: str) -> Answer:
        current = entities(await self._store.property_rows(None))
        now = self._clock.now()
        past = await self._past(command, now)
        if isinstance(command, EndAlarm):
            return await deal_with(self._store, command, by, now)
        if isinstance(command, AddReading | VoidReading | VoidSpan):
            return await self._correct(current, command, by, past)
        if isinstance(command, Exchange) and command.mistaken and command.serial is None:
            command = command.model_copy(update={"serial": await self._serial_before(by_name(current), command.meter)})
        planned = prepare(current, command, past, self._seal, await self._store.closed_months())
        if not isinstance(planned, Plan):
            return refused(planned)
        wrong = await misfits(self._store, planned) if isinstance(command, Exchange) else ()
        if wrong:
            return refused(wrong)
        if isinstance(command, Import) and command.plan:
            return await told_ahead(self._store, planned)
        answer = await told_ahead(self._store, planned)
        planned = await record(self._store, planned, by=by, at=now)
        said = await self._unnamed(command) or answer.said
        return answer.model_copy(update={"applied": True, "settled_again": labels(planned.marks), "said": said})

    async def _correct(
        self, current: Sequence[schema.Entity], command: AddReading | VoidReading | VoidSpan, by: str, past: datetime
    ) -> Answer:
        known, now = by_name(current), self._clock.now()
        if isinstance(command, VoidSpan):
            answer = await void_span(self._store, known, command, by, now, past)
        else:
            answer = await correct(self._store, known, command, by, now, past)
        meter = known.get(("meter", command.meter))
        if not isinstance(meter, schema.Meter) or not answer.settled_again:
            return answer
        months = [(meter.facility, month) for month in answer.settled_again]
        return answer.model_copy(update={"foreseen": await foreseen(self._store, book(current), months)})

    async def _unnamed(self, command: Change) -> str:
        """What an exchange without a serial number leaves open; "" where the meter never says one."""
        if not isinstance(command, Exchange) or command.mistaken or command.serial is not None:
            return ""
        last = await self._store.readings({command.meter}, MAX, MAX)
        read = [reading for found in last.values() for reading in found if reading.serial]
        if not read:
            return ""
        serial = max(read, key=lambda reading: reading.at).serial
        return (
            "no --serial was given: the first meter that answers from then on is believed, also a crossed one (the last"
            f" reading is of {serial}); to name the new one, take the exchange back (--mistaken) and enter it with"
            " --serial"
        )

    async def _serial_before(self, known: Known, meter: str) -> str | None:
        """The serial that the meter had before the one that it has; None where an exchange keeps it, or it had none."""
        if any(step.old_serial is not None for step in steps_of(registers_of(known, meter))):
            return None
        history = await self._store.property_history("meter", meter)
        had = [json.loads(row.value).get("serial") for row in history if row.value is not None]
        return next((serial for serial in reversed(had) if serial not in (None, had[-1])), None)

    async def _past(self, command: Command, now: datetime) -> datetime:
        """Until when something may have happened at a meter: a store may have been filled by a clock that is ahead."""
        if not isinstance(command, AddReading | VoidReading | VoidSpan | Exchange):
            return now
        last = await self._store.readings({command.meter}, MAX, MAX)
        return max([now, *(reading.at for found in last.values() for reading in found)])


def by_name(entities: Iterable[schema.Entity]) -> Known:
    """The entries by kind and id."""
    return {(one.table, one.id): one for one in entities}


def prepare(
    current: Sequence[schema.Entity],
    command: Change,
    past: datetime,
    seal: Seal,
    closed: Sequence[ClosedMonth] = (),
) -> Plan | tuple[Problem, ...]:
    """What the command would change, or everything that speaks against it. What happens later than `past` has not.

    `closed`: the months whose charges are made.
    """
    known = by_name(current)
    edit = _edit(known, command, past)
    kept = [_kept(known, one, seal) for one in edit.told]
    edit_problems = (*edit.problems, *(one for one in kept if isinstance(one, Problem)))
    entities = [one for one in kept if not isinstance(one, Problem)]
    lost = {(one.kind, one.id) for one in edit_problems}
    planned = plan(current, entities, {*edit.refused, *lost} if isinstance(command, Import) else (), edit.ended)
    if edit_problems and not isinstance(command, Import):
        return edit_problems  # what is wrong with the whole would only repeat it
    problems = (*edit_problems, *planned.problems, *fixed(planned.changes, closed))
    if problems or edit.refused:  # of a book with gaps nobody can say what it touches
        return problems or planned
    return replace(touching(planned, closed), said=edit.said)


def _edit(known: Known, command: Change, past: datetime) -> Edit:
    match command:
        case Move():
            return moved(known, command)
        case Share():
            return shared(known, command)
        case Exchange():
            return taken_back(known, command, past) if command.mistaken else exchanged(known, command, past)
    return _edit_entry(known, command)


def _edit_entry(known: Known, command: Import | Add | Set | End) -> Edit:
    match command:
        case Import():
            return taken_over(known, command)
        case Add():
            return added(known, command)
        case Set():
            return changed(known, command)
        case End():
            return ended(known, command)


def _kept(known: Known, told: schema.Entity, seal: Seal) -> schema.Entity | Problem:
    """The entry as it is kept, with what is known of it and no command says."""
    match told:
        case schema.Badge():
            return _sealed(known, told, seal)
        case schema.Rate():
            return numbered(known, told)
    return remembering(known, told)


def _sealed(known: Known, told: schema.Badge, seal: Seal) -> schema.Entity | Problem:
    """A badge without its identifier; one that is known keeps what was made of it."""
    if told.digest is not None:
        return told
    if told.identifier is not None:
        return told.sealed(seal(told.identifier))
    before = known.get(("badge", told.id))
    if isinstance(before, schema.Badge) and before.digest is not None:
        return told.sealed(before.digest)
    text = 'is missing; write e.g. identifier = "04A1B2C3"'
    return Problem(code="refused", kind="badge", id=told.id, text=text, field="identifier")


async def told_ahead(store: ForeseeStore, planned: Plan) -> Answer:
    """The plan as it is answered, not yet applied, with what becomes of the closed months that it touches."""
    months = [(mark.facility, mark.month) for mark in planned.marks]
    return told(planned).model_copy(update={"foreseen": await foreseen(store, planned.book, months)})


def told(planned: Plan) -> Answer:
    """The plan as it is answered, not yet applied."""
    changes = (
        ChangeTold(
            kind=change.kind,
            id=change.id,
            before=None if change.before is None else change.before.given(),
            after=None if change.after is None else change.after.given(),
        )
        for change in planned.changes
    )
    return Answer(
        ok=True,
        changes=tuple(changes),
        unchanged=planned.unchanged,
        settled_again=labels(planned.marks),
        said=planned.said,
    )


def refused(problems: Iterable[Problem]) -> Answer:
    """Nothing was done, for these reasons."""
    found = (ProblemTold(kind=one.kind, id=one.id, field=one.field, text=one.text) for one in problems)
    return Answer(ok=False, problems=tuple(found))
