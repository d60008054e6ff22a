"""Sessions as they are kept, told and charged."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.core.canonical import canonical
from gateway.core.charge import EndedSession
from gateway.core.metering import Reading, counted
from gateway.core.period import rfc3339
from gateway.core.session import Count, Moment, Session, State, in_time, lost
from gateway.core.track import Index
from gateway.core.units import Scaled
from gateway.service.records import SessionRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.metering import Register
    from gateway.service.access_site import Site

WAITING = "waiting"
"""it is over; when that was, is not known yet"""
CLOSED = "closed"
TRUSTED, PLACED, UNTRUSTED = "trusted", "placed", "untrusted"
"""how its times are known: from a right clock, counted back from one, or not at all"""
_MICROSECOND = timedelta(microseconds=1)
_OCPP_STOPS = frozenset({"Local", "TimeLimitReached", "PowerLoss"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the meter called itself when it was read."""

    serial: str = ""
    obis: str = ""


def kept(site: Site, identity: Identity, state: State, session: Session) -> SessionRecord:
    """A session that goes on, as it is kept."""
    return _record(site, identity, state.value, session, {})


def over(site: Site, identity: Identity, session: Session, ended: Moment) -> SessionRecord:
    """A session that is over, as it is kept until `closed` knows its times."""
    return _record(site, identity, WAITING, session, {"ended": ended})


def _record(site: Site, identity: Identity, state: str, session: Session, ended: Mapping[str, Moment]) -> SessionRecord:
    counts = {name: count for name, count in (("start", session.start), ("end", session.end)) if count is not None}
    moments = {"started": session.started, **{name: count.seen for name, count in counts.items()}, **ended}
    data: dict[str, Any] = {
        "session_id": session.id,
        "state": state,
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
        "moments": {name: _written(moment) for name, moment in moments.items()},
        "indexes": {name: str(count.value) for name, count in counts.items()},
        "moduli": {name: str(count.modulus) for name, count in counts.items() if count.modulus is not None},
        "serials": {name: count.serial for name, count in counts.items()},
        "quantity": str(_quantity(site.register, session)),
        "ran": session.ran,
        "stop": session.stop,
    }
    return SessionRecord(
        id=session.id,
        facility=site.facility,
        access_point=site.access_point,
        started_at=session.started.at,
        ended_at=None,
        data=canonical(data).decode(),
    )


def reopened(record: SessionRecord) -> tuple[State, Session, Identity]:
    """A session that goes on, as it was kept last."""
    data, moments = json.loads(record.data), moments_of(record)
    counts = {
        name: Count(
            value=Scaled.parse(text), seen=moments[name], modulus=_modulus(data, name), serial=_serial(data, name)
        )
        for name, text in data["indexes"].items()
    }
    session = Session(
        id=record.id,
        badge=data["badge"],
        user=data["user"],
        point=data["point"],
        started=moments["started"],
        start=counts.get("start"),
        end=counts.get("end"),
        ran=data["ran"],
        stop=data["stop"],
    )
    return State(data["state"]), session, Identity(serial=data["serial"], obis=data["obis"])


def waits(record: SessionRecord) -> bool:
    """Whether the session is over and waits for its times."""
    return bool(json.loads(record.data)["state"] == WAITING)


def closed(record: SessionRecord, now: Moment) -> SessionRecord | None:
    """The session at its right times, or, where they never will be known, as the clock showed them.

    None where they may yet be known. `now` is the present moment.
    """
    moments = moments_of(record)
    right = in_time(moments, now)
    if right is None:
        return _closed(record, moments, UNTRUSTED) if lost(moments.values(), now) else None
    return _closed(record, right, TRUSTED if right == moments else PLACED)


def _closed(record: SessionRecord, moments: Mapping[str, Moment], clock: str) -> SessionRecord:
    written = {name: _written(moment) for name, moment in moments.items()}
    data = {**json.loads(record.data), "state": CLOSED, "clock": clock, "payable": clock != UNTRUSTED}
    return replace(
        record,
        started_at=moments["started"].at,
        ended_at=moments["ended"].at,
        data=canonical({**data, "moments": written}).decode(),
    )


