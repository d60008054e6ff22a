"""Readings that a person adds or voids, with the reason. Nothing is edited: both are kept beside what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from gateway.core.metering import Reading
    from gateway.service.records import Correction, DirtyMonth


class CorrectionStore(Protocol):
    """What correcting readings needs of the store."""

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime
    ) -> Mapping[tuple[str, str], Sequence[Reading]]:
        """(meter, register key) -> its readings in [start, until], the last before and the first after."""

    async def add_reading(
        self, reading: Reading, reason: str, by: str, at: datetime, dirty: Sequence[DirtyMonth]
    ) -> bool:
        """Keep a reading of origin "manual", its correction row, its event and the marks in one transaction.

        False, and nothing kept, where the same value of this register and instant is known and not voided. An
        instant whose readings are voided takes a new one without a conflict.
        """

    async def void_readings(
        self,
        meter: str,
        register: str,
        instant: datetime,
        reason: str,
        by: str,
        at: datetime,
        dirty: Sequence[DirtyMonth],
    ) -> Sequence[Reading]:
        """Leave every value of this register and instant out of `readings` for good, also where it comes again.

        What was voided; empty, and nothing kept, where no value was known. The rows themselves stay.
        """

    async def corrections(self) -> Sequence[Correction]:
        """Every added and voided reading, in the order in which they were recorded."""
