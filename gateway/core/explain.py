"""A charge as arithmetic that can be read aloud, every number as it was published."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.core.charge import REMAINDER
from gateway.core.period import Period
from gateway.core.units import Scaled, plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from gateway.core.charge import Allocation, Charge
    from gateway.core.track import Index, Point, Segment

_BOUND = "an index entered by hand or kept by the meter between them bounds it, or a small backflow holds a higher one"
_WHY = {
    "occupancy": "lives or works there in this period",
    "vacancy": "owns it, and nobody occupied it in this period",
    "remainder": "owns the building and carries what no unit takes",
    "unattributed": "is the owner: nobody's badge stands behind this use",
    "unassigned": "is the owner: the register was linked to no billing point",
}
_QUALITY = {
    "measured": "read from the meter",
    "stored": "kept by the meter itself for that date",
    "bracketed": "between two readings close together",
    "interpolated": "estimated between two readings",
    "manual": "read by hand",
    "substituted": "substituted",
}
_KIND = {"charge": "", "reversal": "takes back", "adjustment": "adjusts"}
_KEYS = {
    "percentage": "{} percent",
    "volume": "{} m3",
    "surface": "{} m2",
    "quotity": "a quotity of {}",
    "people": "{} people",
}
DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What to call users, points and registers' meters instead of their ids, where it is known."""

    users: Mapping[str, str] = field(default_factory=dict)
    points: Mapping[str, str] = field(default_factory=dict)
    meters: Mapping[str, str] = field(default_factory=dict)
    exchanges: Mapping[str, Collection[datetime]] = field(default_factory=dict)
    """register -> when its meter was exchanged"""
    statuses: Mapping[tuple[str, datetime], str] = field(default_factory=dict)
    """(meter, instant) -> what it reported of itself with the reading of that instant"""


def explain_charge(charge: Charge, charge_id: str, names: Names) -> list[str]:
    """The lines of the explanation."""
    lines = [f"Charge {charge_id}", f"{charge.title}: {charge.amount} {charge.currency}"]
    if charge.kind != "charge":
        why = f" ({(charge.reason or 'other').replace('_', ' ')})"
        lines.append(f"It {_KIND[charge.kind]} charge {charge.replaces}{why}; the numbers below are that charge's.")
    lines += ["", *_who(charge, names), "", "What was counted", *_counted(charge, names)]
    if charge.allocation is not None:
        lines += ["", "How it is shared", *_shared(charge, charge.allocation, names)]
    return [*lines, "", "What it costs", *_cost(charge)]


def _who(charge: Charge, names: Names) -> list[str]:
    payer = _named(charge.payer.id, names.users)
    if charge.billing_point == REMAINDER:
        place = f"the remainder of {charge.building or charge.facility}"
    else:
        place = _named(charge.billing_point, names.points)
    return [
        f"{payer} pays for {place}, because {payer} {_WHY[charge.payer.reason]}.",
        f"Period: {_local(charge.period.start, charge)} to {_local(charge.period.until, charge)} ({charge.time_zone}).",
    ]


def _counted(charge: Charge, names: Names) -> list[str]:
    lines = [line for part in charge.segments for line in _segment(charge, part, names)]
    if len(charge.segments) > 1:
        parts = " + ".join(str(part.quantity) for part in charge.segments)
        lines.append(f"  together: {parts} = {_sum(charge)} {charge.unit}")
    return lines


def _segment(charge: Charge, part: Segment, names: Names) -> list[str]:
    serial = f", serial number {part.serial}" if part.serial else ""
    obis = f" ({part.obis} on the meter)" if part.obis else ""
    difference = f"{part.until.value} - {part.start.value}"
    if part.modulus is not None and part.until.value < part.start.value:
        difference += f" + {part.modulus} (the counter passed its highest number and began again at 0)"
    return [
        f"  {_named(part.meter, names.meters)}, register {part.register}{obis}{serial}:",
        f"    at the start  {part.start.value} {charge.unit}  {_known(part.start, part.meter, charge, names)}",
        f"    at the end    {part.until.value} {charge.unit}  {_known(part.until, part.meter, charge, names)}",
        f"    counted: {difference} = {part.quantity} {charge.unit}",
    ]


