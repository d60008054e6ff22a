"""Random buildings as plain data for tests/oracle.py, and the same as the gateway's property data and readings."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from fractions import Fraction as F  # noqa: N817 - as in the oracle
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from hypothesis import strategies as st

from gateway.core.metering import Origin
from gateway.core.metering import Reading as CoreReading
from gateway.core.units import Scaled
from gateway.service import property_schema as schema
from tests import oracle_world as o
from tests.oracle import Line, midnight, month_of
from tests.oracle import days as days_between

if TYPE_CHECKING:
    from gateway.core.charge import Charge

MONTHS = [
    ("Europe/Zurich", date(2026, 10, 1)),  # 745 hours
    ("Europe/Zurich", date(2026, 3, 1)),  # 743 hours
    ("Africa/Cairo", date(2026, 4, 1)),  # the 24th has no midnight
    ("Australia/Lord_Howe", date(2026, 4, 1)),  # half an hour
    ("Asia/Tokyo", date(2026, 2, 1)),
]
MONEY = {"CHF": ["0.01", "0.05"], "JPY": ["1"]}
KEYS = ["surface", "volume", "quotity", "people", "percentage"]


def text(number: F, exponent: int = -9) -> str:
    """A decimal as property data writes it."""
    return str(Scaled.exact(number, exponent)).rstrip("0").rstrip(".") or "0"


@st.composite
def worlds(draw: st.DrawFn) -> tuple[o.World, date]:
    """A building, and the first day of the month that is settled."""
    zone, first = draw(st.sampled_from(MONTHS))
    days = st.integers(-3, 33).map(lambda n: first + timedelta(days=n))
    nobody_has = draw(st.sampled_from(KEYS))
    points = [draw(point(f"p{n}", days, nobody_has)) for n in range(draw(st.integers(1, 3)))]
    rich = draw(st.booleans())
    building: dict[str, o.Dated] = {
        key: draw(dated(days, st.sampled_from([F(10000), F(100)]) if rich else amounts))
        for key in KEYS[:-1]
        if rich or draw(st.booleans())
    }
    registers = [draw(register(f"r{n}", zone, first)) for n in range(draw(st.integers(1, 2)))]
    world = o.World(
        zone=zone,
        quantum=F(draw(st.sampled_from([quantum for quanta in MONEY.values() for quantum in quanta]))),
        buildings={"b": building},
        points=points,
        stays=[stay for one in points for stay in draw(stays(one.id, days))],
        owners=[o.Owner(of="", user="own"), *draw(owners([one.id for one in points], days))],
        registers=registers,
        links=[link for one in registers for link in draw(links(one.id, points, days))],
        prices=draw(prices([one.id for one in points], days)),
    )
    return world, first


amounts = st.one_of(
    st.integers(0, 60).map(F), st.integers(0, 500).map(lambda n: F(n, 10)), st.sampled_from([F(50), F(100)])
)


@st.composite
def dated(draw: st.DrawFn, days: st.SearchStrategy[date], values: st.SearchStrategy[F] = amounts) -> o.Dated:
    changes = sorted(draw(st.lists(days, max_size=2, unique=True)))
    return [(None, draw(values)), *((day, draw(values)) for day in changes)]


@st.composite
def point(draw: st.DrawFn, name: str, days: st.SearchStrategy[date], without: str) -> o.Point:
    values = {key: draw(dated(days, st.just(F(0)) if key == without else amounts)) for key in KEYS[:-1]}
    return o.Point(id=name, building="b", badges=draw(st.integers(0, 9)) == 0, values=values)


@st.composite
def stays(draw: st.DrawFn, point: str, days: st.SearchStrategy[date]) -> list[o.Stay]:
    """Up to two, the last perhaps open."""
    edges = sorted(draw(st.lists(days, max_size=4, unique=True)))
    found = []
    for n in range(0, len(edges), 2):
        leaves = edges[n + 1] - timedelta(days=1) if n + 1 < len(edges) else None
        user = draw(st.sampled_from(["ann", "bob", f"{point}-{n}"]))
        found.append(o.Stay(point=point, user=user, entry=edges[n], exit=leaves))
    return found


@st.composite
def owners(draw: st.DrawFn, points: list[str], days: st.SearchStrategy[date]) -> list[o.Owner]:
    places = draw(st.lists(st.tuples(st.sampled_from(["", "b", *points]), days), max_size=3, unique=True))
    return [o.Owner(of=of, user=f"own-{n}", since=since) for n, (of, since) in enumerate(places)]


@st.composite
def prices(draw: st.DrawFn, points: list[str], days: st.SearchStrategy[date]) -> list[o.Price]:
    """One for all points, one for some, with changes and gaps."""
    found = []
    some = tuple(draw(st.lists(st.sampled_from(points), max_size=2, unique=True)))
    for named in ((), some) if some else ((),):
        edges = [None, *sorted(draw(st.lists(days, max_size=2, unique=True))), None]
        for since, until in pairwise(edges):
            if draw(st.integers(0, 9)) > 4 * bool(named):
                price = F(draw(st.integers(0, 99999)), 10 ** draw(st.integers(1, 6)))
                found.append(o.Price(points=named, price=price, since=since, until=until))
    return found


@st.composite
def links(draw: st.DrawFn, register: str, points: list[o.Point], days: st.SearchStrategy[date]) -> list[o.Link]:
    """Up to two groups one after the other, each direct or common, or none."""
    edges = [None, *sorted(draw(st.lists(days, max_size=1, unique=True))), None]
    found = []
    for n, (since, until) in enumerate(pairwise(edges)):
        kind = draw(st.sampled_from(["none", *["direct", "unit", "building"] * 3]))
        if kind == "none":
            continue
        key = draw(st.sampled_from(KEYS))
        for one in points[:1] if kind == "direct" else points:
            if kind != "direct" and draw(st.integers(0, 5)) == 0:
                continue
            ends = draw(st.none() | days) if draw(st.booleans()) else None
            own = kind != "direct" and (key == "percentage" or draw(st.integers(0, 4)) == 0)
            link = o.Link(
                id=f"{register}-{one.id}-{n}",
                register=register,
                point=one.id,
                since=since,
                until=until if ends is None or (until is not None and ends > until) else ends,
                scope=None if kind == "direct" else kind,
                key=None if kind == "direct" else key,
                values=draw(dated(days)) if own else [],
            )
            if link.until is None or link.since is None or link.since < link.until:
                found.append(link)
    return found


@st.composite
def register(draw: st.DrawFn, name: str, zone: str, first: date) -> o.Register:
    """A counter with the life of a real one, and more trouble."""
    step = F(draw(st.sampled_from(["1", "0.1", "0.001"])))
    most = F(draw(st.sampled_from(["24", "400", "1000000"])))
    value = F(draw(st.sampled_from([0, 9990, 123456789])) + draw(st.integers(0, 9))) + draw(st.integers(0, 9)) * step
    narrow = value < 10**4 and most < 400
    modulus = F(10) ** (4 if narrow else 10) if draw(st.booleans()) else None
    one = o.Register(id=name, resolution=step, max_per_day=most, modulus=modulus)
    one.backflow = draw(st.sampled_from([F(0), F(0), 2 * step]))
    one.serial = draw(st.sampled_from(["", "", "", "A", "B"]))
    one.readings, one.exchanges = draw(course(one, value, zone, first))
    return one


@st.composite
def instants(draw: st.DrawFn, zone: str, first: date) -> list[datetime]:
    """Around the month: midnights, quarter hours, any minute."""
    start, end = month_of(first, zone)
    minutes = (end - start) // timedelta(minutes=1)
    inside = st.integers(-2 * 1440, minutes + 2 * 1440).map(lambda n: start + timedelta(minutes=n))
    midnights = st.integers(-2, 33).map(lambda n: midnight(first + timedelta(days=n), zone))
    some = draw(st.lists(st.one_of(midnights, midnights, inside), max_size=7, unique=True))
    early = [start - timedelta(days=3)] if draw(st.integers(0, 19)) else []
    late = [end + timedelta(days=3)] if draw(st.integers(0, 19)) else []
    edges = [edge for edge in (start, end) if draw(st.booleans())]
    return sorted({*early, *some, *edges, *late})


WELL = [""] * 30
TROUBLE = [
    "two",
    "spike",
    "fall",
    "reset",
    "back",
    "untrusted",
    "manual",
    "substituted",
    "stored",
    "both",
    "exchange",
    "exchange",
    "stranger",
]


@st.composite
def course(
    draw: st.DrawFn, one: o.Register, value: F, zone: str, first: date
) -> tuple[list[o.Reading], list[o.Exchange]]:
    readings: list[o.Reading] = []
    exchanges: list[o.Exchange] = []
    before: datetime | None = None
    serial = draw(st.sampled_from(["", "A"]))
    for at in draw(instants(zone, first)):
        trouble = draw(st.sampled_from(WELL + TROUBLE))
        room = int(one.max_per_day * days_between(before or at, at) / one.resolution)
        steps = draw(st.one_of(st.integers(0, 20), st.integers(0, 2000), st.integers(room, room + 1)))
        if trouble != "back":
            value += min(steps, room + 1) * one.resolution  # the display may be a step behind
        value = value % (one.modulus or value + 1)
        if trouble == "stranger":
            serial = "B" if serial == "A" else "A"
        readings += said(one, at, value, trouble, serial)
        if trouble == "exchange":
            begins = draw(st.integers(0, 50)) * one.resolution
            serial = draw(st.sampled_from([serial, "A", "B"]))
            exchanges.append(o.Exchange(at=at, final=value, start=begins, serial=draw(st.sampled_from(["", serial]))))
            value = begins
        if trouble == "reset":
            value = 7 * one.resolution
        before = at
    return readings, exchanges


def said(one: o.Register, at: datetime, value: F, trouble: str, serial: str) -> list[o.Reading]:
    """What a register is heard to say at an instant, beside what it really counted."""
    high, low = value + 10 * one.max_per_day + 10 * one.resolution, max(F(0), value - 2 * one.resolution)
    values = {
        "two": [value, value + one.resolution],
        "spike": [high],
        "fall": [value / 2 // one.resolution * one.resolution],
        "reset": [7 * one.resolution],
        "back": [low],
    }.get(trouble, [value])
    if one.modulus is not None:
        values = [one_of % one.modulus for one_of in values]
    quality = trouble if trouble in {"manual", "substituted", "stored"} else "measured"
    if trouble == "exchange" and at.minute % 2:
        return []
    serial = "" if quality in {"manual", "substituted"} else serial
    beside = [o.Reading(at=at, value=low, quality="stored", serial=serial)] if trouble == "both" else []
    trusted = trouble != "untrusted"
    return beside + [o.Reading(at=at, value=v, quality=quality, trusted=trusted, serial=serial) for v in values]


# ---- the same for the gateway


def tables(world: o.World) -> dict[str, list[dict[str, Any]]]:
    """The tables of property.toml."""
    currency, quantum = "JPY" if world.quantum == 1 else "CHF", text(world.quantum)
    users = {owner.user for owner in world.owners} | {stay.user for stay in world.stays}
    return {
        "facility": [
            {"id": "f", "name": "F", "time_zone": world.zone, "currency": currency, "money_quantum": quantum}
        ],
        "building": [{"id": id_, "facility": "f", "name": id_, **_values(v)} for id_, v in world.buildings.items()],
        "point": [
            {"id": one.id, "building": one.building, "name": one.id, "kind": _kind(one), **_values(one.values)}
            for one in world.points
        ],
        "user": [
            {"id": one, "kind": "legal", "company": one, "registration": "1", "address": "x"} for one in sorted(users)
        ],
        "owner": [_owner(n, owner) for n, owner in enumerate(world.owners)],
        "occupancy": [
            _given(id=f"s{n}", point=one.point, user=one.user, entry=_day(one.entry), exit=_day(one.exit))
            for n, one in enumerate(world.stays)
        ],
        "meter": [
            _given(id=f"m-{one.id}", facility="f", name=one.id, serial=one.serial or None) for one in world.registers
        ],
        "register": [_register(one) for one in world.registers],
        "link": [
            _given(id=one.id, register=one.register, point=one.point, scope=one.scope, key=one.key,
                   value=_steps(one.values) if one.values else None,
                   **{"from": _day(one.since), "until": _day(one.until)})
            for one in world.links
        ],
        "rate": _rates(world.prices),
    }  # fmt: skip


def _given(**values: object) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _kind(one: o.Point) -> str:
    return "laundry" if one.badges else "apartment"


def _steps(dated: o.Dated) -> list[dict[str, Any]]:
    return [_given(value=text(value), **{"from": _day(since)}) for since, value in dated]


def _values(values: dict[str, o.Dated]) -> dict[str, Any]:
    return {key: _steps(steps) for key, steps in values.items()}


def _owner(number: int, one: o.Owner) -> dict[str, Any]:
    kind = "facility" if not one.of else "building" if one.of == "b" else "point"
    return _given(id=f"o{number}", user=one.user, **{kind: one.of or "f", "from": _day(one.since)})


def _register(one: o.Register) -> dict[str, Any]:
    first = min(one.exchanges, key=lambda each: each.at, default=None)
    exchanges = [
        _given(at=each.at.isoformat(), final=text(each.final), start=text(each.start), serial=each.serial or None,
               old_serial=one.serial if one.serial and each is first else None)
        for each in one.exchanges
    ]  # fmt: skip
    return _given(
        id=one.id, meter=f"m-{one.id}", key="k", energy_source="heating", unit="kWh",
        resolution=text(one.resolution), max_per_day=text(one.max_per_day),
        modulus=None if one.modulus is None else text(one.modulus),
        backflow=text(one.backflow) if one.backflow else None, exchanges=exchanges or None,
    )  # fmt: skip


def _rates(prices: list[o.Price]) -> list[dict[str, Any]]:
    tax = {"category": "S", "rate": "8.1", "included": True}
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in prices:
        step = _given(price=text(one.price), **{"from": _day(one.since), "until": _day(one.until)})
        found.setdefault(one.points, []).append(step)
    return [
        _given(id=f"rate-{n}", facility="f", energy_source="heating", title="Heat", component="energy", unit="kWh",
               points=list(points) or None, prices=steps, tax=tax)
        for n, (points, steps) in enumerate(found.items())
    ]  # fmt: skip


def entities(world: o.World) -> list[schema.Entity]:
    """The same as the entries that the gateway keeps."""
    return [
        schema.TABLES[table].model_validate_json(json.dumps(row))
        for table, rows in tables(world).items()
        for row in rows
    ]


def reading(register: o.Register, one: o.Reading) -> CoreReading:
    """A reading as a driver hands it over."""
    return CoreReading(
        meter=f"m-{register.id}",
        register="k",
        at=one.at,
        index=Scaled.parse(text(one.value)),
        unit="kWh",
        origin=cast("Origin", one.quality),
        clock_trusted=one.trusted,
        serial=one.serial,
    )


# ---- what the gateway says, as the oracle says it


def line(charge: Charge) -> Line:
    """A charge as a line of the oracle."""
    return Line(
        charge.billing_point,
        charge.payer.id,
        charge.payer.reason,
        charge.register,
        charge.period.start,
        charge.period.until,
        charge.quantity.fraction,
        charge.unit_price.fraction,
        charge.amount.fraction,
    )
