"""What must hold for every building: the invariants of the worked cases, over random ones."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.allocation import split, split_money
from gateway.core.building import BillingPoint, Dated
from gateway.core.canonical import canonical
from gateway.core.charge import REMAINDER, Charge, body, charge_id, compare, parse
from gateway.core.occupancy import Occupancy
from gateway.core.period import MIN, Period
from gateway.core.units import Scaled
from tests.core.worlds import KEY, MONTH, World, areas, at, hours, worlds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from gateway.core.metering import Reading

T = TypeVar("T")
QUANTUM = Fraction(1, 1000)
CENT = Fraction(1, 100)


def exact(charge: Charge) -> Fraction:
    """The quantity before rounding."""
    if charge.allocation is None:
        return charge.quantity.fraction
    return charge.allocation.fractions[charge.allocation.position] * charge.allocation.total.fraction


def exact_by_payer(charges: Iterable[Charge]) -> dict[tuple[str, str], Fraction]:
    found: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for charge in charges:
        found[charge.billing_point, charge.payer.id] += exact(charge)
    return {name: value for name, value in found.items() if value}


def money(charges: Iterable[Charge]) -> Fraction:
    return sum((charge.amount.fraction for charge in charges), Fraction(0))


@given(worlds())
def test_lines_and_remainder_are_what_the_register_counted(world: World) -> None:
    settlement = world.settle()
    assert not settlement.holds
    counted = Fraction(world.track().quantity(MONTH), 1000)
    assert sum(charge.quantity.fraction for charge in settlement.charges) == counted
    assert sum(exact(charge) for charge in settlement.charges) == counted


@given(worlds(), hours)
def test_cutting_the_period_changes_nothing_before_rounding_and_one_quantum_a_piece_after(
    world: World, hour: int
) -> None:
    whole = world.settle().charges
    halves = [world.settle(piece).charges for piece in MONTH.cut([at(hour)])]
    parts = [charge for half in halves for charge in half]
    assert exact_by_payer(whole) == exact_by_payer(parts)
    for name, value in quantities(whole).items():
        pieces = sum((charge.billing_point, charge.payer.id) == name for charge in (*whole, *parts))
        assert abs(value - quantities(parts)[name]) <= QUANTUM * pieces


def quantities(charges: Iterable[Charge]) -> dict[tuple[str, str], Fraction]:
    found: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for charge in charges:
        found[charge.billing_point, charge.payer.id] += charge.quantity.fraction
    return found


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_changes_no_byte(world: World, random: Random) -> None:
    def shuffled(items: Mapping[str, T]) -> dict[str, T]:
        pairs = list(items.items())
        random.shuffle(pairs)
        return dict(pairs)

    book = world.book
    mixed = replace(
        book,
        points=shuffled(book.points),
        links=shuffled(book.links),
        occupancies=shuffled(book.occupancies),
    )
    again = World(book=mixed, readings=tuple(reversed(world.readings)))
    assert [canonical(body(one)) for one in world.charges()] == [canonical(body(one)) for one in again.charges()]


@given(worlds())
def test_settling_twice_gives_the_same_ids_and_publishes_nothing(world: World) -> None:
    published = world.charges()
    assert [charge_id(one) for one in published] == [charge_id(one) for one in world.charges()]
    assert world.charges(standing=published) == []


@given(worlds())
def test_a_published_charge_is_read_back_as_it_was(world: World) -> None:
    for charge in world.charges():
        assert parse(json.loads(canonical(body(charge)))) == charge


@given(worlds(), st.integers(1, 1000))
def test_scaling_all_keys_changes_nothing_in_unit_scope(world: World, factor: int) -> None:
    unit_links = {name: replace(link, scope="unit") for name, link in world.book.links.items()}
    plain = World(book=replace(world.book, links=unit_links), readings=world.readings)
    scaled = {name: replace(point, values={KEY: _times(point, factor)}) for name, point in world.book.points.items()}
    grown = World(book=replace(plain.book, points=scaled), readings=world.readings)
    assert exact_by_payer(plain.settle().charges) == exact_by_payer(grown.settle().charges)


def _times(point: BillingPoint, factor: int) -> Dated:
    steps = point.values[KEY].steps
    return Dated(steps=tuple((start, Scaled(value.digits * factor, value.exponent)) for start, value in steps))


@given(worlds(), areas)
def test_adding_a_unit_leaves_the_others_alone(world: World, area: Scaled) -> None:
    """In Unit scope one without weight; in Building scope any."""
    scope = next(iter(world.book.links.values())).scope
    value = area if scope == "building" else Scaled(0, 0)
    point = BillingPoint(
        id="new", building="b", name="new", kind="apartment", values={KEY: Dated(steps=((MIN, value),))}
    )
    link = replace(next(iter(world.book.links.values())), id="new", point="new")
    book = replace(world.book, points={**world.book.points, "new": point}, links={**world.book.links, "new": link})
    before = exact_by_payer(world.settle().charges)
    after = exact_by_payer(World(book=book, readings=world.readings).settle().charges)
    others = {name for name in before if name[0] != REMAINDER}
    assert {name: before[name] for name in others} == {name: after[name] for name in others if name in after}


@given(worlds(), hours, st.integers(0, 1000), st.data())
def test_corrections_add_up_to_what_stands(world: World, hour: int, part: int, data: st.DataObject) -> None:
    """A late reading, then a late move: reversal + original = 0, and all revisions together = the latest."""
    published = world.charges()
    later = replace(world, readings=(*world.readings, _late(world, hour, part)))
    published += later.charges(standing=published)
    standing = _standing(published)
    moved = replace(later, book=replace(world.book, occupancies=_moved(world, data)))
    published += compare(moved.settle(standing=standing).charges, standing, _revisions(published))
    standing = _standing(published)
    assert Counter(one.essence for one in standing) == Counter(
        one.essence for one in moved.settle(standing=standing).charges
    )
    assert money(published) == money(standing)
    assert len({charge_id(one) for one in published}) == len(published)
    for one in published:
        assert (one.amount.digits >= 0 and one.quantity.digits >= 0) or one.kind == "reversal"
    for group in {one.line_id for one in standing}:
        last = max(one.revision for one in published if one.line_id == group)
        of_last = [one for one in published if (one.line_id, one.revision, one.kind) == (group, last, "charge")]
        assert money(of_last) == money(one for one in published if one.line_id == group)


def _late(world: World, hour: int, part: int) -> Reading:
    """A reading that lies between its neighbours."""
    before = max((one for one in world.readings if one.at <= at(hour)), key=lambda one: one.at)
    after = min((one for one in world.readings if one.at >= at(hour)), key=lambda one: one.at)
    index = before.index.digits + (after.index.digits - before.index.digits) * part // 1000
    return replace(before, at=at(hour), index=before.index if before.at == after.at else Scaled(index, -3))


def _moved(world: World, data: st.DataObject) -> dict[str, Occupancy]:
    point = data.draw(st.sampled_from(sorted(world.book.points)))
    hour = data.draw(hours)
    others = {name: stay for name, stay in world.book.occupancies.items() if stay.point != point}
    return {**others, "late": Occupancy(id="late", point=point, user="late", period=Period(at(hour), at(hour + 100)))}


def _standing(published: list[Charge]) -> list[Charge]:
    gone = {one.replaces for one in published if one.kind == "reversal"}
    return [one for one in published if one.kind == "charge" and charge_id(one) not in gone]


def _revisions(published: list[Charge]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in published:
        found[one.line_id] = max(one.revision, found.get(one.line_id, 0))
    return found


@given(st.integers(-(10**7), 10**7), st.lists(st.integers(0, 10**6), min_size=1, max_size=12))
def test_a_split_keeps_the_sum_and_every_part_within_a_quantum(amount: int, weights: list[int]) -> None:
    whole = sum(weights)
    if not whole:
        return
    shares = [Fraction(weight, whole) for weight in weights]
    parts = split(amount, shares)
    assert sum(parts) == amount
    assert all(abs(part - share * amount) < 1 for part, share in zip(parts, shares, strict=True))
    assert all(part == 0 for part, share in zip(parts, shares, strict=True) if not share)
    assert split(-amount, shares) == [-part for part in parts]


@given(st.integers(-(10**6), 10**6), st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 99), min_size=1))
def test_money_is_split_alike_whatever_the_order_of_the_weights(cents: int, weights: dict[str, int]) -> None:
    fractions = {name: Fraction(weight) for name, weight in weights.items()}
    amount = Scaled(cents, -2)
    parts = split_money(amount, Scaled(1, -2), fractions)
    assert parts == split_money(amount, Scaled(1, -2), dict(reversed(fractions.items())))
    assert sum(part.fraction for part in parts.values()) == amount.fraction
