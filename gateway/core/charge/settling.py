"""What should be charged: a pure function of dated property data and the course of every register.

A register's believed stretches are cut into pieces of constant coefficients at every change of links and
keys; within a piece a change of payer or price cuts only the lines of the point concerned. One line is one charge.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from gateway.core.allocation import Coefficients, KeysExceedBuildingError, coefficients, split
from gateway.core.book import building_value, changes, weight
from gateway.core.charge.anomalies import IDENTITY, anomaly
from gateway.core.charge.line import REMAINDER, Allocation, Charge, RateVersion, line_id
from gateway.core.charge.sessions import charge_session
from gateway.core.occupancy import payers
from gateway.core.period import Period
from gateway.core.problem import Hold
from gateway.core.tariff import in_force
from gateway.core.units import Scaled, to_quantum

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.book import Book
    from gateway.core.building import Facility, Key, Link, PointKind, Scope
    from gateway.core.charge.line import Terms
    from gateway.core.charge.sessions import EndedSession
    from gateway.core.metering import Register
    from gateway.core.occupancy import Payer, PayerReason
    from gateway.core.tariff import InForce, Rate
    from gateway.core.track import Segment, Track

ONE = Fraction(1)
METERED_BY_BADGE: frozenset[PointKind] = frozenset({"laundry", "charging"})
"""points whose use belongs to a badge; what no badge stands behind is the owner's"""
NO_READING = "no reading on both sides yet: charged once it arrives"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What should be charged, and what cannot be."""

    charges: tuple[Charge, ...]
    """without revision: `compare` numbers them"""
    holds: tuple[Hold, ...]
    warnings: tuple[Hold, ...] = ()
    """charged nevertheless"""

    def __add__(self, other: Settlement) -> Settlement:
        return Settlement(
            charges=self.charges + other.charges,
            holds=self.holds + other.holds,
            warnings=self.warnings + other.warnings,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One stretch of one point (None: the remainder) within a piece, with one payer and one price."""

    point: str | None
    period: Period
    payer: Payer
    price: InForce | None
    numerator: Fraction
    share: Fraction
    """coefficient of the point"""
    building: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sharing:
    """The rule that a common register is shared by in one piece."""

    scope: Scope
    key: Key
    coefficients: Coefficients


@dataclass(slots=True)
class _Register:
    """One register being settled."""

    book: Book
    terms: Terms
    register: Register
    track: Track
    used: Sequence[Period] = ()
    """in which it counted for sessions, in order of time"""
    charges: list[Charge] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    warnings: list[Hold] = field(default_factory=list)

    @property
    def facility(self) -> Facility:
        return self.book.facilities[self.terms.facility]

    @property
    def rates(self) -> list[Rate]:
        return [rate for rate in self.book.rates.values() if rate.facility == self.terms.facility]

    def rest(self, period: Period) -> list[Period]:
        """The parts of the period in which it counted for no session."""
        pieces = period.cut(edge for used in self.used for edge in (used.start, used.until))
        return [piece for piece in pieces if not any(piece.overlap(used) for used in self.used)]

    def quantity(self, period: Period) -> int:
        """What it counted for no session, in steps of the track."""
        return sum(self.track.quantity(part) for part in self.rest(period))

    def segments(self, period: Period) -> tuple[Segment, ...]:
        """The evidence of `quantity`."""
        return tuple(segment for part in self.rest(period) for segment in self.track.segments(part))

    def hold(self, code: str, period: Period, text: str, point: str | None = None) -> Hold:
        return Hold(
            code=code, register=self.register.id, start=period.start, until=period.until, text=text, point=point
        )


def settle(
    book: Book,
    tracks: Mapping[str, Track],
    terms: Terms,
    seams: Mapping[str, Iterable[datetime]] | None = None,
    sessions: Sequence[EndedSession] = (),
) -> Settlement:
    """Everything that should be charged in the period for the registers of the facility that have a track.

    Registers do not depend on each other: settling them in parts gives the same. `tracks` holds the course of
    each register by its id; `seams` the instants where charges already published
    for a register ended before the period did, so that what arrives later becomes a further charge. `sessions`
    are those of the facility of which a part lies in the period: what a register counted for them is charged
    with them, in the period in which they ended.
    """
    results = []
    for register in sorted(book.registers.values(), key=lambda one: one.id):
        if register.id in tracks and book.facility_of_register(register.id) == terms.facility:
            used = sorted(session.counted for session in sessions if session.register == register.id)
            one = _Register(book=book, terms=terms, register=register, track=tracks[register.id], used=used)
            _settle_register(one, (seams or {}).get(register.id, ()))
            results.append(one)
    charges = [charge for one in results for charge in one.charges]
    holds = [hold for one in results for hold in one.holds]
    for session in sessions:
        if session.register in tracks and session.ended_at in terms.period:
            found, held = charge_session(book, terms, session, tracks[session.register])
            charges += found
            holds += held
    warnings = tuple(warning for one in results for warning in one.warnings)
    return Settlement(charges=tuple(charges), holds=tuple(holds), warnings=warnings)


