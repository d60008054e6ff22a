"""What a session at a machine costs: energy and cycle at the prices of its start, paid by who held the badge then."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from gateway.core.charge.anomalies import anomaly
from gateway.core.charge.line import Charge, RateVersion, SessionRef, session_line_id
from gateway.core.metering import rollover, same_serial
from gateway.core.occupancy import Payer
from gateway.core.period import Period
from gateway.core.problem import Hold
from gateway.core.tariff import fits, price_at, priced
from gateway.core.track import Segment
from gateway.core.units import Scaled, to_quantum

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.core.book import Book
    from gateway.core.charge.line import Terms
    from gateway.core.metering import Register
    from gateway.core.tariff import InForce, Priced
    from gateway.core.track import Index, Track

TAP = "tap"
NO_PRICE = "no_price"
NEGATIVE = "index_decrease"
ANOTHER_METER = "identity_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSession:
    """A session in which a machine was used."""

    id: str
    badge: str
    user: str
    """held the badge at the start: pays all of it"""
    point: str
    """billing point of the badge"""
    place: str
    """billing point where the machine stands: its rates hold"""
    register: str
    """id of the register that counted"""
    serial: str
    """what the meter called itself when the session ended"""
    obis: str
    started_at: datetime
    ended_at: datetime
    start: Index
    end: Index
    modulus: Scaled | None = None
    """the index at which its meter's model has the register begin again at 0"""
    first_serial: str = ""
    """what it called itself when the session began"""
    witness: str = TAP

    @property
    def counted(self) -> Period:
        """In which the register counted for the session."""
        return Period(self.start.at, self.end.at)

    def segment(self, register: Register) -> Segment:
        """The evidence of its energy; a rollover where that much can be counted in the time, as in a course."""
        modulus = register.modulus
        if self.end.value < self.start.value:
            said = self.modulus if modulus is None else modulus
            passed = self.end.at - self.start.at
            modulus = rollover(self.start.value, self.end.value, said, register.max_per_day, passed)
        return Segment(
            meter=register.meter,
            serial=self.serial,
            register=register.key,
            obis=self.obis,
            modulus=modulus,
            start=self.start,
            until=self.end,
        )


def charge_session(
    book: Book, terms: Terms, session: EndedSession, course: Track | None = None
) -> tuple[list[Charge], list[Hold]]:
    """What is to be charged for the session, without revision, and what cannot be.

    A place that has a rate for one of energy and cycle only gives the other away; one that has none has no price.
    `course`: that of its register; without, its indexes are believed unless property data name another meter.
    """
    register = book.registers[session.register]
    doubt = _doubt(register, session, course)
    if doubt is not None:
        why = anomaly(register, doubt, None if course is None else course.stranger)
        text = f"nothing is charged for it until its indexes are believed: {why}"
        return [], [_hold(doubt, session, text)]
    segments: tuple[Segment, ...] = (session.segment(register),)
    if course is not None and _exchanged(register, session):
        segments = course.segments(session.counted)
    if any(segment.quantity < Scaled(0, 0) for segment in segments):
        return [], [_hold(NEGATIVE, session, "the index fell during the session: nothing is charged for it")]
    rates = [rate for rate in book.rates.values() if rate.facility == terms.facility]
    parts = _parts(register, segments)
    offered = [part for part in parts if any(fits(rate, part.kind, session.place) for rate in rates)]
    charges: list[Charge] = []
    holds: list[Hold] = []
    for part in offered or parts[:1]:
        price = price_at(rates, part.kind, session.place, session.started_at)
        if price is None:
            holds.append(_hold(NO_PRICE, session, f"no {part.kind[1]} price for {session.place} then: add a rate"))
        else:
            charges.append(_charge(book, terms, session, part, price))
    return charges, holds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One component of a session."""

    kind: Priced
    quantity: Scaled
    segments: tuple[Segment, ...]


def _doubt(register: Register, session: EndedSession, course: Track | None) -> str | None:
    """The fault of its indexes; None where they are to be believed."""
    first, last = session.first_serial, session.serial
    judging = register if course is None else register.judging(course.stranger)
    for at, serial in ((session.start.at, first), (session.end.at, last)):
        fault = None if course is None else course.fault(at)
        named = judging.named(at)
        if fault is None and named and serial and not same_serial(serial, named):
            fault = ANOTHER_METER
        if fault is not None:
            return fault
    if _exchanged(register, session):
        return None if course is not None and course.believes(session.counted) else ANOTHER_METER
    return ANOTHER_METER if first and last and not same_serial(first, last) else None


def _exchanged(register: Register, session: EndedSession) -> bool:
    """Whether another meter took the place of the one that it began with."""
    return any(session.start.at < exchange.at < session.end.at for exchange in register.exchanges)


def _parts(register: Register, segments: tuple[Segment, ...]) -> tuple[_Part, _Part]:
    quantity = reduce(add, (segment.quantity for segment in segments))
    return (
        _Part(kind=priced(register), quantity=quantity, segments=segments),
        _Part(kind=(register.energy_source, "cycle", "cycle"), quantity=Scaled(1, 0), segments=()),
    )


def _charge(book: Book, terms: Terms, session: EndedSession, part: _Part, price: InForce) -> Charge:
    facility = book.facilities[terms.facility]
    energy_source, component, unit = part.kind
    unit_price = price.price.price
    return Charge(
        line_id=session_line_id(terms.facility, session.id, component),
        gateway=terms.gateway,
        facility=terms.facility,
        building=book.points[session.point].building,
        billing_point=session.point,
        register=session.register,
        payer=Payer(id=session.user, role="user", reason="occupancy"),
        energy_source=energy_source,
        component=component,
        title=price.rate.title,
        period=Period(session.started_at, session.ended_at),
        time_zone=facility.time_zone,
        quantity=part.quantity,
        unit=unit,
        unit_price=unit_price,
        amount=to_quantum(part.quantity.fraction * unit_price.fraction, facility.money_quantum),
        amount_is="gross" if price.rate.tax.included else "net",
        currency=facility.currency,
        tax=price.rate.tax,
        quantum=facility.money_quantum,
        rate=RateVersion(id=price.rate.id, version=price.price.version),
        allocation=None,
        segments=part.segments,
        session=SessionRef(
            id=session.id,
            badge=session.badge,
            start=session.started_at,
            end=session.ended_at,
            witness=session.witness,
        ),
        closing=terms.closing,
    )


def _hold(code: str, session: EndedSession, text: str) -> Hold:
    return Hold(
        code=code,
        register=session.register,
        start=session.started_at,
        until=session.ended_at,
        text=f"session {session.id}: {text}",
        point=session.point,
        session=session.id,
    )
