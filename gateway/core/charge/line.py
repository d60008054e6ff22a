"""A charge and its evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gateway.core.canonical import canonical, content_id

if TYPE_CHECKING:
    from datetime import datetime
    from fractions import Fraction

    from gateway.core.building import Key, Scope
    from gateway.core.metering import Component, EnergySource
    from gateway.core.occupancy import Payer
    from gateway.core.period import Period
    from gateway.core.tariff import AmountIs, Tax
    from gateway.core.track import Segment
    from gateway.core.units import Scaled

REMAINDER = "_remainder"
"""stands for the billing point where a charge belongs to none"""
RULES_VERSION = "1"
Kind = Literal["charge", "reversal", "adjustment"]
Reason = Literal["late_reading", "move", "exchange", "rate", "key", "link", "void", "model", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """For which gateway, facility and billing period is settled, and the name of the closing."""

    gateway: str
    facility: str
    period: Period
    closing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateVersion:
    """Which rate, and which of its prices."""

    id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """How a common register was shared in one piece of constant coefficients."""

    scope: Scope
    key: Key
    numerator: Fraction
    denominator: Fraction
    total: Scaled
    """what the register counted in the piece"""
    quantum: Scaled
    fractions: tuple[Fraction, ...]
    """each line's exact fraction of the total: by point, then time; the remainder last"""
    position: int
    """of this line among them, from 0"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRef:
    """The session that a charge is for."""

    id: str
    badge: str
    start: datetime
    end: datetime
    witness: str
    """what the session rests on: "tap" of a badge at a reader of the gateway"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One line that one payer pays: final once it is published."""

    line_id: str
    """names the group: point, register, component and billing period, or session and component; whoever pays"""
    revision: int = 0
    kind: Kind = "charge"
    replaces: str | None = None
    reason: Reason | None = None
    gateway: str
    facility: str
    building: str | None
    billing_point: str
    register: str
    payer: Payer
    energy_source: EnergySource
    component: Component
    title: str
    period: Period
    time_zone: str
    quantity: Scaled
    unit: str
    unit_price: Scaled
    amount: Scaled
    amount_is: AmountIs
    currency: str
    tax: Tax
    quantum: Scaled
    """of money"""
    rate: RateVersion
    allocation: Allocation | None
    segments: tuple[Segment, ...]
    session: SessionRef | None = None
    rules_version: str = RULES_VERSION
    closing: str

    @property
    def essence(self) -> tuple[object, ...]:
        """What two charges must share to be the same: payer, quantity, price, amount, evidence instants."""
        evidence = tuple(
            (part.meter, part.start.at, part.start.value, part.until.at, part.until.value) for part in self.segments
        )
        tax = (self.tax.category, self.tax.rate, self.amount_is)
        return (self.payer, self.period, self.quantity, self.unit_price, self.amount, self.currency, tax, evidence)


def reversal(charge: Charge, charge_id: str, revision: int, reason: Reason) -> Charge:
    """The exact opposite of a published charge, which stays as it was."""
    return replace(
        charge,
        kind="reversal",
        replaces=charge_id,
        revision=revision,
        reason=reason,
        quantity=-charge.quantity,
        amount=-charge.amount,
    )


def session_line_id(facility: str, session: str, component: Component) -> str:
    """The id of the group of charges of a session."""
    return content_id(canonical([facility, "session", session, component]))


def line_id(facility: str, point: str, register: str, component: Component, billing: Period) -> str:
    """The id of a group of charges."""
    parts = [facility, point, register, component, billing.start.isoformat(), billing.until.isoformat()]
    return content_id(canonical(parts))