def _settle_register(one: _Register, seams: Iterable[datetime]) -> None:
    links = one.book.links_of(one.register.id)
    cuts = [*changes(one.book, links), *(seam for seam in seams if one.track.known(seam))]
    try:
        for span in _believed(one):
            for piece in span.cut(cuts):
                _settle_piece(one, piece, [link for link in links if piece.start in link.period])
    except KeysExceedBuildingError as error:
        # nothing of a register is charged whose keys contradict the building in any part of the period
        one.charges.clear()
        text = f"{one.register.id}: {error}; correct the units' or the building's values"
        one.holds = [one.hold("keys_exceed_building", one.terms.period, text)]


def _believed(one: _Register) -> list[Period]:
    """The stretches of the billing period that are between readings and touch no anomaly; the others are held."""
    period, extent = one.terms.period, one.track.extent
    if extent is None:
        one.holds.append(replace(one.hold("outside", period, NO_READING), first=True))
        return []
    head = Period(period.start, min(extent.start, period.until))
    tail = Period(max(extent.until, period.start), period.until)
    if not head.empty:
        text = "before the first reading: charging starts with it"
        one.holds.append(replace(one.hold("not_started", head, text), first=True))
    if not tail.empty:
        one.holds.append(one.hold("outside", tail, NO_READING))
    covered = extent.overlap(period)
    if covered is None:
        return []
    blocked = [(part, code) for stretch, code in one.track.blocked() if (part := stretch.overlap(covered))]
    stranger = one.track.stranger
    for part, code in blocked:
        hold = one.hold(code, part, anomaly(one.register, code, stranger))
        since = stranger.since if stranger is not None and code == IDENTITY else None
        one.holds.append(replace(hold, since=since))
    pieces = covered.cut(edge for part, _ in blocked for edge in (part.start, part.until))
    return [piece for piece in pieces if not any(piece.overlap(part) for part, _ in blocked)]


def _settle_piece(one: _Register, piece: Period, links: Sequence[Link]) -> None:
    sharing = _sharing(one, piece, links)
    lines = list(_lines(one, piece, links, sharing))
    parts = [part for line in lines for part in one.rest(line.period)]
    edges = {edge for part in parts for edge in (part.start, part.until)}
    if not all(one.track.known(edge) for edge in edges):
        one.holds.append(one.hold("outside", piece, "no measured reading on both sides of a change inside"))
        return
    if sharing is None:
        for line in (line for line in lines if one.rest(line.period)):
            _charge(one, line, Scaled(one.quantity(line.period), one.track.exponent), None)
        return
    for line, (quantity, allocation) in zip(lines, _allocate(one, piece, sharing, lines), strict=True):
        _charge(one, line, Scaled(quantity, one.track.exponent), allocation)


def _sharing(one: _Register, piece: Period, links: Sequence[Link]) -> _Sharing | None:
    """The rule of common links; None where one point, or nobody, takes the whole register."""
    first = next(iter(links), None)
    if first is None or first.scope is None or first.key is None:
        return None
    building = one.book.buildings[one.book.points[first.point].building]
    weights = {link.point: weight(one.book, link, piece.start) or Fraction(0) for link in links}
    shares = coefficients(first.scope, first.key, building_value(building, first.key, piece.start), weights)
    if not shares.denominator:
        text = f"nobody has any {first.key}: all of {one.register.id} goes to the remainder"
        one.warnings.append(one.hold("zero_denominator", piece, text))
    return _Sharing(scope=first.scope, key=first.key, coefficients=shares)


