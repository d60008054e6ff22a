"""Who pays what in one period, computed a second time: from the policies alone, as naively as possible.

It imports nothing of the gateway. Numbers are `Fraction`, instants are in UTC, dates mean 00:00 local, half-open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction as F  # noqa: N817 - a number in nearly every line
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from tests.oracle_world import Dated, Exchange, Link, Price, Register, World

REMAINDER = "_remainder"
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Line:
    point: str
    payer: str
    reason: str
    register: str
    since: datetime
    until: datetime
    quantity: F
    price: F
    amount: F


@dataclass(frozen=True)
class Held:
    register: str
    code: str
    since: datetime
    until: datetime


# ---- numbers and time


def half_up(value: F, quantum: F) -> F:
    steps = abs(value) / quantum + F(1, 2)
    whole = (steps.numerator // steps.denominator) * quantum
    return whole if value >= 0 else -whole


def split(total: F, parts: list[F], quantum: F) -> list[F]:
    """Floors, then the spare quanta by larger fraction, ties to the earlier; nothing for a weight of 0."""
    floors = [part // quantum for part in parts]
    order = sorted((n for n, part in enumerate(parts) if part), key=lambda n: (floors[n] - parts[n] / quantum, n))
    for n in order[: int(total / quantum - sum(floors))]:
        floors[n] += 1
    return [floor * quantum for floor in floors]


@cache
def midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def month_of(first: date, zone: str) -> Span:
    return midnight(first, zone), midnight((first.replace(day=1) + timedelta(days=32)).replace(day=1), zone)


def days(start: datetime, end: datetime) -> F:
    return F((end - start) // timedelta(microseconds=1), 86_400_000_000)


def value_at(dated: Dated, at: datetime, zone: str) -> F | None:
    known = [value for since, value in dated if since is None or midnight(since, zone) <= at]
    return known[-1] if known else None


def holds(since: date | None, until: date | None, at: datetime, zone: str) -> bool:
    return (since is None or midnight(since, zone) <= at) and (until is None or at < midnight(until, zone))


# ---- one register: what can be believed, and its index


@dataclass(kw_only=True)
class Node:
    at: datetime
    values: set[F]
    measured: bool = True
    serial: str = ""
    code: str = ""
    """Why it cannot be believed."""
    level: F = F(0)
    """What the next value is judged against: the highest, where the counter went back a little."""
    joined: bool = False
    """The stretch from the node before to this one is believed."""
    index: F = F(0)
    """Counted since the first of the chain."""
    chain: list[Node] = field(default_factory=list)
    """The good ones that follow from each other, also across what is not believed."""
    contradicted: bool = False
    """It followed from those before it, but the counter was below it afterwards."""


Run = list[Node]
"""Neighbours of one physical meter whose stretches are all believed."""


def meters_of(register: Register) -> list[tuple[list[Node], list[Node]]]:
    """Of each physical meter the nodes, and what it kept itself for other instants, by time."""
    changes = [None, *sorted(register.exchanges, key=lambda exchange: exchange.at), None]
    found = []
    for begun, ended in pairwise(changes):
        nodes, stored = read_of(register, begun, ended)
        first = [] if begun is None else [Node(at=begun.at, values={begun.start}, serial=begun.serial)]
        last = [] if ended is None else [Node(at=ended.at, values={ended.final})]
        named = register.serial if begun is None else ""
        name_strangers(named, [*first, *nodes, *last], stored)
        found.append(([*first, *nodes, *last], stored))
    return found


def name_strangers(named: str, nodes: list[Node], stored: list[Node]) -> None:
    """Who does not answer as the meter that is named, or that answered first, is another: until somebody decides."""
    known = [node.serial for node in nodes if node.serial and node.serial == (named or node.serial)]
    for node in nodes + stored:
        if node.serial and node.serial != (known[0] if known else ""):
            node.code = "identity_changed"


def read_of(register: Register, begun: Exchange | None, ended: Exchange | None) -> tuple[list[Node], list[Node]]:
    """At an exchange its own indexes count, and no reading."""
    found: dict[datetime, dict[str, set[F]]] = {}
    serials: dict[tuple[datetime, str], str] = {}
    for reading in register.readings:
        inside = (begun is None or begun.at < reading.at) and (ended is None or reading.at < ended.at)
        if inside and reading.trusted:
            found.setdefault(reading.at, {}).setdefault(reading.quality, set()).add(reading.value)
            serials[reading.at, reading.quality] = reading.serial
    nodes: list[Node] = []
    stored: list[Node] = []
    for at, qualities in sorted(found.items()):
        best = next(q for q in ("measured", "stored", "manual", "substituted") if q in qualities)
        node = Node(at=at, values=qualities[best], measured=best == "measured", serial=serials[at, best])
        (stored if set(qualities) == {"stored"} else nodes).append(node)
    return nodes, stored


def flow(register: Register, old: Node, new: Node) -> tuple[F, F, str]:
    """What was counted between two nodes, the level afterwards, and a code where it cannot be."""
    value, most = min(new.values), register.max_per_day * days(old.at, new.at)
    change = value - old.level
    if change >= 0:  # the display may be a step behind
        return change, value, "" if change - register.resolution <= most else "index_jump"
    if -change <= register.backflow:
        return F(0), old.level, ""
    if register.modulus is not None and register.modulus + change <= most:
        return register.modulus + change, value, ""
    return F(0), value, "index_decrease"


def judge(register: Register, nodes: list[Node]) -> None:
    """Each node against the last good one, else against its neighbour: from there on it is believed again."""
    good: Node | None = None
    for n, node in enumerate(nodes):
        node.level = min(node.values)
        if len(node.values) > 1:
            node.code = "conflicting_reading"
        if node.code:
            continue
        if good is not None:
            before = nodes[n - 1]
            counted, level, node.code = flow(register, good, node)
            if not node.code:
                node.level, node.joined = level, before is good
                node.index, node.chain = good.index + counted, good.chain
            elif before is not good and is_witness(before) and not flow(register, before, node)[2]:
                node.code, node.level = "", flow(register, before, node)[1]
        if not node.code:
            node.chain.append(node)
            good = node
    for n, node in enumerate(nodes):
        if node.code == "index_decrease" and not node.contradicted:
            contradict(nodes, n)


def is_witness(node: Node) -> bool:
    return len(node.values) == 1 and node.code != "identity_changed"


def contradict(nodes: list[Node], fall: int) -> None:
    """A counter that goes on from where it was shortly before has never been as high as it said in between."""
    fallen, good = nodes[fall], [n for n in range(fall) if not nodes[n].code]
    later = [node for node in nodes[fall:] if not node.code]
    if later and good and later[0].chain is nodes[good[-1]].chain:
        return  # it goes on from above: only what it fell to is wrong
    lower = [n for n in good if nodes[n].level <= min(fallen.values)]
    if lower and (lower[-1] == fall - 2 or fallen.at - nodes[lower[-1]].at <= timedelta(hours=3)):
        doubt(nodes[lower[-1] + 1 : fall])
    elif good:  # and one that is soon again where it was has never been as low
        back = next(
            (n for n in range(fall, len(nodes)) if not nodes[n].code and nodes[n].level >= nodes[good[-1]].level), 0
        )
        if back and (back - good[-1] <= 3 or nodes[back].at - nodes[good[-1]].at <= timedelta(hours=3)):
            doubt(nodes[fall:back])
            nodes[back].joined = False


def doubt(nodes: list[Node]) -> None:
    for node in nodes:
        node.contradicted = node.contradicted or not node.code
        node.code, node.joined = node.code or "index_decrease", False


def runs_of(register: Register) -> tuple[list[Run], list[tuple[datetime, datetime, str]], list[Node]]:
    """The believed runs, the stretches between them with the code of each, and all nodes."""
    runs: list[Run] = []
    held = []
    everything: list[Node] = []
    for nodes, stored in meters_of(register):
        judge(register, nodes)
        everything += nodes
        for n, node in enumerate(nodes):
            if n and not node.joined:
                held.append((nodes[n - 1].at, node.at, node.code or nodes[n - 1].code))
            if node.joined:
                runs[-1].append(node)
            else:
                runs.append([node])
        for node in stored:
            keep(register, runs, node)
    return [run for run in runs if len(run) > 1], held, everything


def keep(register: Register, runs: list[Run], node: Node) -> None:
    """What the meter kept itself stands where it fits between its neighbours, else nowhere."""
    for run in runs:
        before, after = [one for one in run if one.at < node.at], [one for one in run if one.at > node.at]
        if before and after and len(node.values) == 1 and not node.code:
            counted, node.level, code = flow(register, before[-1], node)
            node.index = before[-1].index + counted
            if not code and node.index <= after[0].index:
                run.insert(len(before), node)


def index_at(register: Register, run: Run, at: datetime) -> F | None:
    """Known, else linear between the nearest measured ones and within its neighbours, rounded once."""
    exact = [node.index for node in run if node.at == at]
    left = [node for node in run[0].chain if node.measured and not node.code and node.at < at]
    right = [node for node in run[0].chain if node.measured and not node.code and node.at > at]
    if exact or not left or not right:
        return exact[0] if exact else None
    share = days(left[-1].at, at) / days(left[-1].at, right[0].at)
    base = run[0].level - run[0].index
    shown = half_up(base + left[-1].index + (right[0].index - left[-1].index) * share, register.resolution) - base
    return max([node.index for node in run if node.at < at][-1], min(next(n.index for n in run if n.at > at), shown))


def counted(register: Register, runs: list[Run], start: datetime, end: datetime) -> F | None:
    """What was counted between two instants that no unbelieved stretch separates."""
    total = F(0)
    for run in runs:
        left, right = max(run[0].at, start), min(run[-1].at, end)
        if left < right:
            a, b = index_at(register, run, left), index_at(register, run, right)
            if a is None or b is None:
                return None
            total += b - a
    return total


def believed(runs: list[Run], since: datetime, until: datetime) -> list[Span]:
    """The parts of a period within runs; an exchange does not cut."""
    parts: list[Span] = []
    for run in runs:
        left, right = max(run[0].at, since), min(run[-1].at, until)
        if left < right:
            parts.append((parts.pop()[0] if parts and parts[-1][1] == left else left, right))
    return parts


# ---- property data at an instant


def payer_of(world: World, point: str, building: str, at: datetime) -> tuple[str, str]:
    """`point`: or the remainder; `building`: or none."""
    for stay in world.stays:
        until = None if stay.exit is None else stay.exit + timedelta(days=1)
        if stay.point == point and holds(stay.entry, until, at, world.zone):
            return stay.user, "occupancy"
    reason = "remainder" if building else "unassigned"
    for one in world.points:
        if one.id == point:
            reason = "unattributed" if one.badges else "vacancy"
    for place in (point, building, ""):
        owners = [owner for owner in world.owners if owner.of == place and holds(owner.since, None, at, world.zone)]
        if owners:
            return max(owners, key=lambda owner: owner.since or date.min).user, reason
    raise LookupError(point)


def price_of(world: World, point: str, at: datetime) -> Price | None:
    """One that names the point beats one for all."""
    held = [one for one in world.prices if holds(one.since, one.until, at, world.zone)]
    named = [one for one in held if point in one.points]
    return next(iter([*named, *(one for one in held if not one.points)]), None)


def shares_of(world: World, links: list[Link], at: datetime) -> list[tuple[str, str, F]] | str:
    """Who takes what at an instant: (point, its building, coefficient), the remainder last; or an error."""
    links = sorted((x for x in links if holds(x.since, x.until, at, world.zone)), key=lambda link: link.point)
    if not links:
        return [(REMAINDER, "", F(1))]
    points = {point.id: point for point in world.points}
    home, scope, key = points[links[0].point].building, links[0].scope, links[0].key or ""
    if scope is None:
        return [(links[0].point, home, F(1))]
    keys = []
    for link in links:
        own = value_at(link.values, at, world.zone)
        keys.append(
            own if own is not None else value_at(points[link.point].values.get(key, []), at, world.zone) or F(0)
        )
    whole: F | None = sum(keys, F(0))
    if scope == "building":
        whole = F(100) if key == "percentage" else value_at(world.buildings[home].get(key, []), at, world.zone)
    if whole is None or sum(keys) > whole:
        return "keys_exceed_building"
    units = [
        (link.point, points[link.point].building, own / whole) for link, own in zip(links, keys, strict=True) if own
    ]
    rest = 1 - sum((share for _, _, share in units), F(0))
    return units + ([(REMAINDER, home, rest)] if rest else [])


def changes(world: World, links: list[Link]) -> set[datetime]:
    """Every instant at which a coefficient may change."""
    dates: set[date | None] = set()
    for link in links:
        point = next(p for p in world.points if p.id == link.point)
        tables = [link.values, point.values.get(link.key or "", [])]
        tables += [world.buildings[point.building].get(link.key or "", [])] if link.scope == "building" else []
        dates |= {link.since, link.until} | {since for table in tables for since, _ in table}
    return {midnight(day, world.zone) for day in dates if day is not None}


def stays_of(world: World, point: str, building: str, left: datetime, right: datetime) -> list[Span]:
    """A line lasts as long as its payer and its price: asked day by day."""
    cuts = [left]
    day = left.astimezone(ZoneInfo(world.zone)).date() + timedelta(days=1)
    while (at := midnight(day, world.zone)) < right:
        before = (payer_of(world, point, building, cuts[-1]), price_of(world, point, cuts[-1]))
        if (payer_of(world, point, building, at), price_of(world, point, at)) != before:
            cuts.append(at)
        day += timedelta(days=1)
    return list(zip(cuts, [*cuts[1:], right], strict=True))


# ---- a period


def settle(world: World, period: Span, seams: dict[str, set[datetime]] | None = None) -> tuple[list[Line], list[Held]]:
    """The lines of a period and what of it is held. `seams`: where a register is cut besides."""
    parts = [settle_register(world, one, period, (seams or {}).get(one.id, set())) for one in world.registers]
    return [line for lines, _ in parts for line in lines], [one for _, held in parts for one in held]


def settle_register(world: World, one: Register, period: Span, seams: set[datetime]) -> tuple[list[Line], list[Held]]:
    start, end = period
    runs, doubtful, nodes = runs_of(one)
    if not nodes:
        return [], [Held(one.id, "outside", start, end)]
    held = [("not_started", start, nodes[0].at), ("outside", nodes[-1].at, end)]
    held += [(code, since, until) for since, until, code in doubtful]
    if nodes[0].at >= end or nodes[-1].at <= start or nodes[0].at == nodes[-1].at:
        return [], within(one, held, period)
    links = [link for link in world.links if link.register == one.id]
    around = {seam: [run for run in runs if run[0].at <= seam <= run[-1].at] for seam in seams}
    known = {seam for seam in seams if all(index_at(one, run, seam) is not None for run in around[seam])}
    bounds = sorted(cut for cut in {start, end} | changes(world, links) | known if start <= cut <= end)
    lines: list[Line] = []
    for left, right in [part for since, until in pairwise(bounds) for part in believed(runs, since, until)]:
        shares = shares_of(world, links, left)
        if isinstance(shares, str):
            return [], [Held(one.id, shares, start, end)]
        more, without = piece(world, one, runs, shares, left, right)
        lines += more
        held += without
    return lines, within(one, held, period)


def within(one: Register, held: list[tuple[str, datetime, datetime]], period: Span) -> list[Held]:
    inside = [(code, max(period[0], since), min(period[1], until)) for code, since, until in held]
    return [Held(one.id, code, since, until) for code, since, until in inside if since < until]


def piece(
    world: World, one: Register, runs: list[Run], shares: list[tuple[str, str, F]], left: datetime, right: datetime
) -> tuple[list[Line], list[tuple[str, datetime, datetime]]]:
    """A piece of constant coefficients: one largest remainder over all of its lines, the remainder last."""
    parts = [(*who, a, b) for who in shares for a, b in stays_of(world, who[0], who[1], left, right)]
    used = [counted(one, runs, a, b) for *_, a, b in parts]
    exact = [part[2] * each for part, each in zip(parts, used, strict=True) if each is not None]
    total = counted(one, runs, left, right)
    if total is None or len(exact) < len(parts):
        return [], [("outside", left, right)]
    lines, held = [], []
    for (point, building, _, a, b), quantity in zip(parts, split(total, exact, one.resolution), strict=True):
        price = price_of(world, point, a)
        if price is None:
            held.append(("no_price", a, b))
            continue
        amount = half_up(quantity * price.price, world.quantum)
        lines.append(Line(point, *payer_of(world, point, building, a), one.id, a, b, quantity, price.price, amount))
    return lines, held
