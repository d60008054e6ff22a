"""What a person is told of readings that are not believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.metering import Register

_STRANGER = "correct its serial or the address, record the exchange, or void the readings of the stranger"
_ANOMALIES = {
    "conflicting_reading": "two different values for one instant: void the wrong one",
    "index_decrease": "the index fell and that was no rollover: void the wrong reading or record the exchange",
    "index_jump": "the index rose by more than the largest possible flow: void the reading or correct {limit}",
    "identity_changed": "another serial number answered: record the exchange, or void the readings of the stranger",
}


def anomaly(register: Register, code: str) -> str:
    """What is wrong with a reading that has this fault, and what to do."""
    if code == "identity_changed" and register.serial:
        return f"another meter than {register.serial} of the property data answered: {_STRANGER}"
    return _ANOMALIES[code].format(limit=register.limit)
