"""Charges: what should be charged, what to publish next, and the published form."""

from gateway.core.charge.body import body, charge_id, parse
from gateway.core.charge.comparing import compare, seams
from gateway.core.charge.line import REMAINDER, Allocation, Charge
from gateway.core.charge.settling import Settlement, Terms, settle

__all__ = [
    "REMAINDER",
    "Allocation",
    "Charge",
    "Settlement",
    "Terms",
    "body",
    "charge_id",
    "compare",
    "parse",
    "seams",
    "settle",
]
