"""A charge as the JSON object that is published, and back. The names are those of the contract."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gateway.core.canonical import canonical, content_id
from gateway.core.charge.line import Allocation, Charge, RateVersion, SessionRef
from gateway.core.occupancy import Payer
from gateway.core.period import Period, rfc3339
from gateway.core.tariff import Tax
from gateway.core.track import Index, Point, Segment
from gateway.core.units import Scaled, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

Body = dict[str, Any]


def body(charge: Charge) -> Body:
    """The charge's `data` with its `charge_id`, the content id of the canonical bytes of all the rest."""
    bare = _bare(charge)
    return {"charge_id": content_id(canonical(bare)), **bare}


def charge_id(charge: Charge) -> str:
    """The content id: the same inputs give the same body and the same id."""
    return content_id(canonical(_bare(charge)))


def _bare(charge: Charge) -> Body:
    return {
        "line_id": charge.line_id,
        "revision": charge.revision,
        "kind": charge.kind,
        "replaces": charge.replaces,
        "adjusts": None,
        "reason": charge.reason,
        "gateway": charge.gateway,
        "facility": charge.facility,
        "building": charge.building,
        "billing_point": charge.billing_point,
        "register": charge.register,
        "payer": {"id": charge.payer.id, "role": charge.payer.role, "reason": charge.payer.reason},
        "energy_source": charge.energy_source,
        "component": charge.component,
        "title": charge.title,
        "band": None,
        "tier": None,
        "flow": None,
        "period": {
            "from": rfc3339(charge.period.start),
            "until": rfc3339(charge.period.until),
            "time_zone": charge.time_zone,
        },
        **_money(charge),
        "session": None if charge.session is None else _session(charge.session),
        "allocation": None if charge.allocation is None else _allocation(charge.allocation),
        "cost_share": None,
        "evidence": {"segments": [_segment(segment) for segment in charge.segments], "profile": None},
        "rules_version": charge.rules_version,
        "closing": charge.closing,
    }


def _money(charge: Charge) -> Body:
    return {
        "quantity": str(charge.quantity),
        "unit": charge.unit,
        "unit_price": str(charge.unit_price),
        "amount": str(charge.amount),
        "amount_is": charge.amount_is,
        "currency": charge.currency,
        "tax": {
            "category": charge.tax.category,
            "rate": str(charge.tax.rate),
            "exemption": charge.tax.exemption or None,
        },
        "rounding": {"mode": "half_up", "quantum": str(charge.quantum)},
        "rate": {"id": charge.rate.id, "version": charge.rate.version},
    }


def _session(session: SessionRef) -> Body:
    return {
        "id": session.id,
        "badge": session.badge,
        "start": rfc3339(session.start),
        "end": rfc3339(session.end),
        "witness": session.witness,
    }


def _allocation(allocation: Allocation) -> Body:
    return {
        "scope": allocation.scope,
        "key": allocation.key,
        "numerator": plain(allocation.numerator),
        "denominator": plain(allocation.denominator),
        "total": str(allocation.total),
        "quantum": str(allocation.quantum),
        "fractions": [f"{part.numerator}/{part.denominator}" for part in allocation.fractions],
        "position": allocation.position,
    }


def _segment(segment: Segment) -> Body:
    return {
        "meter": segment.meter,
        "serial": segment.serial,
        "register": segment.register,
        "obis": segment.obis,
        "factor": "1",
        "modulus": None if segment.modulus is None else str(segment.modulus),
        "verified_until": None,
        "sign": 1,
        "from": _index(segment.start),
        "until": _index(segment.until),
    }


def _index(index: Index) -> Body:
    between = None
    if index.between is not None:
        between = [{"value": str(point.value), "at": rfc3339(point.at)} for point in index.between]
    return {
        "value": str(index.value),
        "at": rfc3339(index.at),
        "quality": index.quality,
        "clock_trusted": index.clock_trusted,
        "between": between,
    }


def parse(data: Mapping[str, Any]) -> Charge:
    """The charge that `body` made this of; KeyError or ValueError for anything else."""
    return Charge(
        line_id=data["line_id"],
        revision=data["revision"],
        kind=data["kind"],
        replaces=data["replaces"],
        reason=data["reason"],
        gateway=data["gateway"],
        facility=data["facility"],
        building=data["building"],
        billing_point=data["billing_point"],
        register=data["register"],
        payer=Payer(**data["payer"]),
        energy_source=data["energy_source"],
        component=data["component"],
        title=data["title"],
        period=Period(_instant(data["period"]["from"]), _instant(data["period"]["until"])),
        time_zone=data["period"]["time_zone"],
        quantity=Scaled.parse(data["quantity"]),
        unit=data["unit"],
        unit_price=Scaled.parse(data["unit_price"]),
        amount=Scaled.parse(data["amount"]),
        amount_is=data["amount_is"],
        currency=data["currency"],
        tax=_parse_tax(data),
        quantum=Scaled.parse(data["rounding"]["quantum"]),
        rate=RateVersion(**data["rate"]),
        allocation=None if data["allocation"] is None else _parse_allocation(data["allocation"]),
        segments=tuple(_parse_segment(segment) for segment in data["evidence"]["segments"]),
        session=None if data["session"] is None else _parse_session(data["session"]),
        rules_version=data["rules_version"],
        closing=data["closing"],
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _parse_tax(data: Mapping[str, Any]) -> Tax:
    return Tax(
        category=data["tax"]["category"],
        rate=Scaled.parse(data["tax"]["rate"]),
        included=data["amount_is"] == "gross",
        exemption=data["tax"]["exemption"] or "",
    )


def _parse_session(data: Mapping[str, Any]) -> SessionRef:
    return SessionRef(
        id=data["id"],
        badge=data["badge"],
        start=_instant(data["start"]),
        end=_instant(data["end"]),
        witness=data["witness"],
    )


def _parse_allocation(data: Mapping[str, Any]) -> Allocation:
    return Allocation(
        scope=data["scope"],
        key=data["key"],
        numerator=Fraction(data["numerator"]),
        denominator=Fraction(data["denominator"]),
        total=Scaled.parse(data["total"]),
        quantum=Scaled.parse(data["quantum"]),
        fractions=_parse_fractions(tuple(data["fractions"])),
        position=data["position"],
    )


@lru_cache(maxsize=64)
def _parse_fractions(parts: tuple[str, ...]) -> tuple[Fraction, ...]:
    """One value for all lines of a piece: each carries the fractions of all."""
    return tuple(Fraction(part) for part in parts)


def _parse_segment(data: Mapping[str, Any]) -> Segment:
    return Segment(
        meter=data["meter"],
        serial=data["serial"],
        register=data["register"],
        obis=data["obis"],
        modulus=None if data["modulus"] is None else Scaled.parse(data["modulus"]),
        start=_parse_index(data["from"]),
        until=_parse_index(data["until"]),
    )


def _parse_index(data: Mapping[str, Any]) -> Index:
    between = None
    if data["between"] is not None:
        first, second = (Point(value=Scaled.parse(one["value"]), at=_instant(one["at"])) for one in data["between"])
        between = (first, second)
    return Index(
        value=Scaled.parse(data["value"]),
        at=_instant(data["at"]),
        quality=data["quality"],
        clock_trusted=data["clock_trusted"],
        between=between,
    )
