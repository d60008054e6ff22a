"""What the store forgets, and what it keeps of it: roll-ups by hour and day."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from gateway.store import marks, readings, schema, streams
from gateway.store.instants import micros
from gateway.store.writer import Priority

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from gateway.core.metering import Reading
    from gateway.core.period import Period
    from gateway.service.retain import Progress, Rollup
    from gateway.store.store import Store


class Retention:
    """The roll-ups of a store, and its old rows."""

    def __init__(self, store: Store) -> None:
        self._reader = store.reader
        self._writer = store.writer

    async def metered(self) -> Collection[str]:
        """Every meter that has a reading."""
        return await self._reader.run(_metered)

    async def progress(self, facility: str) -> Progress:
        """How far the work for this facility is."""
        return await self._reader.run(partial(marks.progress, facility=facility))

    async def roll_up(self, meters: Collection[str], day: Period, rollups: Sequence[Rollup]) -> None:
        """Keep the roll-ups of the meters' day in place of earlier ones."""
        await self._writer.submit(Priority.RETAIN, partial(_roll_up, meters=meters, day=day, rollups=rollups))

    async def rolled_up(self, facility: str, until: datetime) -> None:
        """Keep that every meter of the facility is rolled up to `until`."""
        await self._writer.submit(
            Priority.RETAIN, partial(marks.mark, key=marks.ROLLED + facility, value=until.isoformat())
        )

    async def thin(self, spare: Sequence[Reading]) -> None:
        """Delete these readings."""
        await self._writer.submit(Priority.RETAIN, partial(_thin, spare=spare))

    async def thinned(self, facility: str, until: datetime) -> None:
        """Keep that every meter of the facility is thinned up to `until`."""
        await self._writer.submit(
            Priority.RETAIN, partial(marks.mark, key=marks.THINNED + facility, value=until.isoformat())
        )

    async def forget_raw(self, before: datetime, limit: int) -> int:
        """Empty the raw answers of at most `limit` polls before the instant; how many polls were looked through."""
        return await self._writer.submit(Priority.RETAIN, partial(_forget_raw, before=before, limit=limit))

    async def forget_polls(self, before: datetime, limit: int) -> int:
        """Delete at most `limit` polls before the instant that are delivered; how many were looked through.

        What stays: the newest, which carries the numbering, and those that gave a conflicting value.
        """
        return await self._writer.submit(Priority.RETAIN, partial(_forget_polls, before=before, limit=limit))


def _metered(connection: Connection) -> list[str]:
    return sorted(set(connection.scalars(select(schema.channel.c.meter))))


def _roll_up(connection: Connection, meters: Collection[str], day: Period, rollups: Sequence[Rollup]) -> None:
    numbers = {channel: no for no, channel in readings.channels(connection).items()}
    own = [no for channel, no in numbers.items() if channel.meter in meters]
    for table, whole_day in ((schema.daily, True), (schema.hourly, False)):
        inside = (table.c.bucket >= micros(day.start), table.c.bucket < micros(day.until))
        connection.execute(delete(table).where(table.c.channel.in_(own), *inside))
        rows = [_row(one, numbers[readings.channel_of(one.first)]) for one in rollups if one.whole_day == whole_day]
        if rows:
            connection.execute(insert(table), rows)


def _row(rollup: Rollup, channel: int) -> dict[str, Any]:
    exponent = min(rollup.first.index.exponent, rollup.last.index.exponent)
    return {
        "channel": channel,
        "bucket": micros(rollup.start),
        "first_at": micros(rollup.first.at),
        "first_digits": rollup.first.index.at(exponent).digits,
        "last_at": micros(rollup.last.at),
        "last_digits": rollup.last.index.at(exponent).digits,
        "exponent": exponent,
        "count": rollup.count,
    }


def _thin(connection: Connection, spare: Sequence[Reading]) -> None:
    numbers = {channel: no for no, channel in readings.channels(connection).items()}
    table = schema.reading
    for reading in spare:
        row = (table.c.at == micros(reading.at), table.c.channel == numbers[readings.channel_of(reading)])
        connection.execute(delete(table).where(*row))


def _forget_raw(connection: Connection, before: datetime, limit: int) -> int:
    table = schema.poll
    numbers = _next_polls(connection, marks.RAW, before, limit)
    if numbers:
        rows = (table.c.seq.in_(numbers), table.c.raw != b"")
        connection.execute(update(table).where(*rows).values(raw=b""))
        marks.mark(connection, marks.RAW, str(numbers[-1]))
    return len(numbers)


def _forget_polls(connection: Connection, before: datetime, limit: int) -> int:
    table = schema.poll
    stream = streams.current(connection, "reading")
    newest = connection.scalar(select(func.max(table.c.seq))) or 0
    numbers = _next_polls(connection, marks.POLLS, before, limit)
    numbers = [seq for seq in numbers if seq <= stream.base + stream.finished and seq < newest]
    if numbers:
        needed = select(schema.conflict.c.poll).where(schema.conflict.c.poll.in_(numbers))
        connection.execute(delete(table).where(table.c.seq.in_(numbers), table.c.seq.not_in(needed)))
        marks.mark(connection, marks.POLLS, str(numbers[-1]))
    return len(numbers)


def _next_polls(connection: Connection, mark: str, before: datetime, limit: int) -> list[int]:
    """The numbers of the polls before the instant among the next `limit`.

    Polls lie in the order of their times but for a clock that was set, so more than that need not be looked at.
    """
    table = schema.poll
    done = int(marks.marked(connection, mark) or 0)
    query = select(table.c.seq, table.c.at).where(table.c.seq > done).order_by(table.c.seq).limit(limit)
    return [seq for seq, at in connection.execute(query) if at < micros(before)]