def unpayable(record: SessionRecord) -> SessionRecord:
    """The closed session as one that its user is not charged for."""
    return replace(record, data=canonical({**json.loads(record.data), "payable": False}).decode())


def told(record: SessionRecord) -> str:
    """The payload of the closed session's event. Nothing in it is the badge's identifier."""
    data = json.loads(record.data)
    same = ("session_id", "point", "access_point", "badge", "user", "state", "clock", "quantity", "unit")
    body: dict[str, Any] = {
        "started_at": rfc3339(record.started_at),
        "ended_at": None if record.ended_at is None else rfc3339(record.ended_at),
        "register_start": data["indexes"].get("start"),
        "register_end": data["indexes"].get("end"),
        "stop_reason": data["stop"] if data["stop"] in _OCPP_STOPS else "Other",
    }
    return canonical({**{name: data[name] for name in same}, **body}).decode()


def chargeable(records: Iterable[SessionRecord]) -> list[EndedSession]:
    """The closed sessions in which a machine was used and that their users pay."""
    return [found for record in records if (found := _ended(record)) is not None]


def _ended(record: SessionRecord) -> EndedSession | None:
    data, moments = json.loads(record.data), moments_of(record)
    indexes = {
        name: Index(value=Scaled.parse(text), at=moments[name].at, quality="measured")
        for name, text in data["indexes"].items()
    }
    if record.ended_at is None or not (data["ran"] and data["payable"]) or len(indexes) < len(("start", "end")):
        return None
    return EndedSession(
        id=record.id,
        badge=data["badge"],
        user=data["user"],
        point=data["point"],
        place=data["place"],
        register=data["register"],
        serial=_serial(data, "end"),
        first_serial=_serial(data, "start"),
        obis=data["obis"],
        started_at=record.started_at,
        ended_at=record.ended_at,
        start=indexes["start"],
        end=indexes["end"],
        modulus=_modulus(data, "end"),
    )


def placed_readings(record: SessionRecord, right: SessionRecord, register: Register) -> list[Reading]:
    """The indexes of the session that were read at an untrusted time, at the times of the same session put right."""
    data, before, after = json.loads(record.data), moments_of(record), moments_of(right)
    return [
        Reading(
            meter=register.meter,
            register=register.key,
            at=after[name].at,
            index=Scaled.parse(text),
            unit=data["unit"],
            obis=data["obis"],
            serial=_serial(data, name),
            boot=before[name].boot,
            modulus=_modulus(data, name),
        )
        for name, text in data["indexes"].items()
        if after[name].trusted and not before[name].trusted
    ]


def moments_of(record: SessionRecord) -> dict[str, Moment]:
    """When what happened: "started" (the tap), "start" and "end" (the indexes), "ended"; as far as it has."""
    return {
        name: Moment(
            at=datetime.fromisoformat(one["at"]),
            trusted=one["clock_trusted"],
            elapsed=one["elapsed_us"] * _MICROSECOND,
            boot=one["boot"],
        )
        for name, one in json.loads(record.data)["moments"].items()
    }


def _written(moment: Moment) -> dict[str, Any]:
    return {
        "at": rfc3339(moment.at),
        "clock_trusted": moment.trusted,
        "elapsed_us": moment.elapsed // _MICROSECOND,
        "boot": moment.boot,
    }


def _quantity(register: Register, session: Session) -> Scaled:
    """What was used, 0 where the machine was not."""
    if session.start is None or session.end is None or not session.ran:
        return Scaled(0, register.exponent)
    modulus = session.end.modulus if register.modulus is None else register.modulus
    passed = session.end.seen.since(session.start.seen)
    return counted(session.start.value, session.end.value, modulus, register.max_per_day, passed)


def _modulus(data: Mapping[str, Any], name: str) -> Scaled | None:
    """What the meter's model said with this index; sessions of earlier releases have none."""
    text = data.get("moduli", {}).get(name)
    return None if text is None else Scaled.parse(text)


def _serial(data: Mapping[str, Any], name: str) -> str:
    """What the meter called itself at this index; sessions of earlier releases have one for both."""
    return str(data.get("serials", {}).get(name, data["serial"]))
