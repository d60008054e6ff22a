"""Alarms: one open per code and source; its begin and its end are each told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from gateway.core.canonical import canonical
from gateway.core.event import Alarm
from gateway.core.period import rfc3339
from gateway.service.records import KeptAlarm
from gateway.store import events, schema, streams
from gateway.store.instants import instant, micros

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

    from gateway.service.alarms import Ended


def begin(connection: Connection, alarm: Alarm, bootid: str) -> bool:
    """Open the alarm and tell it; False, and nothing changed, where one of its code and source is open."""
    if _open(connection, alarm.code, alarm.source) is not None:
        return False
    place = events.next_place(connection, streams.current(connection, "alarm"))
    alarm_id = f"{place.stream.name.removeprefix('alarms-')}-{place.seq}"
    row = {
        "alarm_id": alarm_id,
        "code": alarm.code,
        "source": alarm.source,
        "severity": alarm.severity,
        "since": micros(alarm.since),
        "text": alarm.text,
    }
    connection.execute(insert(schema.alarm).values(row))
    _tell(connection, place, alarm_id, alarm, bootid)
    return True


def end(connection: Connection, code: str, source: str, at: datetime, bootid: str) -> bool:
    """Close the open alarm and tell it; False, and nothing changed, where there is none."""
    row = _open(connection, code, source)
    if row is None:
        return False
    _close(connection, row, at, bootid)
    return True


def change(connection: Connection, changes: Sequence[Alarm | Ended], bootid: str) -> None:
    """Open and close them in this order; whatever is so already stays. Very many end that were never open."""
    known = {(row.code, row.source) for row in connection.execute(_still_open())}
    for each in changes:
        if isinstance(each, Alarm):
            begin(connection, each, bootid)
            known.add((each.code, each.source))
        elif (each.code, each.source) in known:
            end(connection, each.code, each.source, each.at, bootid)


def end_by_hand(
    connection: Connection, alarm_id: str, at: datetime, bootid: str, by: str, reason: str
) -> KeptAlarm | None:
    """Close the open alarm of this id, keep who did it and why, and tell it; None where there is none."""
    found = next((one for one in connection.execute(_still_open()) if one.alarm_id == alarm_id), None)
    if found is None:
        return None
    _close(connection, found, at, bootid, ended_by=by, reason=reason)
    return KeptAlarm(id=alarm_id, alarm=_alarm(found, at), ended_by=by, reason=reason)


def still_open(connection: Connection) -> list[KeptAlarm]:
    """The open alarms, the oldest first."""
    return [KeptAlarm(id=row.alarm_id, alarm=_alarm(row)) for row in connection.execute(_still_open())]


def ended_by_hand(connection: Connection) -> list[KeptAlarm]:
    """The alarms that a person has ended, in that order."""
    table = schema.alarm
    query = select(table).where(table.c.ended_by.is_not(None)).order_by(table.c.ended, table.c.alarm_id)
    return [
        KeptAlarm(id=row.alarm_id, alarm=_alarm(row, instant(row.ended)), ended_by=row.ended_by, reason=row.reason)
        for row in connection.execute(query)
    ]


def _still_open() -> Select[tuple[str, ...]]:
    table = schema.alarm
    return select(table).where(table.c.ended.is_(None)).order_by(table.c.since, table.c.code, table.c.source)


def _close(connection: Connection, row: Row[tuple[str, ...]], at: datetime, bootid: str, **by_hand: str) -> None:
    table = schema.alarm
    connection.execute(update(table).where(table.c.alarm_id == row.alarm_id).values(ended=micros(at), **by_hand))
    place = events.next_place(connection, streams.current(connection, "alarm"))
    _tell(connection, place, row.alarm_id, _alarm(row, at), bootid)


def _open(connection: Connection, code: str, source: str) -> Row[tuple[str, ...]] | None:
    table = schema.alarm
    query = select(table).where(table.c.code == code, table.c.source == source, table.c.ended.is_(None))
    return connection.execute(query).one_or_none()


def _alarm(row: Row[tuple[str, ...]], ended: datetime | None = None) -> Alarm:
    return Alarm(
        code=row.code, source=row.source, severity=row.severity, since=instant(row.since), text=row.text, ended=ended
    )


def _tell(connection: Connection, place: events.Place, alarm_id: str, alarm: Alarm, bootid: str) -> None:
    data = {
        "alarm_id": alarm_id,
        "code": alarm.code,
        "severity": alarm.severity,
        "source": alarm.source,
        "since": rfc3339(alarm.since),
        "ended": None if alarm.ended is None else rfc3339(alarm.ended),
        "text": alarm.text,
    }
    events.put(
        connection,
        place,
        subject=f"alarms/{alarm.source}",
        time=alarm.ended or alarm.since,
        bootid=bootid,
        data=canonical(data).decode(),
    )
