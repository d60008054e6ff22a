"""Instants as the database holds them: whole microseconds UTC since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """The number that stands for a timezone-aware instant."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(number: int) -> datetime:
    """The instant, in UTC, that the number stands for."""
    return _EPOCH + timedelta(microseconds=number)
