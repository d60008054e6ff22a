"""A machine with a permit as values: where it is, whose session it has, what happens to it, what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gateway.core.session.moment import Moment
    from gateway.core.units import Scaled

StopReason = Literal["Local", "TimeLimitReached", "EnergyMeterLost", "RelayNotConfirmed", "PowerLoss"]
"""words of OCPP, but for the relay that does not answer"""
Alarming = Literal["relay_mismatch", "relay_unconfirmed", "meter_lost", "unattributed_use", "run_too_long"]


class State(Enum):
    """Where a machine is."""

    IDLE = "idle"
    AUTHORISING = "authorising"
    ARMED = "armed"
    RUNNING = "running"
    QUIET = "quiet"
    INTERRUPTED = "interrupted"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is usual at a machine. Energy is in the unit of its register."""

    window_s: float
    """how long a permit waits for the machine to start"""
    quiet_s: float
    """without use for so long, the machine has ended; machines drop to 0 W in the middle of a cycle"""
    least_run_s: float
    least: Scaled
    """energy below which nothing has started"""
    idle: Scaled
    """energy in an hour up to which a machine is at rest"""
    modulus: Scaled | None = None
    """the register's own; None: as the meter's model says"""
    max_per_day: Scaled | None = None
    """the largest possible flow; without it no decrease is a rollover"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What the machine's register showed."""

    value: Scaled
    seen: Moment
    modulus: Scaled | None = None
    """the index at which the meter's model has the register begin again at 0"""
    serial: str = ""
    """what the meter called itself"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One use of a machine by a badge. Whoever held the badge at the start pays all of it."""

    id: str
    badge: str
    user: str
    point: str
    """billing point of the badge"""
    started: Moment
    """the tap"""
    start: Count | None = None
    end: Count | None = None
    ran: bool = False
    """whether the machine was used: otherwise nothing is charged"""
    stop: StopReason = "Local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The last index that showed use."""

    value: Scaled
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine as the gateway knows it."""

    limits: Limits
    state: State = State.IDLE
    session: Session | None = None
    since: float = 0.0
    """when the state was entered; QUIET goes on with that of RUNNING"""
    use: Use | None = None
    released: bool = False
    """CLOSING: the permit is withdrawn, the last index is awaited"""
    alarms: frozenset[Alarming] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tapped:
    """A badge was held to the reader. `offer` is the session that an accepted tap may begin."""

    result: str
    badge: str
    offer: Session | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What the meter and the relay show; None: no answer."""

    index: Count | None
    on: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A command to the relay was carried out, and read back or not."""

    on: bool
    confirmed: bool


Event = Tapped | Sampled | Switched


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell the person at the reader, in the words of OCPP."""

    result: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Make the session durable in this state."""

    state: State
    session: Session


@dataclass(frozen=True, slots=True)
class Switch:
    """Switch the permit and read it back: three tries in 2 s. Comes back as `Switched`."""

    on: bool


@dataclass(frozen=True, slots=True)
class Read:
    """Look at meter and relay now. Comes back as `Sampled`."""


@dataclass(frozen=True, slots=True)
class Close:
    """The session has ended: keep it, tell it, charge it."""

    session: Session


@dataclass(frozen=True, slots=True)
class Raise:
    """Begin an alarm."""

    code: Alarming


@dataclass(frozen=True, slots=True)
class End:
    """End an alarm."""

    code: Alarming


Command = Answer | Keep | Switch | Read | Close | Raise | End
Stepped = tuple[Machine, tuple[Command, ...]]
