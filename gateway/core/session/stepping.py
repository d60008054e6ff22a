"""What a machine with a permit, an energy meter and a badge reader does: a pure state machine.

`step(machine, event, now)` gives the machine's next state and the commands to carry out, in order; what a command
finds out comes back as an event. `now` is seconds of the monotonic clock: the time of day comes with the events.
Every command to the relay follows a `Keep` of the state that it belongs to, and the machine of a session that runs
is never cut.

    IDLE -> AUTHORISING -> ARMED -> RUNNING <-> QUIET -> CLOSING -> IDLE
                                       `-> INTERRUPTED (the relay fell off: a power cut) -> RUNNING or CLOSING
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gateway.core.metering import counted
from gateway.core.session.machine import (
    Alarming,
    Answer,
    Close,
    Command,
    Count,
    End,
    Event,
    Keep,
    Limits,
    Machine,
    Raise,
    Read,
    Sampled,
    Session,
    State,
    Stepped,
    StopReason,
    Switch,
    Switched,
    Tapped,
    Use,
)
from gateway.core.units import Scaled

AUTHORISING_S = 3.0
GRACE_S = 15 * 60.0
"""in which the user may go on after a power cut"""
RUN_S = 4 * 3600.0
"""a longer run is told; it is not cut"""
LOOK_BACK_S = 3600.0
"""use without a session is told where it is too fast for a machine at rest over at most this time"""
_HOUR_S = 3600


def step(machine: Machine, event: Event, now: float) -> Stepped:
    """The machine after the event, and what is to be done."""
    match event:
        case Tapped():
            return _tapped(machine, event, now)
        case Switched():
            return _switched(machine, event, now)
        case Sampled():
            return _sampled(machine, event, now)


def restored(limits: Limits, state: State, session: Session, now: float) -> Stepped:
    """The machine after a restart of the gateway, with the session that was kept last. The relay is left alone.

    The next sample adopts it, or ends it with what the meter counted.
    """
    machine = Machine(limits=limits, state=state, session=session, since=now)
    if state is State.AUTHORISING:  # no permit was given
        return _closed(machine, replace(session, stop="PowerLoss"), ())
    if state is State.CLOSING:
        return machine, (Switch(on=False),)
    return (replace(machine, state=State.RUNNING), ()) if state is State.QUIET else (machine, ())


def _tapped(machine: Machine, tap: Tapped, now: float) -> Stepped:
    session, accepted = machine.session, tap.result == "Accepted"
    if session is None:
        if not accepted or tap.offer is None:
            return machine, (Answer(tap.result),)
        begun = replace(machine, state=State.AUTHORISING, session=tap.offer, since=now, use=None, released=False)
        return begun, (Answer("Accepted"), Keep(State.AUTHORISING, tap.offer), Read())
    if accepted and tap.badge == session.badge:
        if machine.state is State.ARMED:
            closing, commands = _closing(machine, "Local", now)
            return closing, (Answer("Accepted"), *commands)
        if machine.state is State.INTERRUPTED:
            again = replace(machine, state=State.RUNNING, since=now, use=None)
            return again, (Answer("Accepted"), Keep(State.RUNNING, session), Switch(on=True))
    return machine, (Answer("ConcurrentTx" if accepted else tap.result),)


def _switched(machine: Machine, done: Switched, now: float) -> Stepped:
    told, alarm = _alarm(machine, "relay_unconfirmed" if done.on else "relay_mismatch", wrong=not done.confirmed)
    if done.on and not done.confirmed and told.session is not None and told.state is not State.CLOSING:
        closing, commands = _closing(told, "RelayNotConfirmed", now)
        return closing, (*alarm, Answer("Invalid"), *commands)
    if not done.on and told.state is State.CLOSING:
        return replace(told, released=True), (*alarm, Read())
    return told, alarm


def _sampled(machine: Machine, sample: Sampled, now: float) -> Stepped:
    if machine.session is None:
        return _idle(machine, sample, now)
    told, alarm = _alarm(machine, "meter_lost", wrong=sample.index is None)
    after, commands = _in_session(told, machine.session, sample, now)
    return after, (*alarm, *commands)


def _in_session(machine: Machine, session: Session, sample: Sampled, now: float) -> Stepped:
    match machine.state:
        case State.AUTHORISING:
            return _authorising(machine, session, sample, now)
        case State.ARMED:
            return _armed(machine, session, sample, now)
        case State.INTERRUPTED:
            return _interrupted(machine, session, sample, now)
        case State.CLOSING:
            if sample.index is None or not machine.released:
                return machine, ()
            return _ended(machine, session, sample.index, now)
        case _:
            return _running(machine, session, sample, now)


def _authorising(machine: Machine, session: Session, sample: Sampled, now: float) -> Stepped:
    if sample.index is not None:
        armed = replace(session, start=sample.index)
        use = Use(value=sample.index.value, at=now)
        after = replace(machine, state=State.ARMED, session=armed, since=now, use=use)
        return after, (Keep(State.ARMED, armed), Switch(on=True))
    if now - machine.since < AUTHORISING_S:
        return machine, ()
    return _closed(machine, replace(session, stop="EnergyMeterLost"), (Answer("Invalid"),))


def _armed(machine: Machine, session: Session, sample: Sampled, now: float) -> Stepped:
    if sample.index is not None and _counted(machine.limits, session, sample.index) >= machine.limits.least:
        run = replace(session, ran=True)
        use = Use(value=sample.index.value, at=now)
        after = replace(machine, state=State.RUNNING, session=run, since=now, use=use)
        return after, (Keep(State.RUNNING, run),)
    if sample.on is False:
        return _closing(machine, "PowerLoss", now)
    if now - machine.since >= machine.limits.window_s:
        return _closing(machine, "TimeLimitReached", now)
    return machine, ()


def _running(machine: Machine, session: Session, sample: Sampled, now: float) -> Stepped:
    if sample.on is False:
        return replace(machine, state=State.INTERRUPTED, since=now), (Keep(State.INTERRUPTED, session),)
    told, alarm = _alarm(machine, "run_too_long", wrong=now - machine.since >= RUN_S)
    if sample.index is None:
        return told, alarm
    if told.use is None or _in_use(told, told.use, sample.index, now):
        use = Use(value=sample.index.value, at=now)
        return replace(told, state=State.RUNNING, use=use), alarm
    limits = told.limits
    if now - told.use.at >= limits.quiet_s and now - told.since >= limits.least_run_s:
        closing, commands = _closing(told, "Local", now)
        return closing, (*alarm, *commands)
    return replace(told, state=State.QUIET), alarm


def _interrupted(machine: Machine, session: Session, sample: Sampled, now: float) -> Stepped:
    if sample.on:
        return replace(machine, state=State.RUNNING, since=now, use=None), (Keep(State.RUNNING, session),)
    return _closing(machine, "PowerLoss", now) if now - machine.since >= GRACE_S else (machine, ())


def _idle(machine: Machine, sample: Sampled, now: float) -> Stepped:
    commands: tuple[Command, ...] = ()
    if sample.on is not None:
        machine, commands = _alarm(machine, "relay_mismatch", wrong=sample.on)
        commands = (*commands, Switch(on=False)) if sample.on else commands
    if sample.index is None:
        return machine, commands
    machine, found = _alarm(machine, "meter_lost", wrong=False)
    commands = (*commands, *found)
    use = machine.use
    if use is None or now - use.at >= LOOK_BACK_S:
        use = Use(value=sample.index.value, at=now)
    stolen = _since(machine.limits, use, sample.index, now) >= machine.limits.least
    told, alarm = _alarm(machine, "unattributed_use", wrong=stolen and _in_use(machine, use, sample.index, now))
    if stolen:
        use = Use(value=sample.index.value, at=now)
    return replace(told, use=use), (*commands, *alarm)


def _closing(machine: Machine, stop: StopReason, now: float) -> Stepped:
    """Withdraw the permit; the session ends with the index that is read afterwards."""
    if machine.session is None:
        return machine, ()
    session = replace(machine.session, stop=stop)
    after = replace(machine, state=State.CLOSING, session=session, since=now, released=False)
    return after, (Keep(State.CLOSING, session), Switch(on=False))


def _ended(machine: Machine, session: Session, index: Count, now: float) -> Stepped:
    used = _counted(machine.limits, session, index) >= machine.limits.least and session.stop != "RelayNotConfirmed"
    ended = replace(session, end=index, ran=session.ran or used)
    return _closed(replace(machine, use=Use(value=index.value, at=now)), ended, ())


def _closed(machine: Machine, session: Session, before: tuple[Command, ...]) -> Stepped:
    told, alarm = _alarm(machine, "run_too_long", wrong=False)
    return replace(told, state=State.IDLE, session=None, released=False), (*before, *alarm, Close(session))


def _alarm(machine: Machine, code: Alarming, *, wrong: bool) -> Stepped:
    """Raise or end the alarm where that is news."""
    if wrong == (code in machine.alarms):
        return machine, ()
    return replace(machine, alarms=machine.alarms ^ {code}), ((Raise(code) if wrong else End(code)),)


def _in_use(machine: Machine, use: Use, index: Count, now: float) -> bool:
    """Whether more has flown since `use` than flows into a machine at rest."""
    flown = _since(machine.limits, use, index, now)
    if flown <= Scaled(0, 0):
        return False
    return float(flown.fraction) * _HOUR_S >= float(machine.limits.idle.fraction) * (now - use.at)


def _counted(limits: Limits, session: Session, index: Count) -> Scaled:
    if session.start is None:
        return Scaled(0, 0)
    return _difference(limits, session.start.value, index, index.seen.since(session.start.seen))


def _since(limits: Limits, use: Use, index: Count, now: float) -> Scaled:
    return _difference(limits, use.value, index, timedelta(seconds=now - use.at))


def _difference(limits: Limits, start: Scaled, index: Count, passed: timedelta) -> Scaled:
    modulus = index.modulus if limits.modulus is None else limits.modulus
    return counted(start, index.value, modulus, limits.max_per_day, passed)
