"""Answers that are kept as they came and gave no reading yet."""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from gateway.service.polled import Poll
from gateway.store import readings, schema
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection

_AT_ONCE = 500
"""rows; the first look is for one: most meters have nothing that waits"""


def unread(connection: Connection, meter: str, before: datetime, limit: int) -> list[Poll]:
    """See `gateway.service.unread.KeptAnswers`."""
    table = schema.source
    sources = {row.no: row for row in connection.execute(select(table).where(table.c.meter == meter))}
    polls = _newest_first(connection, meter, list(sources), micros(before))
    waiting = takewhile(lambda poll: poll.raw and not poll.gave, polls)
    return [_poll(row, sources[row.source]) for row in islice(waiting, limit)][::-1]


def _newest_first(connection: Connection, meter: str, sources: list[int], before: int) -> Iterator[Any]:
    """The polls of these sources before the instant, each with whether the meter has readings of its time (`gave`)."""
    poll = schema.poll
    own = [no for no, channel in readings.channels(connection).items() if channel.meter == meter]
    there = (
        select(table.c.at).where(table.c.at == poll.c.at, table.c.channel.in_(own)).correlate(poll).exists()
        for table in (schema.reading, schema.conflict)
    )
    query = select(poll, or_(*there).label("gave")).where(poll.c.source.in_(sources), poll.c.at < before)
    query, count = query.order_by(poll.c.seq.desc()), 1
    rows = connection.execute(query.limit(count)).all()
    while rows:
        yield from rows
        if len(rows) < count:
            return
        count = _AT_ONCE
        rows = connection.execute(query.where(poll.c.seq < rows[-1].seq).limit(count)).all()


def _poll(row: Any, source: Any) -> Poll:  # noqa: ANN401 - rows
    return Poll(
        meter=source.meter,
        at=instant(row.at),
        serial=source.serial,
        status=row.status,
        clock_trusted=bool(row.clock_trusted),
        boot=source.boot,
        readings=(),
        raw=row.raw,
    )
