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
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.access import TAPS_PER_S, Allowance, Presence, authorize
from gateway.core.event import Alarm
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
    Session,
    State,
    Switch,
    Switched,
    Tapped,
    restored,
    step,
)
from gateway.ports.field import FieldError
from gateway.service.access_end import Endings
from gateway.service.access_machine import MeteredMachine
from gateway.service.access_site import Site, Wiring, enrolled, limits_of, site_of
from gateway.service.enrol import WINDOW_S, EnrolError, Window
from gateway.service.property import book_of
from gateway.service.sessions import kept, over, reopened, waits

if TYPE_CHECKING:
    from gateway.core.access import Badge
    from gateway.core.book import Book
    from gateway.service.access_parts import Parts
    from gateway.service.enrol import Say

LOOKS = 8
"""at least, while something is waited for"""
AN_HOUR_S = 3600.0
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
TAP_STORM = "tap_storm"
CALM_S = 60.0
"""without a tap too many, after which a storm is over"""
_ALARMS = {
    "relay_mismatch": "the relay does not let go: the machine runs without a permit; check its wiring and its contacts",
    "relay_unconfirmed": "the relay did not follow: nobody can start the machine; check its wiring and its power",
    "meter_lost": "the machine's meter does not answer: nobody can start the machine until it does",
    "unattributed_use": "the machine runs without a session: the owner pays; check that it runs with a permit only",
    "run_too_long": "the machine has run for four hours in one session: look whether it has ended",
}

_log = logging.getLogger(__name__)


