"""Charges: what should be charged, what to publish next, and the published form."""

from gateway.core.charge.body import body, charge_id, parse
from gateway.core.charge.comparing import compare, seams, undecided
from gateway.core.charge.line import REMAINDER, Allocation, Charge, SessionRef, Terms
from gateway.core.charge.sessions import EndedSession, charge_session
from gateway.core.charge.settling import Settlement, settle

__all__ = [
    "REMAINDER",
    "Allocation",
    "Charge",
    "EndedSession",
    "SessionRef",
    "Settlement",
    "Terms",
    "body",
    "charge_id",
    "charge_session",
    "compare",
    "parse",
    "seams",
    "settle",
    "undecided",
]
