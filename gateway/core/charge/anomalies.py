"""What a person is told of readings that are not believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.period import rfc3339

if TYPE_CHECKING:
    from gateway.core.metering import Register, Stranger

IDENTITY = "identity_changed"
_STRANGER = "correct its serial or the address, record the exchange, or void the readings of the stranger"
_ANOMALIES = {
    "conflicting_reading": "two different values for one instant: void the wrong one",
    "index_decrease": "the index fell and that was no rollover: void the wrong reading or record the exchange",
    "index_jump": "the index rose by more than the largest possible flow: void the reading or correct {limit}",
    IDENTITY: "another serial number answered: record the exchange, or void the readings of the stranger",
}


def anomaly(register: Register, code: str, stranger: Stranger | None = None) -> str:
    """What is wrong with a reading that has this fault, and what to do. `stranger`: who answers since earlier."""
    if code == IDENTITY and stranger is not None:
        seen = f"meter {stranger.serial} answers since {rfc3339(stranger.since)} where {stranger.known} did"
        enter = f"record the exchange (submeter exchange {register.meter})"
        void = f"void the readings of the one that is wrong (submeter reading void {register.meter})"
        return f"{seen}: {enter}, or {void}; nothing is billed from then on until that is done"
    if code == IDENTITY and register.serial and not register.exchanges:
        return f"another meter than {register.serial} of the property data answered: {_STRANGER}"
    return _ANOMALIES[code].format(limit=register.limit)
