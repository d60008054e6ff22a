"""An answer of a meter as it is kept: with the readings that it gave, or unread until its key is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gateway.core.metering import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.ports.field import Answer, NoValue, StoredValue, UnreadableAnswerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One answer of one meter, to be kept with the readings that it gave."""

    meter: str
    at: datetime
    """when the answer was complete"""
    serial: str
    status: int
    clock_trusted: bool
    boot: str
    readings: tuple[Reading, ...]
    raw: bytes
    stored: tuple[StoredValue, ...] = ()
    """what the meter kept for dates gone by, not yet placed in time"""
    without: tuple[NoValue, ...] = ()
    """registers that the meter has said to have no value"""


class ReadingStore(Protocol):
    """Where readings are kept."""

    async def keep(self, polls: Sequence[Poll]) -> object:
        """Keep the polls of one round in one transaction; return once they are durable."""


def polled(answer: Answer, at: datetime, boot: str, *, trusted: bool) -> Poll:
    """An answer that was complete at this instant, with its readings."""
    readings = tuple(
        Reading(
            meter=answer.meter,
            register=value.register,
            at=at,
            index=value.index,
            unit=value.unit,
            obis=value.obis,
            serial=answer.serial,
            status=answer.status,
            clock_trusted=trusted,
            boot=boot,
            modulus=value.modulus,
        )
        for value in answer.values
    )
    return Poll(
        meter=answer.meter,
        at=at,
        serial=answer.serial,
        status=answer.status,
        clock_trusted=trusted,
        boot=boot,
        readings=readings,
        raw=answer.raw,
        stored=answer.stored,
        without=answer.without,
    )


def alone(reading: Reading) -> Poll:
    """A reading that is kept by itself, without an answer as it came."""
    return Poll(
        meter=reading.meter,
        at=reading.at,
        serial=reading.serial,
        status=reading.status,
        clock_trusted=reading.clock_trusted,
        boot=reading.boot,
        readings=(reading,),
        raw=b"",
    )


def unread(meter: str, error: UnreadableAnswerError, at: datetime, boot: str, *, trusted: bool) -> Poll:
    """An answer that could not be read yet, without readings."""
    return Poll(
        meter=meter,
        at=at,
        serial=error.serial,
        status=error.status,
        clock_trusted=trusted,
        boot=boot,
        readings=(),
        raw=error.raw,
    )
