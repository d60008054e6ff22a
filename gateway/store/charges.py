"""Charges: published once, for good; a reversal takes the standing of what it replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import func, insert, select, update

from gateway.core.proof import FIRST, chain
from gateway.store import events, schema, streams
from gateway.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from gateway.service.records import NewCharge

REMAINDER = "_remainder"
REVERSAL = "reversal"
AT_ONCE = 100
"""bodies in memory"""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCharge:
    """A charge with its place in the chain."""

    charge_id: str
    standing: bool
    """neither reversed nor a reversal"""
    data: str
    stream: str
    seq: int
    prevhash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeFilter:
    """Which charges; None asks for all."""

    facility: str | None = None
    closing: str | None = None
    billing_point: str | None = None
    """`_remainder` for the remainders"""
    register: str | None = None
    id_prefix: str = ""


def publish(connection: Connection, charges: Sequence[NewCharge], at: datetime, bootid: str) -> int:
    """Keep the charges and number their events, in this order; how many were new.

    A charge that is known changes nothing. StoreError for a reversal of what does not stand.
    """
    stream = streams.current(connection, "charge")
    by_id = {charge.charge_id: charge for charge in charges}
    known = _known(connection, by_id.keys())
    new = [charge for charge_id, charge in by_id.items() if charge_id not in known]
    place = events.next_place(connection, stream)
    for charge in new:
        _insert(connection, charge)
        previous = place.prevhash or FIRST
        own = chain(previous, charge.data.encode())
        subject = f"charges/{charge.billing_point or REMAINDER}"
        events.put(
            connection, place, subject=subject, time=at, bootid=bootid, charge=charge.charge_id, link=(previous, own)
        )
        place = events.Place(stream=stream, seq=place.seq + 1, prevhash=own)
    return len(new)


def _known(connection: Connection, ids: Collection[str]) -> set[str]:
    column = schema.charge.c.charge_id
    return set(connection.scalars(select(column).where(column.in_(ids))))


def _insert(connection: Connection, charge: NewCharge) -> None:
    table = schema.charge
    if charge.kind == REVERSAL:
        standing = (table.c.charge_id == charge.replaces, table.c.standing == 1)
        if connection.execute(update(table).where(*standing).values(standing=0)).rowcount != 1:
            message = (
                f"charge {charge.charge_id} reverses {charge.replaces}, which does not stand: nothing was published"
            )
            raise StoreError(message)
    values = {
        "charge_id": charge.charge_id,
        "line_id": charge.line_id,
        "revision": charge.revision,
        "kind": charge.kind,
        "replaces": charge.replaces,
        "facility": charge.facility,
        "closing": charge.closing,
        "billing_point": charge.billing_point,
        "register": charge.register,
        "standing": int(charge.kind != REVERSAL),
        "body": charge.data,
    }
    connection.execute(insert(table).values(values))


def standing(connection: Connection, facility: str, month: str, read: Callable[[str], _T]) -> list[_T]:
    """What `read` makes of the facility's charges of this closing that stand, those of sessions too, by line id."""
    table = schema.charge
    rows = (table.c.facility == facility, table.c.closing == month, table.c.standing == 1)
    query = select(table.c.body).where(*rows).order_by(table.c.line_id, table.c.revision, table.c.charge_id)
    return [read(text) for text in connection.scalars(query.execution_options(yield_per=AT_ONCE))]


def revisions(connection: Connection, facility: str, month: str) -> dict[str, int]:
    """line_id -> the highest revision published, of the facility's charges of this closing."""
    table = schema.charge
    query = select(table.c.line_id, func.max(table.c.revision)).group_by(table.c.line_id)
    rows = connection.execute(query.where(table.c.facility == facility, table.c.closing == month))
    return {row[0]: row[1] for row in rows}


def published(connection: Connection, wanted: ChargeFilter) -> list[KeptCharge]:
    """The charges that the filter lets through, in the order of publication."""
    table, event = schema.charge, schema.event
    stream = streams.current(connection, "charge")  # it has every charge, whatever epochs there were
    query = (
        select(table.c.charge_id, table.c.standing, table.c.body, event.c.stream, event.c.seq)
        .add_columns(event.c.prevhash, event.c.hash)
        .join(event, event.c.id == table.c.charge_id)
        .where(event.c.stream == stream.name, *_conditions(wanted))
        .order_by(event.c.seq)
    )
    return [
        KeptCharge(
            charge_id=row.charge_id,
            standing=bool(row.standing),
            data=row.body,
            stream=row.stream,
            seq=row.seq,
            prevhash=row.prevhash,
            hash=row.hash,
        )
        for row in connection.execute(query)
    ]


def _conditions(wanted: ChargeFilter) -> list[ColumnElement[bool]]:
    table = schema.charge
    asked = {
        table.c.facility: wanted.facility,
        table.c.closing: wanted.closing,
        table.c.register: wanted.register,
        table.c.billing_point: wanted.billing_point,
    }
    conditions = [column == value for column, value in asked.items() if value not in {None, REMAINDER}]
    if wanted.billing_point == REMAINDER:
        conditions.append(table.c.billing_point.is_(None))
    if wanted.id_prefix:
        conditions.append(table.c.charge_id.startswith(wanted.id_prefix, autoescape=True))
    return conditions
