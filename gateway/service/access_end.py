"""What becomes of a session that is over: it gets its right times, its price and its event, each once.

Durations hold whatever the clock of the day shows. A session that was counted before that clock was right is kept,
and closed as soon as it is: its tap and its indexes are placed in time by the monotonic clock, and what held at the
placed tap decides. Where the boot ends before the clock was ever right, nobody can say what the session costs: it is
told and shown, never billed, and its energy is the owner's like any that no badge stands behind.
"""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from typing import TYPE_CHECKING

from gateway.core.charge import Terms, charge_session, compare
from gateway.core.event import Alarm
from gateway.core.period import local_date, month, months
from gateway.service.access_site import enrolled
from gateway.service.doubt import course_around
from gateway.service.polled import alone
from gateway.service.records import DirtyMonth
from gateway.service.sessions import (
    UNTRUSTED,
    chargeable,
    closed,
    moments_of,
    placed_readings,
    told,
    unpayable,
)
from gateway.service.settle import new_charge

if TYPE_CHECKING:
    from gateway.core.book import Book
    from gateway.core.metering import Reading
    from gateway.core.session import Moment
    from gateway.service.access_parts import Parts
    from gateway.service.records import NewCharge, SessionRecord

SESSION_UNBILLED = "session_unbilled"
_NO_TIME = (
    "it was counted before the clock was right, and is billed once it is: check NTP (timedatectl). Should the power go"
    " first, it never is: its energy is the owner's; settle it with the user, then end this (`submeter alarm end`)"
)
_NO_BADGE = (
    "it was begun before the clock was right, with a badge that did not hold then: its energy is the owner's; settle"
    " the rest with the user, then end this (`submeter alarm end`)"
)

_log = logging.getLogger(__name__)


class Endings:
    """Ends the sessions of one access point."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._waiting: list[SessionRecord] = []

    def restore(self, records: list[SessionRecord]) -> None:
        """Those that an earlier run left waiting for their times."""
        self._waiting = records

    async def end(self, book: Book, record: SessionRecord) -> None:
        """Close the session; where its times are not known yet, keep it until they are."""
        if await self._close(book, record):
            return
        await self._parts.store.keep_session(record)
        self._waiting.append(record)
        await self._tell_unbilled(record, _NO_TIME)
        _log.warning("session %s: ended; it waits for the clock to be right", record.id)

    async def catch_up(self, book: Book) -> None:
        """Close what has waited, as far as the times are known now."""
        self._waiting = [record for record in self._waiting if not await self._close(book, record)]

    async def _close(self, book: Book, record: SessionRecord) -> bool:
        """Whether the session could be closed."""
        now = self._parts.moment()
        right = closed(record, now)
        register = book.registers.get(json.loads(record.data)["register"])
        if right is None or register is None:
            return False
        await self._keep_readings(placed_readings(record, right, register))
        match json.loads(right.data)["clock"]:
            case "placed":
                right = await self._placed(book, record, right, now)
            case "untrusted":
                await self._tell_unbilled(right, _NO_TIME)
        await self._charge(book, right)
        return True

    async def _placed(self, book: Book, record: SessionRecord, right: SessionRecord, now: Moment) -> SessionRecord:
        """The session at its right times: whose badge did not hold then does not pay it."""
        await self._parts.alarms.end_alarm(SESSION_UNBILLED, record.id, now.at)
        if moments_of(record)["started"].trusted or _held(book, right):
            return right
        await self._tell_unbilled(right, _NO_BADGE)
        return unpayable(right)

    async def _keep_readings(self, readings: list[Reading]) -> None:
        """So that the course of the register passes through the session's indexes where they really were."""
        if readings:
            await self._parts.readings.keep([alone(reading) for reading in readings])

    async def _charge(self, book: Book, record: SessionRecord) -> None:
        data = json.loads(record.data)
        charges = await self._charges(book, record)
        now = self._parts.clock.now()
        await self._parts.store.end_session(
            record, f"sessions/{data['point']}", told(record), charges, now, _touched(book, record)
        )
        used, count = "used" if data["ran"] else "not used", len(charges)
        _log.info("%s: session %s ended: %s, %s, %d charges", record.access_point, record.id, data["stop"], used, count)

    async def _charges(self, book: Book, record: SessionRecord) -> list[NewCharge]:
        """What the session costs now; what has no price yet, or is in doubt, is charged when its month is settled."""
        sessions = chargeable([record])
        if not sessions:
            return []
        zone = book.facilities[record.facility].time_zone
        day = local_date(sessions[0].ended_at, zone)
        terms = Terms(
            gateway=self._parts.gateway, facility=record.facility, period=month(day, zone), closing=f"{day:%Y-%m}"
        )
        register = book.registers[sessions[0].register]
        course = await course_around(self._parts.store, await self._parts.store.open_alarms(), register, sessions[0])
        found, holds = await asyncio.to_thread(partial(charge_session, book, terms, sessions[0], course))
        for hold in holds:
            await self._raise(hold.code, hold.register, hold.text)
        return [new_charge(charge) for charge in compare(found, [])]

    async def _tell_unbilled(self, record: SessionRecord, why: str) -> None:
        data = json.loads(record.data)
        if data["ran"]:
            what = (
                f"session {record.id} of badge {data['badge']} at {data['machine']}, {data['quantity']} {data['unit']}"
            )
            await self._raise(SESSION_UNBILLED, record.id, f"{what}: {why}")

    async def _raise(self, code: str, source: str, text: str) -> None:
        now = self._parts.clock.now()
        await self._parts.alarms.raise_alarm(Alarm(code=code, source=source, severity="error", since=now, text=text))


def _touched(book: Book, record: SessionRecord) -> list[DirtyMonth]:
    """The months that it goes over: they may have been settled before it had its place in them.

    One may be closed while the session runs. Where its times are not known, its energy stays the owner's.
    """
    if json.loads(record.data)["clock"] == UNTRUSTED:
        return []
    zone = book.facilities[record.facility].time_zone
    days = [local_date(moment.at, zone) for moment in moments_of(record).values()]
    labels = (f"{day:%Y-%m}" for day in months(min(days), max(days)))
    return [DirtyMonth(facility=record.facility, month=label, reason="late_reading") for label in labels]


def _held(book: Book, record: SessionRecord) -> bool:
    """Whether the badge was valid at the tap."""
    badge = book.badges.get(json.loads(record.data)["badge"])
    return badge is not None and record.started_at in enrolled(book, badge).period
