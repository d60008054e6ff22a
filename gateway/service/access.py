"""One access point: its badge reader, the machine behind it, and the sessions that taps begin.

A tap is decided in memory and answered at once; what follows from it is done in order, one command after the
other, and every state is durable before the relay moves. The reader and the machine have a task each: a slow meter
delays no answer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gateway.core.access import Presence, authorize
from gateway.core.charge import Terms, charge_session, compare
from gateway.core.event import Alarm
from gateway.core.period import local_date, month
from gateway.core.session import (
    Answer,
    Close,
    Command,
    End,
    Event,
    Keep,
    Machine,
    Raise,
    Read,
    Sampled,
    Session,
    State,
    Switch,
    Switched,
    Tapped,
    restored,
    step,
)
from gateway.core.track import Index
from gateway.core.units import UnitError, convert
from gateway.ports.clock import Clock
from gateway.ports.field import FieldError
from gateway.service.access_site import Site, Wiring, enrolled, limits_of, site_of
from gateway.service.poll import AlarmSink, Poll, ReadingStore, polled
from gateway.service.property import book_of
from gateway.service.sessions import Identity, chargeable, kept, reopened, told
from gateway.service.settle import new_charge

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence
    from datetime import datetime

    from gateway.core.access import Badge
    from gateway.core.book import Book
    from gateway.ports.field import Answer as MeterAnswer
    from gateway.ports.field import BadgeReader, MeterBus
    from gateway.ports.field import Machine as Permit
    from gateway.service.records import NewCharge, PropertyRow, SessionRecord

LOOKS = 8
"""at least, while something is waited for"""
AN_HOUR_S = 3600.0
TRIES = 3
PAUSE_S = 0.5
"""between tries of the relay: three in two seconds"""
READER_AGAIN_S = 1.0
SAMPLES_S = {
    State.IDLE: 30.0,
    State.AUTHORISING: 0.25,
    State.ARMED: 2.0,
    State.RUNNING: 5.0,
    State.QUIET: 5.0,
    State.INTERRUPTED: 5.0,
    State.CLOSING: 1.0,
}
"""how often meter and relay are looked at"""
MACHINE_UNKNOWN = "machine_unknown"
BADGE_COLLISION = "badge_collision"
READER_DOWN = "reader_down"
SESSION_UNBILLED = "session_unbilled"
_ALARMS = {
    "relay_mismatch": "the relay does not let go: the machine runs without a permit; check its wiring and its contacts",
    "relay_unconfirmed": "the relay did not follow: nobody can start the machine; check its wiring and its power",
    "meter_lost": "the machine's meter does not answer: nobody can start the machine until it does",
    "unattributed_use": "the machine runs without a session: the owner pays; check that it runs with a permit only",
    "run_too_long": "the machine has run for four hours in one session: look whether it has ended",
}

_log = logging.getLogger(__name__)


class SessionStore(Protocol):
    """What access points need of the store. All of it is as urgent as a tap."""

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """The property data as known at the instant; None: now."""

    async def open_sessions(self) -> Sequence[SessionRecord]:
        """The sessions that have not ended, the oldest first."""

    async def keep_session(self, session: SessionRecord) -> None:
        """Keep a session as it is now, new or known; return once that is durable."""

    async def end_session(
        self, session: SessionRecord, subject: str, data: str, charges: Sequence[NewCharge], at: datetime
    ) -> None:
        """Keep the ended session, its event (stream sessions) and its charges with their events in one transaction.

        A session that has ended already changes nothing.
        """


class AccessClock(Clock, Protocol):
    """The clock of the day, beside the monotonic one."""

    def trusted(self) -> bool:
        """Whether the wall clock is known to be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What it is joined to."""

    reader: BadgeReader
    permit: Permit
    bus: MeterBus
    """with the machine's meter"""
    store: SessionStore
    readings: ReadingStore
    alarms: AlarmSink
    clock: AccessClock
    seal: Callable[[str], str]
    """the digest of an identifier"""
    busy: MutableMapping[str, str]
    """access point -> badge with a session there; shared by all access points"""
    gateway: str
    boot: str
    beat: Callable[[], None]


