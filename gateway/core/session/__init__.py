"""A session at a machine: the machine as values, what it does, and when it did it."""

from gateway.core.session.machine import (
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
    Switch,
    Switched,
    Tapped,
)
from gateway.core.session.moment import Moment, in_time, lost
from gateway.core.session.stepping import restored, step

__all__ = [
    "Answer",
    "Close",
    "Command",
    "Count",
    "End",
    "Event",
    "Keep",
    "Limits",
    "Machine",
    "Moment",
    "Raise",
    "Read",
    "Sampled",
    "Session",
    "State",
    "Switch",
    "Switched",
    "Tapped",
    "in_time",
    "lost",
    "restored",
    "step",
]
