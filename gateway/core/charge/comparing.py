"""What to publish next: the difference between what should be charged and what stands published.

Nothing new, a first charge, a further charge of the same revision (an open tail that was filled), or
reversals of all that stood for the group and a new revision of it. What cannot be decided takes nothing back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from gateway.core.charge.body import charge_id
from gateway.core.charge.line import REMAINDER, reversal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.charge.line import Charge, Reason
    from gateway.core.period import Period
    from gateway.core.problem import Hold

Counted = tuple[str, str | None]
"""what charges are for: a register, and the session that it counted for"""


def compare(
    desired: Iterable[Charge],
    standing: Collection[Charge],
    revisions: Mapping[str, int] | None = None,
    holds: Collection[Hold] = (),
) -> list[Charge]:
    """The charges to publish, reversals before what replaces them, in a fixed order.

    `standing`: published, not reversed. `revisions`: the highest revision ever published of a group (line_id).
    `holds`: what could not be charged; see `undecided`.
    """
    waiting = {_counted(hold) for hold in undecided(holds, standing)}
    wanted = _by_group(one for one in desired if _counted(one) not in waiting)
    held = _by_group(one for one in standing if _counted(one) not in waiting)
    found: list[Charge] = []
    for line_id in sorted(wanted.keys() | held.keys(), key=lambda key: _rank((wanted.get(key) or held[key])[0])):
        last = (revisions or {}).get(line_id, max((one.revision for one in held.get(line_id, ())), default=0))
        found += _group(wanted.get(line_id, []), held.get(line_id, []), last)
    return found


def undecided(holds: Iterable[Hold], standing: Iterable[Charge]) -> list[Hold]:
    """The holds on something that stands published: it stays, whole, until it is known what takes its place.

    Otherwise a wrong date or a doubtful reading would take back a month and put nothing there. What one point alone
    waits for (a price) keeps back no shares of the others, unless it has been charged its own: then all stay, and
    still add up to what the register counted.
    """
    published: dict[Counted, list[Charge]] = {}
    for one in standing:
        published.setdefault(_counted(one), []).append(one)
    return [hold for hold in holds if any(_takes_place(hold, one) for one in published.get(_counted(hold), ()))]


def _takes_place(hold: Hold, one: Charge) -> bool:
    anothers_share = one.allocation is not None and hold.point not in (None, one.billing_point)
    return not anothers_share and one.period.start < hold.until and hold.start < one.period.until


def _counted(one: Charge | Hold) -> Counted:
    if one.session is None or isinstance(one.session, str):
        return one.register, one.session
    return one.register, one.session.id


def _group(desired: Sequence[Charge], standing: Sequence[Charge], last: int) -> list[Charge]:
    want, have = Counter(one.essence for one in desired), Counter(one.essence for one in standing)
    if want == have:
        return []
    if not have - want:
        # everything published still holds: what is new is a first charge, or a further one of this revision
        new = [one for one in desired if not have[one.essence]]
        revision = standing[0].revision if standing else last + 1
        return [replace(one, revision=revision) for one in new]
    reason = _reason(desired, standing)
    back = [reversal(one, charge_id(one), last + 1, reason) for one in standing]
    return back + [replace(one, revision=last + 1, reason=reason) for one in desired]


def _reason(desired: Sequence[Charge], standing: Sequence[Charge]) -> Reason:
    """The first thing that differs, from the cause to the effect."""
    if not desired:
        return "link"
    if {_rule(one) for one in desired} != {_rule(one) for one in standing}:
        return "key"
    if {(one.payer, one.period) for one in desired} != {(one.payer, one.period) for one in standing}:
        return "move" if {one.payer for one in desired} != {one.payer for one in standing} else "late_reading"
    if {_price(one) for one in desired} != {_price(one) for one in standing}:
        return "rate"
    return "exchange" if _meters(desired) != _meters(standing) else "late_reading"


def _rule(charge: Charge) -> object:
    rule = charge.allocation
    return None if rule is None else (rule.scope, rule.key, rule.numerator, rule.denominator)


def _price(charge: Charge) -> object:
    return (charge.unit_price, charge.tax, charge.amount_is)


def _meters(charges: Iterable[Charge]) -> Counter[tuple[str, str]]:
    return Counter((part.meter, part.serial) for one in charges for part in one.segments)


def seams(standing: Iterable[Charge], billing: Period) -> dict[str, set[datetime]]:
    """Where the published charges of each register leave a part of the billing period uncovered, or left one once."""
    found: dict[str, set[datetime]] = {}
    metered = (one for one in standing if one.session is None)
    for register, charges in groupby(sorted(metered, key=_place), key=lambda one: one.register):
        reached = billing.start
        edges = found.setdefault(register, set())
        ended: dict[tuple[str, datetime], Charge] = {}
        for one in charges:
            if one.period.start > reached:
                edges |= {reached, one.period.start}
            reached = max(reached, one.period.until)
            before = ended.get((one.billing_point, one.period.start))
            if before is not None and _goes_on(before, one):
                edges.add(one.period.start)
            ended[one.billing_point, one.period.until] = one
        if reached < billing.until:
            edges.add(reached)
    return found


def _goes_on(before: Charge, one: Charge) -> bool:
    """Whether nothing but an earlier closing cut the two apart, so that they would be one without a seam."""
    if before.allocation is None or one.allocation is None:
        terms = [(each.payer, each.rate, each.allocation) for each in (before, one)]
        return terms[0] == terms[1]
    last, first = before.allocation, one.allocation
    same_piece = (last.total, last.fractions, last.position + 1) == (first.total, first.fractions, first.position)
    return _rule(before) == _rule(one) and not same_piece


def _place(charge: Charge) -> tuple[str, datetime]:
    return (charge.register, charge.period.start)


def _rank(charge: Charge) -> tuple[object, ...]:
    """Points bytewise, the remainder last; then register, then session."""
    session = "" if charge.session is None else charge.session.id
    return (charge.billing_point == REMAINDER, charge.billing_point, charge.register, session, charge.component)


def _by_group(charges: Iterable[Charge]) -> dict[str, list[Charge]]:
    groups: dict[str, list[Charge]] = {}
    for one in sorted(charges, key=lambda one: (one.period.start, one.payer)):
        groups.setdefault(one.line_id, []).append(one)
    return groups
