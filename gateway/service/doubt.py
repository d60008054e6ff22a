"""Whether the readings that a session began and ended with are believed: it is charged from nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.track import Track, track
from gateway.core.units import UnitError
from gateway.service.judge import READING_IMPLAUSIBLE
from gateway.service.sessions import chargeable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.book import Book
    from gateway.core.charge import EndedSession
    from gateway.core.event import Alarm
    from gateway.core.metering import Reading, Register
    from gateway.service.records import SessionRecord

_NAMED = 5
"""sessions named in a sentence"""


class ReadStore(Protocol):
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

    None where none is, and no other meter took its place during the session: then nothing speaks against them.
    """
    instants = [session.start.at, session.end.at]
    doubted = [each.since for each in alarms if (each.code, each.source) == (READING_IMPLAUSIBLE, register.id)]
    if not doubted and not any(each.at in session.counted for each in register.exchanges):
        return None
    heard: dict[Reading, None] = {}  # each once, in the order of the store
    for at in (*instants, *doubted):
        found = await store.readings([register.meter], at, at, {register.key})
        heard |= dict.fromkeys(found.get((register.meter, register.key), ()))
    try:
        return track(register, heard)
    except UnitError:  # told when settling: nothing of the register can be billed
        return track(register, ())


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


async def left_out(
    store: SessionsStore, facility: str, registers: Collection[str], start: datetime, until: datetime
) -> str:
    """What becomes of the sessions that began or ended with readings voided in [start, until); "" where none did.

    `registers`: ids.
    """
    found = [
        session.id
        for session in chargeable(await store.sessions(facility, start, until))
        if session.register in registers and any(start <= at < until for at in (session.start.at, session.end.at))
    ]
    if not found:
        return ""
    named = ", ".join(found[:_NAMED]) + (" ..." if found[_NAMED:] else "")
    sessions = f"{len(found)} session{'s' * (len(found) != 1)} began or ended with what is void now ({named})"
    return f"{sessions}: not charged, or taken back when the month is settled; what was used is the owner's"
