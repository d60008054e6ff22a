"""What a month must cost whom: the simulator's own small calculation, to compare the gateway's charges with.

A register's month is cut into pieces at every change of a value that shares it. Within a piece each line is one
place, one payer and one price; the quanta of the piece are shared by largest remainder over all its lines.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from simulators.laundry import CYCLES
from simulators.truth import TruthError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from simulators.laundry import Wash
    from simulators.truth import Counter, Price, Truth

REMAINDER = "_remainder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a statement: [start, until), whole quanta, whole hundredths of the currency."""

    register: str
    place: str
    payer: str
    start: datetime
    until: datetime
    quantity: int
    amount: int


def month(truth: Truth, start: datetime, until: datetime) -> list[Line]:
    """Every line of every register for [start, until)."""
    lines = []
    for device in truth.devices:
        for counter in device.counters:
            dated = [truth.places[place].values.get(counter.share_by or "") for place in counter.places]
            dated.append(truth.values.get(counter.share_by or "") if counter.scope == "building" else None)
            changes = [at for values in dated if values is not None for at, _ in values.steps]
            for piece in pairwise(cut(start, until, changes)):
                lines += _piece(truth, counter, *piece)
    places = {machine.id: machine.place for machine in truth.machines}
    for wash in truth.washes:
        if wash.energy and start <= wash.start < until:
            lines += _wash(truth, wash, places[wash.machine])
    return lines


def _wash(truth: Truth, wash: Wash, place: str) -> list[Line]:
    """Its energy and its cycle, at the prices that hold at its start where the machine stands."""
    parts = [("electricity", wash.register, wash.energy), ("cycle", wash.register + CYCLES, 1000)]
    return [
        Line(
            register=register,
            place=wash.place,
            payer=wash.who,
            start=wash.start,
            until=wash.until,
            quantity=thousandths // truth.quantum,
            amount=_money(thousandths, _price_at(_prices(truth, source, place), wash.start)),
        )
        for source, register, thousandths in parts
    ]


def quantities(lines: Iterable[Line]) -> dict[tuple[str, str], int]:
    """(payer, register) -> quanta."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for line in lines:
        sums[line.payer, line.register] += line.quantity
    return dict(sums)


def amounts(lines: Iterable[Line]) -> dict[tuple[str, str], int]:
    """(payer, register) -> hundredths of the currency."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for line in lines:
        sums[line.payer, line.register] += line.amount
    return dict(sums)


def shares(truth: Truth, counter: Counter, at: datetime) -> dict[str, Fraction]:
    """Place -> its part of the register; in Building scope they may add up to less than 1."""
    if counter.share_by is None:
        return dict.fromkeys(counter.places, Fraction(1))
    weights = {place: truth.places[place].values[counter.share_by].at(at) for place in counter.places}
    whole = truth.values[counter.share_by].at(at) if counter.scope == "building" else sum(weights.values())
    return {place: weight / whole if whole else Fraction(0) for place, weight in weights.items()}


def largest_remainder(total: int, exact: list[Fraction]) -> list[int]:
    """Whole parts of the total: floors, the spare ones by larger fraction, then by place in the list."""
    parts = [part.__floor__() for part in exact]
    order = sorted((i for i, part in enumerate(exact) if part), key=lambda i: (parts[i] - exact[i], i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts


def cut(start: datetime, until: datetime, instants: Iterable[datetime]) -> list[datetime]:
    """The borders of [start, until) with every instant between them, in order."""
    return sorted({start, until, *(at for at in instants if start < at < until)})


def _piece(truth: Truth, counter: Counter, start: datetime, until: datetime) -> list[Line]:
    """The lines of one register over a time in which its shares stay the same."""

    def used(begin: datetime, end: datetime) -> int:
        steps = truth.unbadged(counter, end) - truth.unbadged(counter, begin)
        return steps * counter.step // truth.quantum

    parts = sorted(shares(truth, counter, start).items())
    rest = Fraction(1) - sum(part for _, part in parts)
    drafts = []
    for place, part in [*parts, (REMAINDER, rest)]:
        tariff = _prices(truth, counter.source, place)
        borders = cut(start, until, [*_moves(truth, place), *(price.start for price in tariff)])
        drafts += [(place, begin, end, part * used(begin, end), tariff) for begin, end in pairwise(borders) if part]
    quanta = largest_remainder(used(start, until), [draft[3] for draft in drafts])
    return [
        Line(
            register=counter.register,
            place=place,
            payer=_payer(truth, place, begin),
            start=begin,
            until=end,
            quantity=count,
            amount=_money(count * truth.quantum, _price_at(tariff, begin)),
        )
        for (place, begin, end, _, tariff), count in zip(drafts, quanta, strict=True)
    ]


def _moves(truth: Truth, place: str) -> list[datetime]:
    stays = truth.places[place].stays if place != REMAINDER else ()
    return [at for stay in stays for at in (stay.start, stay.until) if at is not None]


def _payer(truth: Truth, place: str, at: datetime) -> str:
    if place == REMAINDER:
        return truth.owner
    here = truth.places[place]
    present = [stay.who for stay in here.stays if stay.start <= at and (stay.until is None or at < stay.until)]
    return present[0] if present else here.owner


def _prices(truth: Truth, source: str, place: str) -> list[Price]:
    own = [price for price in truth.prices if price.source == source and place in price.places]
    return own or [price for price in truth.prices if price.source == source and not price.places]


def _price_at(tariff: list[Price], at: datetime) -> Decimal:
    in_force = [price for price in tariff if price.start <= at]
    if not in_force:
        message = f"devices.toml: something flows at {at.isoformat()} that has no price. Add a [[price]] for it."
        raise TruthError(message)
    return max(in_force, key=lambda price: price.start).price


def _money(thousandths: int, price: Decimal) -> int:
    """Hundredths of the currency, rounded half up."""
    return (Fraction(thousandths, 1000) * Fraction(price) * 100 + Fraction(1, 2)).__floor__()
