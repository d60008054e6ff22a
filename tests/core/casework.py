"""Turns a worked case into property data and readings, runs the engine, and gives its answer in the case's words."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import lcm
from typing import Any

from gateway.core.allocation import split, split_money
from gateway.core.book import Book
from gateway.core.building import BillingPoint, Building, Dated, Facility, Link
from gateway.core.charge import (
    REMAINDER,
    Charge,
    Settlement,
    Terms,
    charge_id,
    compare,
    seams,
    settle,
)
from gateway.core.metering import Exchange, Meter, Reading, Register
from gateway.core.occupancy import Occupancy, Ownership, overlaps, payers, stay
from gateway.core.period import MAX, MIN, Period, local_date, midnight
from gateway.core.tariff import Price, Rate, Tax
from gateway.core.track import track
from gateway.core.units import Scaled

Case = dict[str, Any]
DEFAULT_ZONE = "Europe/Zurich"
PENDING = {"outside", "not_started"}
"""no measured reading on one side"""


def instant(text: str | None, zone: str, absent: datetime) -> datetime:
    """A bare date is 00:00 local, a date-time is itself, None is open."""
    if text is None:
        return absent
    if len(text) == len("2025-01-01"):
        return midnight(date.fromisoformat(text), zone)
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def period(given: Case, zone: str) -> Period:
    """From the keys `from` and `until`."""
    return Period(instant(given.get("from"), zone, MIN), instant(given.get("until"), zone, MAX))


def shown(moment: datetime, zone: str) -> str:
    """As the cases write it: a date where it is local midnight."""
    day = local_date(moment, zone)
    return day.isoformat() if midnight(day, zone) == moment else moment.isoformat()


def scaled(text: str, factor: int = 1) -> Scaled:
    number = Scaled.parse(text)
    return Scaled(number.digits * factor, number.exponent)


def readings(given: list[Case], zone: str, factor: int = 1) -> list[Reading]:
    return [
        Reading(
            meter="m",
            register="r",
            at=instant(one["at"], zone, MIN),
            index=scaled(one["value"], factor),
            unit="kWh",
            origin=one.get("quality", "measured"),
        )
        for one in given
    ]


def facility(given: Case) -> Facility:
    return Facility(
        id="f",
        name="f",
        time_zone=given.get("timezone", DEFAULT_ZONE),
        currency="CHF",
        money_quantum=Scaled.parse(given.get("money_quantum", "0.01")),
        grace=timedelta(0),
        boundary_tolerance=timedelta(0),
    )


def register(given: Case, exponent: int, factor: int = 1) -> Register:
    zone = given.get("timezone", DEFAULT_ZONE)
    return Register(
        id="r",
        meter="m",
        key="r",
        energy_source="electricity",
        unit="kWh",
        exponent=exponent,
        modulus=scaled(given["register_modulus"], factor) if "register_modulus" in given else None,
        max_per_day=scaled(given["max_per_day"], factor) if "max_per_day" in given else None,
        exchanges=tuple(
            Exchange(
                at=instant(one["at"], zone, MIN), final=scaled(one["final"], factor), start=scaled(one["start"], factor)
            )
            for one in given.get("exchanges", [])
        ),
    )


def rate(prices: list[Case], zone: str) -> Rate:
    versions = [
        Price(version=number, period=period(one, zone), price=Scaled.parse(one["price"]))
        for number, one in enumerate(prices, 1)
    ]
    return Rate(
        id="rate",
        facility="f",
        energy_source="electricity",
        component="energy",
        title="t",
        unit="kWh",
        tax=Tax(category="O", rate=Scaled(0, 0), included=True),
        prices=tuple(versions),
    )


def stays(given: list[Case], point: str, zone: str) -> dict[str, Occupancy]:
    return {
        f"{point}-{number:03}": Occupancy(
            id=f"{point}-{number:03}", point=point, user=one["user"], period=period(one, zone)
        )
        for number, one in enumerate(given)
    }


def book_with(given: Case, **parts: Any) -> Book:  # noqa: ANN401  the parts are the book's own
    return Book(
        facilities={"f": facility(given)},
        meters={"m": Meter(id="m", facility="f", name="m")},
        owners={"own": Ownership(id="own", user=given["owner"], target=("facility", "f"))},
        **parts,
    )


def _settle(book: Book, given: Case, factor: int = 1, standing: tuple[Charge, ...] = ()) -> Settlement:
    zone = given.get("timezone", DEFAULT_ZONE)
    course = track(book.registers["r"], readings(given["readings"], zone, factor))
    billing = period(given["period"], zone)
    terms = Terms(gateway="g", facility="f", period=billing, closing="c")
    return settle(book, {"r": course}, terms, seams(standing, billing))


def meteredbook_with(given: Case) -> Book:
    zone = given.get("timezone", DEFAULT_ZONE)
    resolution = Scaled.parse(given.get("meter_resolution", "0.001"))
    return book_with(
        given,
        buildings={"b": Building(id="b", facility="f", name="b")},
        points={"p": BillingPoint(id="p", building="b", name="p", kind="apartment")},
        occupancies=stays(given["occupancies"], "p", zone),
        registers={"r": register(given, resolution.exponent)},
        links={"l": Link(id="l", register="r", point="p")},
        rates={"rate": rate(given["prices"], zone)},
    )


def charge_metered(given: Case) -> Case:
    return _metered_answer(given, _settle(meteredbook_with(given), given))


def _metered_answer(given: Case, settlement: Settlement) -> Case:
    zone = given.get("timezone", DEFAULT_ZONE)
    overlap = overlaps(meteredbook_with(given).occupancies.values())
    if overlap:
        return {"error": overlap[0].code}
    holds = [(shown(one.start, zone), shown(one.until, zone), one.code) for one in settlement.holds]
    return {
        "lines": [_line(one, zone) for one in settlement.charges],
        "pending": [{"from": one[0], "until": one[1]} for one in holds if one[2] in PENDING],
        "blocked": [{"from": one[0], "until": one[1], "code": one[2]} for one in holds if one[2] not in PENDING],
        "warnings": [one.code for one in settlement.warnings],
    }


def _line(charge: Charge, zone: str) -> Case:
    qualities = {index.quality for part in charge.segments for index in (part.start, part.until)}
    return {
        "payer": charge.payer.id,
        "from": shown(charge.period.start, zone),
        "until": shown(charge.period.until, zone),
        "quantity": str(charge.quantity),
        "unit_price": str(charge.unit_price),
        "amount": str(charge.amount),
        "estimated": bool(qualities & {"interpolated", "substituted"}),
    }


def _exact_factor(given: Case) -> int:
    """What the readings are multiplied by so that every interpolated index is a whole number of steps.

    The cases of `allocate` know no meter resolution: their quantities are exact fractions.
    """
    zone = given.get("timezone", DEFAULT_ZONE)
    instants = sorted({one.at for one in readings(given["readings"], zone)})
    spans = [Period(first, last).microseconds // 1_000_000 for first in instants for last in instants if first < last]
    return lcm(*spans) if spans else 1


def allocationbook_with(given: Case, factor: int) -> Book:
    zone = given.get("timezone", DEFAULT_ZONE)
    decimals = min([0, *(Scaled.parse(one["value"]).exponent for one in given["readings"])])
    key, value = given["key"], given.get("building_value")
    points: dict[str, BillingPoint] = {}
    links: dict[str, Link] = {}
    occupancies: dict[str, Occupancy] = {}
    for unit in given["units"]:
        name = unit["id"]
        points[name] = BillingPoint(id=name, building="b", name=name, kind="apartment")
        span = Period(instant(unit.get("link_from"), zone, MIN), instant(unit.get("link_until"), zone, MAX))
        steps = tuple((instant(one["from"], zone, MIN), Scaled.parse(one["value"])) for one in unit["key"])
        dated = Dated(steps=tuple(sorted(steps, key=lambda step: step[0])))
        links[name] = Link(id=name, register="r", point=name, period=span, scope=given["scope"], key=key, value=dated)
        occupancies |= stays(unit.get("occupancies", []), name, zone)
    values = {} if value is None else {key: Dated(steps=((MIN, Scaled.parse(value)),))}
    return book_with(
        given,
        buildings={"b": Building(id="b", facility="f", name="b", values=values)},
        points=points,
        occupancies=occupancies,
        links=links,
        registers={"r": register(given, decimals, factor)},
        rates={"rate": rate([{"price": "1", "from": None, "until": None}], zone)},
    )


def allocate(given: Case) -> Case:
    factor = _exact_factor(given)
    book = allocationbook_with(given, factor)
    overlap = overlaps(book.occupancies.values())
    settlement = _settle(book, given, factor)
    codes = [one.code for one in settlement.holds if one.code not in PENDING]
    if overlap or codes:
        return {"error": (overlap or settlement.holds)[0].code if overlap else codes[0]}
    shares: dict[tuple[str, str], Fraction] = {}
    for charge in sorted(
        settlement.charges, key=lambda one: (one.billing_point == REMAINDER, one.billing_point, one.period)
    ):
        assert charge.allocation is not None
        exact = charge.allocation.total.fraction * charge.allocation.fractions[charge.allocation.position] / factor
        name = (charge.billing_point, charge.payer.id)
        shares[name] = shares.get(name, Fraction(0)) + exact
    if given.get("quantity_quantum"):
        shares = _in_quanta(shares, Scaled.parse(given["quantity_quantum"]).fraction)
    return _allocation_answer(settlement, shares)


def _in_quanta(shares: dict[tuple[str, str], Fraction], quantum: Fraction) -> dict[tuple[str, str], Fraction]:
    total = sum(shares.values(), Fraction(0))
    if not total:
        return shares
    parts = split(int(total / quantum), [share / total for share in shares.values()])
    return {name: part * quantum for name, part in zip(shares, parts, strict=True)}


def _allocation_answer(settlement: Settlement, shares: dict[tuple[str, str], Fraction]) -> Case:
    rest = [(payer, amount) for (point, payer), amount in shares.items() if point == REMAINDER]
    rules = {one.billing_point: one.allocation for one in settlement.charges if one.billing_point != REMAINDER}
    return {
        "coefficients": {point: str(rule.numerator / rule.denominator) for point, rule in rules.items() if rule},
        "pending": [],
        "blocked": [],
        "lines": [
            {"unit": point, "payer": payer, "quantity": str(amount)}
            for (point, payer), amount in shares.items()
            if point != REMAINDER
        ],
        "remainder": None if not rest else {"payer": rest[0][0], "quantity": str(sum(one[1] for one in rest))},
        "warnings": [one.code for one in settlement.warnings],
    }


def occupancy_timeline(given: Case) -> Case:
    zone = given.get("timezone", DEFAULT_ZONE)
    found = []
    for number, one in enumerate(given["stays"]):
        last = date.fromisoformat(one["exit_date"]) if one["exit_date"] else None
        span = stay(date.fromisoformat(one["entry_date"]), last, zone)
        found.append(Occupancy(id=str(number), point="p", user=one["user"], period=span))
    overlap = overlaps(found)
    if overlap:
        return {"error": overlap[0].code}
    owners = [Ownership(id="own", user=given["owner"], target=("point", "p"))]
    line = payers(found, owners, [("point", "p")], period(given["period"], zone))
    return {
        "timeline": [
            {"user": payer.id, "from": shown(span.start, zone), "until": shown(span.until, zone)}
            for span, payer in line
        ]
    }


def divide_money(given: Case) -> Case:
    weights = {name: Fraction(text) for name, text in given["weights"].items()}
    amounts = split_money(Scaled.parse(given["amount"]), Scaled.parse(given["quantum"]), weights)
    return {"amounts": {name: str(amount) for name, amount in amounts.items()}}


def correction(given: Case) -> Case:
    """Settle, publish, learn something later, settle again: what is published then."""
    base = given["base"]
    first = _settle(meteredbook_with(base), base)
    published = compare(first.charges, [])
    later = {**base, "readings": base["readings"] + given.get("late", [])}
    later["occupancies"] = given.get("new_occupancies", base["occupancies"])
    later["prices"] = given.get("new_prices", base["prices"])
    again = _settle(meteredbook_with(later), later, standing=tuple(published))
    corrections = compare(again.charges, published, holds=again.holds)
    known = {charge_id(one) for one in published}
    assert all(one.replaces in known for one in corrections if one.kind == "reversal")
    zone = base.get("timezone", DEFAULT_ZONE)
    return {
        "first": [_line(one, zone) for one in published],
        "corrections": [{"payer": one.payer.id, "kind": one.kind, "amount": str(one.amount)} for one in corrections],
        "net": str(sum((one.amount.fraction for one in corrections), Fraction(0))),
    }


OPERATIONS = {
    "allocate": allocate,
    "occupancy_timeline": occupancy_timeline,
    "charge_metered": charge_metered,
    "split_money": divide_money,
    "correction": correction,
    "correction_move": correction,
}
