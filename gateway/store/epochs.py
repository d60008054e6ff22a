"""A new epoch of all streams, once a database was restored or copied to another place.

What was told after the backup is not known here any more, and its numbers must not be given twice. So the new
streams begin at 1: the stream of charges tells every charge again, the others what was not finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from gateway.core.proof import FIRST, chain
from gateway.store import schema, streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from gateway.store.streams import Stream

HOME = "home"
_AT_ONCE = 500


def begin(connection: Connection) -> None:
    """Begin a new epoch.

    Charges: every one, in the order and with the ids and bodies that they had, in a chain of their own; who adds up
    the newest stream of charges has the whole truth of this store. Sessions and alarms: those that were not
    finished. Readings: the polls that were not finished are the first of the new stream.
    """
    old = streams.all_current(connection)
    streams.renew(connection)
    for former, stream in zip(old, streams.all_current(connection), strict=True):
        if stream.kind == "charge":
            _put(connection, _charges(connection, former, stream))
        elif stream.kind != "reading":
            _put(connection, _unfinished(connection, former, stream))


def settle_in(connection: Connection, home: str | None) -> bool:
    """Begin a new epoch where the store lies elsewhere than it did; None: that cannot be told. Whether it did."""
    table = schema.meta
    if home is None:
        return False
    known = connection.scalar(select(table.c.value).where(table.c.key == HOME))
    if known is None:
        connection.execute(insert(table).values(key=HOME, value=home))
    elif known != home:
        connection.execute(update(table).where(table.c.key == HOME).values(value=home))
        begin(connection)
    return known not in {None, home}


def _charges(connection: Connection, former: Stream, stream: Stream) -> Iterator[dict[str, Any]]:
    """The rows of all charges in the new stream."""
    table, charge = schema.event, schema.charge
    query = select(table, charge.c.body).join(charge, charge.c.charge_id == table.c.id)
    told = connection.execute(query.where(table.c.stream == former.name).order_by(table.c.seq))
    previous = FIRST
    for seq, row in enumerate(told.mappings(), 1):
        own = chain(previous, row["body"].encode())
        yield {**_copied(row), "stream": stream.name, "seq": seq, "prevhash": previous, "hash": own}
        previous = own


def _unfinished(connection: Connection, former: Stream, stream: Stream) -> Iterator[dict[str, Any]]:
    """The rows of the events that no consumer is known to have."""
    table = schema.event
    query = select(table).where(table.c.stream == former.name, table.c.seq > former.finished)
    for seq, row in enumerate(connection.execute(query.order_by(table.c.seq)).mappings(), 1):
        yield {**_copied(row), "stream": stream.name, "seq": seq, "id": f"{stream.name}:{seq}"}


def _copied(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of any select of events
    return {column.name: row[column.name] for column in schema.event.c}


def _put(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    all_rows = list(rows)
    for first in range(0, len(all_rows), _AT_ONCE):
        connection.execute(insert(schema.event), all_rows[first : first + _AT_ONCE])
