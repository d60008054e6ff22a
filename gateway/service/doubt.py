"""Whether the readings that a session began and ended with are believed: it is charged from nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.track import Track, track
from gateway.core.units import UnitError
from gateway.service.judge import READING_IMPLAUSIBLE
from gateway.service.sessions import chargeable
from gateway.service.stranger import StrangerStore, stranger_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.book import Book
    from gateway.core.charge import Charge, EndedSession
    from gateway.core.event import Alarm
    from gateway.core.metering import Reading, Register, Stranger
    from gateway.core.problem import Hold
    from gateway.service.records import SessionRecord

_NAMED = 5
"""sessions named in a sentence"""


class ReadStore(StrangerStore, Protocol):
    """Where readings come from."""

    async def readings(
        self, facility_meters: Collection[str], start: datetime, until: datetime, keys: Collection[str] | None = None
    ) -> Mapping[tuple[str, str], Sequence[Reading]]:
        """(meter, register key) -> its readings in [start, until], the last before and the first after."""


class SessionsStore(Protocol):
    """Where sessions come from."""

    async def sessions(self, facility: str, start: datetime, until: datetime) -> Sequence[SessionRecord]:
        """The ended sessions of which a part lies in [start, until)."""


class VoidStore(Protocol):
    """Where it stands which readings do not count."""

    async def voided(self, meter: str, register: str, start: datetime, until: datetime) -> Collection[datetime]:
        """The instants in [start, until] at which a reading of the register (key) is voided."""


async def course_around(
    store: ReadStore, alarms: Iterable[Alarm], register: Register, session: EndedSession
) -> Track | None:
    """The course of the register at the session's indexes, in the light of the oldest reading that is in doubt.

    None where none is, and no other meter took its place before or during the session: nothing speaks against them.
    """
    instants = [session.start.at, session.end.at]
    stranger = await _stranger(store, register, session)
    doubted = [each.since for each in alarms if (each.code, each.source) == (READING_IMPLAUSIBLE, register.id)]
    exchanged = any(each.at in session.counted for each in register.exchanges)
    if stranger is None and not doubted and not exchanged:
        return None
    heard: dict[Reading, None] = {}  # each once, in the order of the store
    for at in (*instants, *doubted):
        found = await store.readings([register.meter], at, at, {register.key})
        heard |= dict.fromkeys(found.get((register.meter, register.key), ()))
    try:
        return track(register, heard, stranger=stranger)
    except UnitError:  # told when settling: nothing of the register can be billed
        return track(register, ())


async def _stranger(store: StrangerStore, register: Register, session: EndedSession) -> Stranger | None:
    """Who answered at one of its ends where the register's meter should have."""
    for at, serial in ((session.start.at, session.first_serial), (session.end.at, session.serial)):
        found = await stranger_at(store, register, at, serial)
        if found is not None:
            return found
    return None


async def counting(store: VoidStore, book: Book, sessions: Sequence[EndedSession]) -> list[EndedSession]:
    """The sessions of known registers none of whose indexes a person has voided: what others used is the owner's."""
    found: list[EndedSession] = []
    for name in dict.fromkeys(session.register for session in sessions):
        own, register = [session for session in sessions if session.register == name], book.registers.get(name)
        if register is None:
            continue
        start, until = min(one.start.at for one in own), max(one.end.at for one in own)
        voided = await store.voided(register.meter, register.key, start, until)
        found += [one for one in own if one.start.at not in voided and one.end.at not in voided]
    return found


async def undisputed(store: VoidStore, holds: Iterable[Hold], standing: Sequence[Charge]) -> list[Hold]:
    """The holds without those on what was charged from first readings that a person has voided.

    What was published from them is taken back: nothing that comes will say what it was, as something will where a
    reading is in doubt. Where readings are forgotten, or not known any more by property data, it stays.
    """
    found: list[Hold] = []
    for hold in holds:
        begun = _begun(hold, standing) if hold.first else set()
        voided = [await store.voided(meter, key, at, at) for meter, key, at in sorted(begun)]
        if not voided or not all(voided):
            found.append(hold)
    return found


def _begun(hold: Hold, standing: Iterable[Charge]) -> set[tuple[str, str, datetime]]:
    """The readings (meter, register key, instant) that the charges of the stretch that is held begin with."""
    firsts = [
        one.segments[0]
        for one in standing
        if (one.register, one.session) == (hold.register, None)
        and one.segments
        and one.period.start < hold.until
        and hold.start < one.period.until
    ]
    indexes = [(one, one.start.between[0] if one.start.between else one.start) for one in firsts]
    return {(one.meter, one.register, index.at) for one, index in indexes}


async def based_on(
    store: SessionsStore, facility: str, registers: Collection[str], start: datetime, until: datetime
) -> list[EndedSession]:
    """The sessions of the registers (ids) that began or ended with readings of [start, until)."""
    return [
        session
        for session in chargeable(await store.sessions(facility, start, until))
        if session.register in registers and any(start <= at < until for at in (session.start.at, session.end.at))
    ]


def left_out(sessions: Sequence[EndedSession]) -> str:
    """What becomes of the sessions that began or ended with what is void; "" where none did."""
    if not sessions:
        return ""
    named = ", ".join(one.id for one in sessions[:_NAMED]) + (" ..." if sessions[_NAMED:] else "")
    told = f"{len(sessions)} session{'s' * (len(sessions) != 1)} began or ended with what is void now ({named})"
    return f"{told}: not charged, or taken back when the month is settled; what was used is the owner's"
