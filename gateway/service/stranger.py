"""Whether a register's readings are another meter's than those before them, and nobody has said what happened.

Where one began to answer in place of another, a month later nothing in the month itself says so: what is kept from
before does. It is billed once the exchange is entered, the number is in property data or the wrong readings are void.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.period import MIN, Period

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.core.metering import Reading, Register, Stranger


class StrangerStore(Protocol):
    """Where it stands who answered."""

    async def stranger(self, meter: str, register: str, answered: Period, serial: str) -> Stranger | None:
        """Who answers for the register (key) with this number, where another meter did first within the period."""


async def stranger_in(store: StrangerStore, register: Register, readings: Sequence[Reading]) -> Stranger | None:
    """Who answers in the first of these readings, in order of time, where the register's meter should."""
    first = next((one for one in readings if _says_who(register, one)), None)
    return None if first is None else await stranger_at(store, register, first.at, first.serial)


async def stranger_at(store: StrangerStore, register: Register, at: datetime, serial: str) -> Stranger | None:
    """Who answered with this number at the instant, where the register's meter should have.

    Whom property data name there is judged by that name.
    """
    if not serial or register.named(at):
        return None
    begun = max((exchange.at for exchange in register.exchanges if exchange.at <= at), default=MIN)
    return await store.stranger(register.meter, register.key, Period(begun, at), serial)


def _says_who(register: Register, reading: Reading) -> bool:
    counts = reading.clock_trusted and reading.origin != "stored"
    return bool(reading.serial) and counts and all(reading.at != exchange.at for exchange in register.exchanges)
