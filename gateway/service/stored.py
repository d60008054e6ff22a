"""What meters kept themselves for a date is placed in time and kept as readings of that date.

A meter without a clock of ours says "31 October, 24:00" by its own: which instant that was follows from the time zone
of its facility. The same value comes with every answer until the next date; it is kept once.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from gateway.core.metering import Reading
from gateway.service.property import book_of
from gateway.service.storing import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.ports.field import StoredValue
    from gateway.service.polled import Poll, ReadingStore
    from gateway.service.records import PropertyRow


class PropertyStore(Protocol):
    """Where property data comes from."""

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """The property data as known at the instant; None: now."""


class Dated:
    """The store of readings, which also keeps the values that meters stored for dates gone by.

    They wait, answer after answer, while the gateway's clock is not trusted or the meter belongs to no facility yet.
    """

    def __init__(self, readings: ReadingStore, store: PropertyStore) -> None:
        self._readings = readings
        self._store = store
        self._kept: dict[str, frozenset[StoredValue]] = {}
        """of each meter's last answer"""

    async def keep(self, polls: Sequence[Poll]) -> None:
        """Keep the polls of one round in one transaction; return once they are durable."""
        zones = await self._zones() if any(self._fresh(poll) for poll in polls) else {}
        dated = [self._dated(poll, zones.get(poll.meter)) for poll in polls]
        await self._readings.keep(dated)
        for poll in polls:
            if poll.meter in zones and self._fresh(poll):
                self._kept[poll.meter] = frozenset(poll.stored)

    def _fresh(self, poll: Poll) -> bool:
        return poll.clock_trusted and not self._kept.get(poll.meter, frozenset()).issuperset(poll.stored)

    async def _zones(self) -> Mapping[str, ZoneInfo]:
        """Meter -> time zone of its facility, for those that have one."""
        try:
            book = book_of(await self._store.property_rows(None))
        except StoreUnavailableError:  # the readings can wait in memory; what the meter keeps comes again
            return {}
        zones = {facility.id: ZoneInfo(facility.time_zone) for facility in book.facilities.values()}
        return {meter.id: zones[meter.facility] for meter in book.meters.values() if meter.facility in zones}

    def _dated(self, poll: Poll, zone: ZoneInfo | None) -> Poll:
        if zone is None or not self._fresh(poll):
            return poll
        return replace(poll, readings=(*poll.readings, *_readings(poll, zone)))


def _readings(poll: Poll, zone: ZoneInfo) -> Iterable[Reading]:
    for value in poll.stored:
        at = instant_of(value, zone)
        if at <= poll.at:  # a date to come has no value yet, whatever stands beside it
            yield Reading(
                meter=poll.meter,
                register=value.register,
                at=at,
                index=value.index,
                unit=value.unit,
                obis=value.obis,
                serial=poll.serial,
                status=poll.status,
                origin="stored",
                clock_trusted=True,
                boot=poll.boot,
            )


def instant_of(value: StoredValue, zone: ZoneInfo) -> datetime:
    """The instant that the meter's clock showed so; one without summer time stays on standard time."""
    local = value.at.replace(tzinfo=zone)
    saved = local.dst()
    instant = local.astimezone(UTC)
    return instant if value.daylight_saving or saved is None else instant + saved
