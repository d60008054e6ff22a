"""The charges that a receiver has got, and the lamps that readers have shown, against the truth."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from simulators import pricing
from simulators.laundry import CYCLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from simulators.laundry import Wash
    from simulators.truth import Truth

Sums = dict[tuple[str, str], Decimal]
"""(payer, register) -> quantity or amount"""
_NOTHING = Decimal()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One month: expected and charged amounts by payer, and every difference as a sentence."""

    received: int
    """charges of all months so far"""
    charges: int
    """charges of this month"""
    closed: bool
    """whether the month was charged; what was used with a badge is charged before, as soon as it has ended"""
    compared: int
    """how many pairs of payer and register"""
    amounts: dict[str, tuple[Decimal, Decimal]]
    currency: str
    differences: tuple[str, ...]

    @property
    def table(self) -> list[str]:
        """The amounts, for people."""
        rows = [f"{'payer':<20}{'expected':>12}{'charged':>12} {self.currency}"]
        for payer, (expected, charged) in sorted(self.amounts.items()):
            mark = "" if expected == charged else " <-- differs"
            rows.append(f"{payer:<20}{expected:>12.2f}{charged:>12.2f}{mark}")
        expected, charged = (sum(side, _NOTHING) for side in zip(*self.amounts.values(), strict=True))
        rows.append(f"{'together':<20}{expected:>12.2f}{charged:>12.2f}")
        return rows


def judge(
    truth: Truth,
    start: datetime,
    until: datetime,
    received: Sequence[dict[str, Any]],
    taps: Iterable[tuple[Wash, str]],
) -> Verdict:
    """Compare the month [start, until) with the charges' `data`: what counts is the sum over all revisions.

    `taps`: the lamp that the reader showed to each who has tapped so far.
    """
    charges = [data for data in received if start <= datetime.fromisoformat(data["period"]["from"]) < until]
    lines = pricing.month(truth, start, until)
    used = {pair: Decimal(count * truth.quantum).scaleb(-3) for pair, count in pricing.quantities(lines).items()}
    cost = {pair: Decimal(cents).scaleb(-2) for pair, cents in pricing.amounts(lines).items()}
    charged_use, charged_cost = sums(charges, "quantity"), sums(charges, "amount")
    amounts = {payer: (of(payer, cost), of(payer, charged_cost)) for payer, _ in cost.keys() | charged_cost.keys()}
    differences = [
        *_lamps(tap for tap in taps if start <= tap[0].start < until),
        *_foreign(truth, charges),
        *_quantities(truth, used, charged_use),
        *_costs(truth, amounts, cost, charged_cost),
    ]
    return Verdict(
        received=len(received),
        charges=len(charges),
        closed=any(data["session"] is None for data in charges),
        compared=len(used),
        amounts=amounts,
        currency=truth.currency,
        differences=tuple(differences),
    )


def read(file: Path) -> list[dict[str, Any]]:
    """The `data` of every charge in a receiver's file."""
    with file.open("rb") as lines:
        return [json.loads(line)["data"] for line in lines if line.endswith(b"\n")]


def sums(charges: Iterable[Mapping[str, Any]], name: str) -> Sums:
    """Quantity or amount by payer and register."""
    found: Sums = defaultdict(Decimal)
    for data in charges:
        found[data["payer"]["id"], counted(data)] += Decimal(data[name])
    return dict(found)


def counted(data: Mapping[str, Any]) -> str:
    """What a charge counts: a register, or how often a machine was used."""
    return str(data["register"]) + (CYCLES if data["component"] == "cycle" else "")


def of(payer: str, costs: Sums) -> Decimal:
    """What a payer has in all registers."""
    return sum((amount for (who, _), amount in costs.items() if who == payer), _NOTHING)


def _unequal(expected: Sums, charged: Sums) -> Iterator[tuple[str, str, Decimal, Decimal]]:
    for payer, register in sorted(expected.keys() | charged.keys()):
        pair = expected.get((payer, register), _NOTHING), charged.get((payer, register), _NOTHING)
        if pair[0] != pair[1]:
            yield payer, register, *pair


def _lamps(taps: Iterable[tuple[Wash, str]]) -> Iterator[str]:
    for wash, lamp in taps:
        if lamp != wash.lamp:
            yield f"The reader of {wash.machine} showed {lamp} where {wash.lamp} is right."


def _foreign(truth: Truth, charges: list[dict[str, Any]]) -> Iterator[str]:
    """Charges that count something else than the truth does."""
    units = _units(truth)
    for data in charges:
        unit, priced = units.get(counted(data)), data["currency"]
        if (data["unit"], priced) != (unit, truth.currency):
            yield f"charge {data['charge_id']} is in {data['unit']} and {priced}, not in {unit} and {truth.currency}"


def _units(truth: Truth) -> dict[str, str]:
    units = {counter.register: counter.unit for device in truth.devices for counter in device.counters}
    return units | {machine.register + CYCLES: "cycle" for machine in truth.machines}


def _quantities(truth: Truth, used: Sums, charged: Sums) -> Iterator[str]:
    units = _units(truth)
    for payer, register, right, got in _unequal(used, charged):
        unit = units.get(register, "?")
        yield f"{payer}, {register}: expected {right:.3f} {unit}, charged {got:.3f} {unit}"


def _costs(truth: Truth, amounts: dict[str, tuple[Decimal, Decimal]], cost: Sums, charged: Sums) -> Iterator[str]:
    for payer, (expected, got) in sorted(amounts.items()):
        if expected != got:
            where = [
                f"{register}: expected {right:.2f}, charged {wrong:.2f}"
                for who, register, right, wrong in _unequal(cost, charged)
                if who == payer
            ]
            yield f"{payer}: expected {expected:.2f}, charged {got:.2f} {truth.currency} ({'; '.join(where)})"