class AccessPoint:
    """The worker of one access point."""

    def __init__(self, wiring: Wiring, parts: Parts) -> None:
        self._wiring = wiring
        self._parts = parts
        self._book: Book | None = None
        self._site: Site | None = None
        self._badges: list[Badge] = []
        self._machine = Machine(limits=limits_of(wiring, None))
        self._identity = Identity()
        self._poll: Poll | None = None
        self._todo: deque[Command] = deque()
        self._awake = asyncio.Event()
        self._stale = True

    @property
    def name(self) -> str:
        """Of the access point."""
        return self._wiring.access_point

    def refresh(self) -> None:
        """The property data has changed: look again before anything else."""
        self._stale = True
        self._awake.set()

    async def run(self) -> None:
        """Serve taps and the machine until cancelled. Begun again, it goes on with the session that is kept."""
        await self._load()
        await self._restore()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve_machine())
            tasks.create_task(self._serve_reader())

    async def _load(self) -> None:
        self._stale = False
        book = book_of(await self._parts.store.property_rows(None))
        self._book = book
        self._site = site_of(self._wiring, book)
        self._badges = [enrolled(book, badge) for badge in book.badges.values()]
        if self._site is None:
            text = (
                f"{self._wiring.machine}: import a [[register]] of meter {self._wiring.meter} with key "
                f"{self._wiring.register!r} in kWh, Wh or MWh, and the [[point]] {self._wiring.place!r}"
            )
            await self._alarm(MACHINE_UNKNOWN, text)
        else:
            await self._end_alarm(MACHINE_UNKNOWN)
            if self._machine.state is State.IDLE:
                self._machine = replace(self._machine, limits=limits_of(self._wiring, self._site))

    async def _restore(self) -> None:
        """Go on with the session that was kept last; end what an earlier run left open."""
        for code in (*_ALARMS, READER_DOWN, BADGE_COLLISION):
            await self._end_alarm(code)
        self._todo.clear()
        self._machine = Machine(limits=limits_of(self._wiring, self._site))
        for record in await self._parts.store.open_sessions():
            if record.access_point == self._wiring.access_point:
                state, session, self._identity = reopened(record)
                _log.warning("%s: session %s goes on (%s)", self._wiring.access_point, session.id, state.value)
                limits, now = self._machine.limits, self._parts.clock.monotonic()
                self._machine, commands = restored(limits, state, session, now)
                self._todo.extend(commands)
        self._mark_busy()

    async def _serve_machine(self) -> None:
        while True:
            self._parts.beat()
            if self._stale:
                await self._load()
            while self._todo:
                await self._carry_out(self._todo.popleft())
            self._awake.clear()
            if self._stale or self._todo:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._awake.wait()
            if not self._awake.is_set():
                self._tell(await self._sample())

    def _pause(self) -> float:
        """Often enough to see the end of what is waited for."""
        state, limits = self._machine.state, self._machine.limits
        waits = {State.ARMED: limits.window_s, State.RUNNING: limits.quiet_s, State.QUIET: limits.quiet_s}
        return min(SAMPLES_S[state], waits.get(state, AN_HOUR_S) / LOOKS)

    async def _serve_reader(self) -> None:
        presence, down = Presence(), False
        while True:
            try:
                if down:  # its lamp shows red once: it is there again
                    await self._parts.reader.show(accepted=False)
                    await self._end_alarm(READER_DOWN)
                    down = False
                identifier = await self._parts.reader.report()
                presence, new = presence.seen(identifier, self._parts.clock.monotonic())
                if new:
                    await self._tapped(self._parts.seal(identifier))
            except FieldError as error:
                if not down:
                    await self._alarm(READER_DOWN, str(error))
                down = True
                await asyncio.sleep(READER_AGAIN_S)

    async def _tapped(self, tapped: str) -> None:
        now, wiring = self._parts.clock.now(), self._wiring
        elsewhere = {badge for point, badge in self._parts.busy.items() if point != wiring.access_point}
        decision = authorize(self._badges, tapped, wiring.access_point, now, elsewhere)
        result, badge = decision.result, decision.badge
        if result == "Accepted" and self._site is None:
            result = "Invalid"
        offer = None
        if result == "Accepted" and badge is not None:
            name = f"s-{secrets.token_hex(8)}"
            offer = Session(id=name, badge=badge.id, user=badge.user, point=badge.point, started_at=now)
        answer, *rest = self._stepped(Tapped(result=result, badge=badge.id if badge else "", offer=offer))
        self._todo.extend(rest)
        await self._carry_out(answer)
        _log.info("%s: %s: %s", wiring.access_point, badge.id if badge else "a badge that is not known", answer)
        if decision.ambiguous:
            text = f"badges {', '.join(decision.ambiguous)} cannot be told apart here: end all but one of them"
            await self._alarm(BADGE_COLLISION, text)

    def _tell(self, event: Event) -> None:
        """Let the machine step; what is to be done is done by its task."""
        self._todo.extend(self._stepped(event))

    def _stepped(self, event: Event) -> tuple[Command, ...]:
        self._machine, commands = step(self._machine, event, self._parts.clock.monotonic())
        self._mark_busy()
        self._awake.set()
        return commands

    def _mark_busy(self) -> None:
        session = self._machine.session
        if session is None:
            self._parts.busy.pop(self._wiring.access_point, None)
        else:
            self._parts.busy[self._wiring.access_point] = session.badge

    async def _carry_out(self, command: Command) -> None:
        match command:
            case Answer():
                await self._show(command)
            case Keep():
                await self._keep(command)
            case Switch():
                self._tell(Switched(on=command.on, confirmed=await self._switched(on=command.on)))
            case Read():
                self._tell(await self._sample())
            case Close():
                await self._close(command.session)
            case Raise():
                await self._alarm(command.code, f"{self._wiring.machine}: {_ALARMS[command.code]}")
            case End():
                await self._end_alarm(command.code)

    async def _show(self, answer: Answer) -> None:
        with suppress(FieldError):  # the reader's own task tells that it is gone
            await self._parts.reader.show(accepted=answer.result == "Accepted")

    async def _keep(self, command: Keep) -> None:
        site = self._site
        if site is None:  # the property data lost the machine in the middle of a session
            return
        if command.state is State.ARMED:
            await self._keep_reading(command.session.start)
        await self._parts.store.keep_session(kept(site, self._identity, command.state, command.session, None))

    async def _switched(self, *, on: bool) -> bool:
        """Whether the relay is where it was told to be: up to three tries."""
        for number in range(TRIES):
            if number:
                await asyncio.sleep(PAUSE_S)
            try:
                await self._parts.permit.switch(on=on)
                if await self._parts.permit.is_on() == on:
                    return True
            except FieldError as error:
                _log.warning("%s: %s", self._wiring.machine, error)
        return False

    async def _sample(self) -> Sampled:
        """What meter and relay show."""
        index: Index | None = None
        on: bool | None = None
        try:
            index = self._read(await self._parts.bus.read(self._wiring.meter))
        except (FieldError, UnitError) as error:
            _log.debug("%s: %s", self._wiring.machine, error)
        try:
            on = await self._parts.permit.is_on()
        except FieldError as error:
            _log.debug("%s: %s", self._wiring.machine, error)
        return Sampled(index=index, on=on)

    def _read(self, answer: MeterAnswer) -> Index | None:
        """The index of the machine's register; the whole answer is remembered, it may be kept."""
        at, trusted = self._parts.clock.now(), self._parts.clock.trusted()
        self._poll = polled(answer, at, self._parts.boot, trusted=trusted)
        value = next((one for one in answer.values if one.register == self._wiring.register), None)
        if value is None or self._site is None:
            return None
        self._identity = Identity(serial=answer.serial, obis=value.obis)
        register = self._site.register
        index = convert(value.index, value.unit, register.unit)
        return Index(value=index, at=at, quality="measured", clock_trusted=trusted)

    async def _keep_reading(self, index: Index | None) -> None:
        """Keep the answer that a session begins or ends with, so that the register's course passes through it."""
        if index is not None and self._poll is not None and self._poll.at == index.at:
            await self._parts.readings.keep([self._poll])

    async def _close(self, session: Session) -> None:
        site, book = self._site, self._book
        if site is None or book is None:
            return
        await self._keep_reading(session.end)
        now = self._parts.clock.now()
        at = now if session.end is None else session.end.at
        record = kept(site, self._identity, State.CLOSING, session, at)
        charges = await self._charges(book, site, record, used=session.ran)
        subject = f"sessions/{session.point}"
        await self._parts.store.end_session(record, subject, told(site, session, at), charges, now)
        count, used = len(charges), "used" if session.ran else "not used"
        name = self._wiring.access_point
        _log.info("%s: session %s ended: %s, %s, %d charges", name, session.id, session.stop, used, count)

    async def _charges(self, book: Book, site: Site, record: SessionRecord, *, used: bool) -> list[NewCharge]:
        """What the session costs now; what has no price yet is charged when its month is settled."""
        sessions = chargeable([record])
        if not sessions:
            if used:
                text = f"session {record.id} was counted before the clock was set: see its event and bill it by hand"
                await self._alarm(SESSION_UNBILLED, text)
            return []
        zone = book.facilities[site.facility].time_zone
        day = local_date(sessions[0].ended_at, zone)
        terms = Terms(
            gateway=self._parts.gateway, facility=site.facility, period=month(day, zone), closing=f"{day:%Y-%m}"
        )
        found, holds = await asyncio.to_thread(partial(charge_session, book, terms, sessions[0]))
        for hold in holds:
            now = self._parts.clock.now()
            alarm = Alarm(code=hold.code, source=hold.register, severity="error", since=now, text=hold.text)
            await self._parts.alarms.raise_alarm(alarm)
        return [new_charge(charge) for charge in compare(found, [])]

    async def _alarm(self, code: str, text: str) -> None:
        now, source = self._parts.clock.now(), self._wiring.access_point
        await self._parts.alarms.raise_alarm(Alarm(code=code, source=source, severity="error", since=now, text=text))

    async def _end_alarm(self, code: str) -> None:
        await self._parts.alarms.end_alarm(code, self._wiring.access_point, self._parts.clock.now())