class AccessPoint:
    """The worker of one access point."""

    def __init__(self, wiring: Wiring, parts: Parts) -> None:
        self._wiring = wiring
        self._parts = parts
        self._book: Book | None = None
        self._site: Site | None = None
        self._badges: list[Badge] = []
        self._digests: set[str] = set()
        self._machine = Machine(limits=limits_of(wiring, None))
        self._device = MeteredMachine(wiring, parts)
        self._endings = Endings(parts)
        self._window: Window | None = None
        self._reader_down = ""
        """why, while it is"""
        self._presence = Presence()
        self._allowances = {True: Allowance(), False: Allowance()}
        """of badges that are known, and of all others: strangers' badges cost nobody a tap"""
        self._last_dropped: float | None = None
        """in seconds of the monotonic clock; None while there is no storm"""
        self.dropped = 0
        """taps beyond the allowance, since the start"""
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

    async def enrol(self, say: Say) -> str:
        """The digest of a badge that is held to the reader twice within a minute; EnrolError where none is."""
        if self._window is not None:
            message = "another badge is being enrolled there: wait a minute"
            raise EnrolError(message)
        self._window = Window(self._known_as, self._parts.seal, say)
        if self._reader_down:
            self._window.lost(self._reader_down)
        else:
            say(f"hold the badge to the reader of {self.name} now; it has {WINDOW_S:g} s")
        try:
            return await self._window.digest()
        finally:
            self._window = None

    def _known_as(self, digest: str) -> str | None:
        """The badge that has the digest and has not ended."""
        now = self._parts.clock.now()
        same = (badge.id for badge in self._badges if badge.digest == digest and now < badge.period.until)
        return next(same, None)

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
        self._digests = {badge.digest for badge in self._badges}
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
        for code in (*_ALARMS, READER_DOWN, BADGE_COLLISION, TAP_STORM):
            await self._end_alarm(code)
        self._todo.clear()
        self._machine = Machine(limits=limits_of(self._wiring, self._site))
        known = await self._parts.store.open_sessions()
        own = [record for record in known if record.access_point == self._wiring.access_point]
        self._endings.restore([record for record in own if waits(record)])
        for record in own:
            if not waits(record):
                state, session, self._device.identity = reopened(record)
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
            if self._book is not None:
                await self._endings.catch_up(self._book)
            await self._end_storm()
            self._awake.clear()
            if self._stale or self._todo:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._awake.wait()
            if not self._awake.is_set():
                self._tell(await self._device.sample(self._site))

    def _pause(self) -> float:
        """Often enough to see the end of what is waited for."""
        state, limits = self._machine.state, self._machine.limits
        waits = {State.ARMED: limits.window_s, State.RUNNING: limits.quiet_s, State.QUIET: limits.quiet_s}
        return min(SAMPLES_S[state], waits.get(state, AN_HOUR_S) / LOOKS)

    async def _serve_reader(self) -> None:
        while True:
            try:
                if self._reader_down:  # its lamp shows red once: it is there again
                    await self._parts.reader.show(accepted=False)
                    await self._end_alarm(READER_DOWN)
                    self._reader_down = ""
                await self._reported(await self._parts.reader.report())
            except FieldError as error:
                await self._lost_reader(str(error))
                await asyncio.sleep(READER_AGAIN_S)

    async def _reported(self, identifier: str) -> None:
        """A badge is held to the reader. One tap too many is as if it had not been, also for the badge before it."""
        now = self._parts.clock.monotonic()
        presence, new = self._presence.seen(identifier, now)
        tapped = self._parts.seal(identifier) if new else ""
        if new and not self._allows(tapped, now):
            await self._drop(now)
            return
        self._presence = presence
        if new and self._window is not None:
            await self._parts.reader.show(accepted=self._window.heard(identifier))
        elif new:
            await self._tapped(tapped)

    def _allows(self, tapped: str, now: float) -> bool:
        known = tapped in self._digests
        self._allowances[known], allowed = self._allowances[known].spent(now)
        return allowed

    async def _drop(self, now: float) -> None:
        self.dropped += 1
        news, self._last_dropped = self._last_dropped is None, now
        if news:
            text = (
                f"the reader of {self.name} reports more than {TAPS_PER_S} badges a second; what is beyond is dropped:"
                " look whether it is disturbed or tampered with"
            )
            _log.warning("%s", text)
            await self._alarm(TAP_STORM, text)

    async def _end_storm(self) -> None:
        last = self._last_dropped
        if last is not None and self._parts.clock.monotonic() - last > CALM_S:
            self._last_dropped = None
            await self._end_alarm(TAP_STORM)

    async def _lost_reader(self, reason: str) -> None:
        news, self._reader_down = not self._reader_down, reason
        if self._window is not None:
            self._window.lost(reason)
        if news:
            await self._alarm(READER_DOWN, reason)

    async def _tapped(self, tapped: str) -> None:
        now, wiring = self._parts.moment(), self._wiring
        elsewhere = {badge for point, badge in self._parts.busy.items() if point != wiring.access_point}
        decision = authorize(self._badges, tapped, wiring.access_point, now.at, elsewhere)
        result, badge = decision.result, decision.badge
        if result == "Accepted" and self._site is None:
            result = "Invalid"
        offer = None
        if result == "Accepted" and badge is not None:
            name = f"s-{secrets.token_hex(8)}"
            offer = Session(id=name, badge=badge.id, user=badge.user, point=badge.point, started=now)
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
                self._tell(Switched(on=command.on, confirmed=await self._device.switched(on=command.on)))
            case Read():
                self._tell(await self._device.sample(self._site))
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
            await self._device.keep_reading(command.session.start)
        await self._parts.store.keep_session(kept(site, self._device.identity, command.state, command.session))

    async def _close(self, session: Session) -> None:
        site, book = self._site, self._book
        if site is None or book is None:
            return
        await self._device.keep_reading(session.end)
        ended = self._parts.moment() if session.end is None else session.end.seen
        await self._endings.end(book, over(site, self._device.identity, session, ended))

    async def _alarm(self, code: str, text: str) -> None:
        now, source = self._parts.clock.now(), self._wiring.access_point
        await self._parts.alarms.raise_alarm(Alarm(code=code, source=source, severity="error", since=now, text=text))

    async def _end_alarm(self, code: str) -> None:
        await self._parts.alarms.end_alarm(code, self._wiring.access_point, self._parts.clock.now())
