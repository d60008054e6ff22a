"""Sessions as they are kept, told and charged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.core.canonical import canonical
from gateway.core.charge import EndedSession
from gateway.core.period import rfc3339
from gateway.core.session import Session, State
from gateway.core.track import Index
from gateway.core.units import Scaled
from gateway.service.records import SessionRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.metering import Register
    from gateway.service.access_site import Site

CLOSED = "closed"
_OCPP_STOPS = frozenset({"Local", "TimeLimitReached", "PowerLoss"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the meter called itself when it was read."""

    serial: str = ""
    obis: str = ""


def kept(site: Site, identity: Identity, state: State, session: Session, ended_at: datetime | None) -> SessionRecord:
    """The session as it is kept; `ended_at` closes it."""
    data = {
        "session_id": session.id,
        "state": state.value if ended_at is None else CLOSED,
        "access_point": site.access_point,
        "machine": site.machine,
        "place": site.place,
        "register": site.register.id,
        "unit": site.register.unit,
        "serial": identity.serial,
        "obis": identity.obis,
        "point": session.point,
        "badge": session.badge,
        "user": session.user,
        "started_at": rfc3339(session.started_at),
        "ended_at": None if ended_at is None else rfc3339(ended_at),
        "start": _index(session.start),
        "end": _index(session.end),
        "ran": session.ran,
        "stop": session.stop,
    }
    return SessionRecord(
        id=session.id,
        facility=site.facility,
        access_point=site.access_point,
        started_at=session.started_at,
        ended_at=ended_at,
        data=canonical(data).decode(),
    )


def told(site: Site, session: Session, ended_at: datetime) -> str:
    """The payload of the session's event. Nothing in it is the badge's identifier."""
    return canonical(
        {
            "session_id": session.id,
            "point": session.point,
            "access_point": site.access_point,
            "badge": session.badge,
            "user": session.user,
            "state": CLOSED,
            "started_at": rfc3339(session.started_at),
            "ended_at": rfc3339(ended_at),
            "register_start": None if session.start is None else str(session.start.value),
            "register_end": None if session.end is None else str(session.end.value),
            "stop_reason": session.stop if session.stop in _OCPP_STOPS else "Other",
            "quantity": str(_quantity(site.register, session)),
            "unit": site.register.unit,
        }
    ).decode()


def reopened(record: SessionRecord) -> tuple[State, Session, Identity]:
    """A session that has not ended, as it was kept last."""
    data = json.loads(record.data)
    session = Session(
        id=record.id,
        badge=data["badge"],
        user=data["user"],
        point=data["point"],
        started_at=record.started_at,
        start=_parsed(data["start"]),
        end=_parsed(data["end"]),
        ran=data["ran"],
        stop=data["stop"],
    )
    return State(data["state"]), session, Identity(serial=data["serial"], obis=data["obis"])


def chargeable(records: Iterable[SessionRecord]) -> list[EndedSession]:
    """The ended sessions in which a machine was used, as far as the clock could be trusted at both ends."""
    return [found for record in records if (found := _ended(record)) is not None]


def _ended(record: SessionRecord) -> EndedSession | None:
    data = json.loads(record.data)
    start, end = _parsed(data["start"]), _parsed(data["end"])
    if record.ended_at is None or not data["ran"] or start is None or end is None:
        return None
    if not (start.clock_trusted and end.clock_trusted):
        return None
    return EndedSession(
        id=record.id,
        badge=data["badge"],
        user=data["user"],
        point=data["point"],
        place=data["place"],
        register=data["register"],
        serial=data["serial"],
        obis=data["obis"],
        started_at=record.started_at,
        ended_at=record.ended_at,
        start=start,
        end=end,
    )


def _quantity(register: Register, session: Session) -> Scaled:
    """What was used, 0 where the machine was not."""
    if session.start is None or session.end is None or not session.ran:
        return Scaled(0, register.exponent)
    difference = session.end.value - session.start.value
    return difference + register.modulus if difference.digits < 0 and register.modulus is not None else difference


def _index(index: Index | None) -> dict[str, Any] | None:
    if index is None:
        return None
    return {"value": str(index.value), "at": rfc3339(index.at), "clock_trusted": index.clock_trusted}


def _parsed(data: Mapping[str, Any] | None) -> Index | None:
    if data is None:
        return None
    at = datetime.fromisoformat(data["at"])
    return Index(value=Scaled.parse(data["value"]), at=at, quality="measured", clock_trusted=data["clock_trusted"])
