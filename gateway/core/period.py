"""Periods [start, until), cutting at boundaries, and the civil calendar.

Instants are timezone-aware and UTC. A civil date means 00:00 in the facility's time zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIN = datetime(1, 1, 1, tzinfo=UTC)
MAX = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """The instants from `start` (inclusive) to `until` (exclusive). Open ends are `MIN` and `MAX`."""

    start: datetime = MIN
    until: datetime = MAX

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.until

    @property
    def empty(self) -> bool:
        """Whether no instant lies in it."""
        return self.start >= self.until

    @property
    def microseconds(self) -> int:
        """Its length."""
        return (self.until - self.start) // timedelta(microseconds=1)

    def overlap(self, other: Period) -> Period | None:
        """What both have in common, None where that is nothing."""
        common = Period(max(self.start, other.start), min(self.until, other.until))
        return None if common.empty else common

    def cut(self, instants: Iterable[datetime]) -> list[Period]:
        """The pieces, in order, that the given instants divide it into; instants outside change nothing."""
        inside = sorted({instant for instant in instants if self.start < instant < self.until})
        edges = [self.start, *inside, self.until]
        return [Period(start, until) for start, until in pairwise(edges)]


ALWAYS = Period()


def midnight(day: date, zone: str) -> datetime:
    """The instant at which the civil date begins in the time zone, in UTC."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def local_date(instant: datetime, zone: str) -> date:
    """The civil date of the instant in the time zone."""
    return instant.astimezone(ZoneInfo(zone)).date()


def month(day: date, zone: str) -> Period:
    """The calendar month that the day lies in."""
    first = day.replace(day=1)
    return Period(midnight(first, zone), midnight(next_month(first), zone))


def next_month(day: date) -> date:
    """The first day of the month after the day's."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def months(first: date, last: date) -> Iterator[date]:
    """The first days of the months from that of `first` to that of `last`, both included."""
    day = first.replace(day=1)
    while day <= last:
        yield day
        day = next_month(day)


def rfc3339(instant: datetime) -> str:
    """UTC text such as 2026-10-01T00:00:00Z; microseconds only where there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