def _known(index: Index, meter: str, charge: Charge, names: Names) -> str:
    if index.quality == "manual" and index.at in names.exchanges.get(charge.register, ()):
        return f"entered at the exchange of {_local(index.at, charge)}"
    reported = names.statuses.get((meter, index.at))
    text = f"on {_local(index.at, charge)}, {_QUALITY[index.quality]}{_reporting(reported)}"
    if index.between is None:
        return text
    points = (
        f"{each.value} on {_local(each.at, charge)}{_reporting(names.statuses.get((meter, each.at)))}"
        for each in index.between
    )
    return f"{text}: {' and '.join(points)}{_bounded(index, *index.between)}"


def _bounded(index: Index, left: Point, right: Point) -> str:
    """What a calculator would stumble over: an estimate that is not on the line between its readings, for a third one.

    Nothing for what rounding could explain: an index is a whole number of its register's steps, which are not coarser
    than its last digit that is not 0.
    """
    if right.value < left.value:  # the counter began again at 0
        return ""
    share = Fraction(Period(left.at, index.at).microseconds, Period(left.at, right.at).microseconds)
    line = left.value.fraction + (right.value - left.value).fraction * share
    step = Fraction(10) ** (index.value.exponent + _zeros(index.value.digits))
    if abs(line - index.value.fraction) * 2 <= step:
        return ""
    return f"; {_BOUND}"


def _zeros(digits: int) -> int:
    return len(str(digits)) - len(str(digits).rstrip("0")) if digits else 0


def _reporting(status: str | None) -> str:
    return "" if status is None else f" (the meter reported {status})"


def _shared(charge: Charge, rule: Allocation, names: Names) -> list[str]:
    whole = f"building {charge.building}" if rule.scope == "building" else "all units that share this meter"
    who = (
        "What is left for the owner"
        if charge.billing_point == REMAINDER
        else _named(charge.billing_point, names.points)
    )
    if not rule.denominator:
        return [f"  No unit has any {rule.key}: all of it falls to the owner."]
    has, of = (_KEYS[rule.key].format(plain(value)) for value in (rule.numerator, rule.denominator))
    exact = rule.fractions[rule.position] * rule.total.fraction
    product = f"{_sum(charge)} {charge.unit} x {plain(rule.numerator)} / {plain(rule.denominator)}"
    lines = [
        f"  {who}: {has}; {whole}: {of}.",
        f"  Share: {product} = {_shown(exact)} {charge.unit}",
    ]
    if exact != abs(charge.quantity.fraction):
        lines.append(
            f"  In whole steps of {rule.quantum} {charge.unit}, so that all shares together are the {rule.total} "
            f"{charge.unit} that were shared by these keys: {_magnitude(charge.quantity)} {charge.unit}"
        )
    return lines


def _cost(charge: Charge) -> list[str]:
    exact = charge.quantity.fraction * charge.unit_price.fraction
    product = (
        f"  {charge.quantity} {charge.unit} x {charge.unit_price} {charge.currency} = {_shown(exact)} {charge.currency}"
    )
    if exact != charge.amount.fraction:
        product += f", rounded to {charge.quantum}: {charge.amount} {charge.currency}"
    tax = "included" if charge.amount_is == "gross" else "not included"
    return [
        product,
        f"  Price: rate {charge.rate.id}, version {charge.rate.version}; tax {charge.tax.rate} %, {tax}.",
    ]


def _sum(charge: Charge) -> Scaled:
    total = Scaled(0, 0)
    for part in charge.segments:
        total += part.quantity
    return total


def _magnitude(value: Scaled) -> Scaled:
    return Scaled(abs(value.digits), value.exponent)


def _shown(value: Fraction) -> str:
    """Exactly where that takes few decimals, else cut off and marked."""
    text = plain(value)
    if "/" not in text and len(text.partition(".")[2]) <= DECIMALS:
        return text
    return f"{Scaled.rounded(value, -DECIMALS)}..."


def _named(key: str, names: Mapping[str, str]) -> str:
    return names.get(key, key)


def _local(instant: datetime, charge: Charge) -> str:
    return instant.astimezone(ZoneInfo(charge.time_zone)).strftime("%d.%m.%Y %H:%M")
