"""Which months are settled: those whose grace is over, and those that a late fact has touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gateway.core.period import Period, local_date, month, months
from gateway.service.property import book_of
from gateway.service.records import ClosedMonth, DirtyMonth, PropertyRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from gateway.core.book import Book
    from gateway.core.building import Facility

LATE = "late_reading"


class DueStore(Protocol):
    """What is asked of the store, and kept in it, before anything is settled."""

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """The property data as known at the instant; None: now."""

    async def first_reading(self) -> datetime | None:
        """The instant of the oldest reading."""

    async def dirty(self) -> Sequence[DirtyMonth]:
        """The months to be settled again."""

    async def mark_dirty(self, marked: Sequence[DirtyMonth]) -> None:
        """Ask for months to be settled again."""

    async def closed_months(self, facility: str | None = None) -> Sequence[ClosedMonth]:
        """The closed months."""

    async def close_month(self, facility: str, month: str, at: datetime, settled: Sequence[DirtyMonth] = ()) -> None:
        """The month is settled; the marks in `settled` are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A billing month of a facility."""

    facility: Facility
    label: str
    """ "2026-10" """
    period: Period

    @classmethod
    def of(cls, facility: Facility, day: date) -> Month:
        """The month that the day lies in."""
        return cls(facility=facility, label=f"{day:%Y-%m}", period=month(day, facility.time_zone))

    @property
    def due(self) -> datetime:
        """When it is closed."""
        return self.period.until + self.facility.grace


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """What is to be done, and from which facts."""

    book: Book
    due: tuple[Month, ...]
    """to be settled; of each facility the oldest first"""
    coming: tuple[Month, ...]
    """those that are not due yet"""
    marks: tuple[DirtyMonth, ...]
    """what settling takes into account; a mark that is not among them came later, and stays"""


async def agenda(store: DueStore, now: datetime) -> Agenda:
    """What is due. No command may be half done meanwhile, as those mark the months that they have found closed.

    A month is closed before anything of it is looked up: whatever comes from here on marks it, be it a reading or a
    change, and it is settled again. Until it is settled it is marked itself, also where the process ends half-way.
    """
    book = book_of(await store.property_rows(None))
    started = await store.first_reading()
    due: list[Month] = []
    coming: list[Month] = []
    first: list[Month] = []
    for facility in book.facilities.values():
        closed = {one.month for one in await store.closed_months(facility.id)}
        dirty = {one.month for one in await store.dirty() if one.facility == facility.id}
        begun = _begun(facility, started, now)
        due += [one for one in begun if one.due <= now and (one.label not in closed or one.label in dirty)]
        first += [one for one in begun if one.due <= now and one.label not in closed]
        coming += [one for one in begun if one.due > now]
    await _close(store, first, now)
    return Agenda(book=book, due=tuple(due), coming=tuple(coming), marks=tuple(await store.dirty()))


def _begun(facility: Facility, started: datetime | None, now: datetime) -> list[Month]:
    """The months from the first reading to the present one, oldest first."""
    if started is None or started > now:
        return []
    zone = facility.time_zone
    return [Month.of(facility, day) for day in months(local_date(started, zone), local_date(now, zone))]


async def _close(store: DueStore, first: Sequence[Month], now: datetime) -> None:
    if first:
        await store.mark_dirty([DirtyMonth(facility=one.facility.id, month=one.label, reason=LATE) for one in first])
    for one in first:
        await store.close_month(one.facility.id, one.label, now)
