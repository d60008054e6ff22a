"""Reads that a meter's battery is made for: never more in a day, and spread evenly over it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class Battery:
    """What one meter may still be read. A day begins at midnight UTC by the gateway's clock.

    Which deadlines are used follows from the time of day alone, so that a restart reads nothing again. The count of
    the day is kept in memory: it holds against a clock that is set back within the day.
    """

    def __init__(self, every: timedelta, reads_per_day: int | None) -> None:
        """`every`: the poll time of the line; `reads_per_day`: None where there is no battery to spare."""
        self.every = every if reads_per_day is None else spaced(every, reads_per_day)
        """between two reads"""
        self.spared = 0
        """deadlines left out"""
        self._most = reads_per_day
        self._day: date | None = None
        self._reads = 0

    def spend(self, due: datetime) -> bool:
        """Whether the meter is read at this deadline; if so, that counts as one read."""
        if self._most is None:
            return True
        midnight = due.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if midnight.date() != self._day:
            self._day, self._reads = midnight.date(), 0
        if self._reads >= self._most or (due - midnight) % self.every:
            self.spared += 1
            return False
        self._reads += 1
        return True


def spaced(every: timedelta, reads_per_day: int) -> timedelta:
    """The shortest multiple of `every` that fits so many times into a day.

    One that also divides an hour is preferred: months and prices begin at full hours of local time.
    """
    polls = -(-DAY // every)
    least = -(-polls // reads_per_day)
    aligned = (count * every for count in range(least, HOUR // every + 1) if not HOUR % (count * every))
    return next(aligned, least * every)