def _lines(one: _Register, piece: Period, links: Sequence[Link], sharing: _Sharing | None) -> Iterable[_Line]:
    """By point, then time; the remainder last. A point without weight has no line."""
    if not links:
        yield from _stretches(one, piece, _Taker(point=None, building=None, gap="unassigned"))
        return
    if sharing is None:
        yield from _stretches(one, piece, _taker(one, links[0].point))
        return
    shares = sharing.coefficients
    for link in links:
        taker = _taker(one, link.point, shares.numerators[link.point], shares.of(link.point))
        if taker.share:
            yield from _stretches(one, piece, taker)
    if shares.remainder:
        building = one.book.points[links[0].point].building
        rest = _Taker(
            point=None, building=building, gap="remainder", numerator=shares.remaining, share=shares.remainder
        )
        yield from _stretches(one, piece, rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taker:
    """Who takes a share of a register: a point, or the owner of a building or facility."""

    point: str | None
    building: str | None
    gap: PayerReason
    """why the owner pays where no user does"""
    numerator: Fraction = ONE
    share: Fraction = ONE


def _taker(one: _Register, point: str, numerator: Fraction = ONE, share: Fraction = ONE) -> _Taker:
    building = one.book.points[point].building
    gap: PayerReason = "unattributed" if one.book.points[point].kind in METERED_BY_BADGE else "vacancy"
    return _Taker(point=point, building=building, gap=gap, numerator=numerator, share=share)


def _stretches(one: _Register, piece: Period, taker: _Taker) -> Iterable[_Line]:
    """The piece cut at the taker's changes of payer and price."""
    book = one.book
    targets: tuple[tuple[str, str], ...] = (("facility", one.terms.facility),)
    if taker.building is not None:
        targets = book.targets_of_building(taker.building)
    if taker.point is not None:
        targets = book.targets_of_point(taker.point)
    stays = [stay for stay in book.occupancies.values() if stay.point == taker.point]
    for paid, payer in payers(stays, list(book.owners.values()), targets, piece, taker.gap):
        for stretch, price in in_force(one.rates, one.register, taker.point, paid):
            yield _Line(
                point=taker.point,
                period=stretch,
                payer=payer,
                price=price,
                numerator=taker.numerator,
                share=taker.share,
                building=taker.building,
            )


def _allocate(
    one: _Register, piece: Period, sharing: _Sharing, lines: Sequence[_Line]
) -> Iterable[tuple[int, Allocation]]:
    """One largest remainder over all lines of the piece."""
    total = one.quantity(piece)
    fractions = tuple(line.share * _part(one, piece, line.period, total) for line in lines)
    for position, quantity in enumerate(split(total, fractions)):
        allocation = Allocation(
            scope=sharing.scope,
            key=sharing.key,
            numerator=lines[position].numerator,
            denominator=sharing.coefficients.denominator,
            total=Scaled(total, one.track.exponent),
            quantum=Scaled(1, one.track.exponent),
            fractions=fractions,
            position=position,
        )
        yield quantity, allocation


def _part(one: _Register, piece: Period, stretch: Period, total: int) -> Fraction:
    """Which part of the piece was counted in the stretch; by time where nothing was counted at all."""
    if total:
        return Fraction(one.quantity(stretch), total)
    return Fraction(stretch.microseconds, piece.microseconds)


def _charge(one: _Register, line: _Line, quantity: Scaled, allocation: Allocation | None) -> None:
    if line.price is None:
        text = f"no price for {one.register.energy_source} {one.register.component} in {one.register.unit}: add a rate"
        one.holds.append(one.hold("no_price", line.period, text, line.point))
        return
    rate, price, register, terms = line.price.rate, line.price.price, one.register, one.terms
    point = line.point or REMAINDER
    one.charges.append(
        Charge(
            line_id=line_id(terms.facility, point, register.id, register.component, terms.period),
            gateway=terms.gateway,
            facility=terms.facility,
            building=line.building,
            billing_point=point,
            register=register.id,
            payer=line.payer,
            energy_source=register.energy_source,
            component=register.component,
            title=rate.title,
            period=line.period,
            time_zone=one.facility.time_zone,
            quantity=quantity,
            unit=register.unit,
            unit_price=price.price,
            amount=to_quantum(quantity.fraction * price.price.fraction, one.facility.money_quantum),
            amount_is="gross" if rate.tax.included else "net",
            currency=one.facility.currency,
            tax=rate.tax,
            quantum=one.facility.money_quantum,
            rate=RateVersion(id=rate.id, version=price.version),
            allocation=allocation,
            segments=one.segments(line.period),
            closing=terms.closing,
        )
    )
