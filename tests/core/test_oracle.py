"""The engine against a second computation of the same policies, over random buildings; that one against the cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from fractions import Fraction as F  # noqa: N817 - as in the oracle
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings

from gateway.core.book import problems
from gateway.core.charge import Settlement, Terms, settle
from gateway.core.period import Period
from gateway.core.track import track
from gateway.service.property import book
from tests import oracle
from tests.any_building import entities, line, reading, worlds
from tests.core.casefile import read
from tests.oracle_world import Exchange, Link, Owner, Point, Price, Reading, Register, Stay, World

if TYPE_CHECKING:
    from collections.abc import Iterable

CASES = read(Path(__file__).parent.parent / "data" / "billing-cases.json", ["charge_metered", "allocate"])
Stretch = tuple[str, str, datetime, datetime]


def merged(held: Iterable[Stretch]) -> list[Stretch]:
    """Neighbours of one code as one."""
    found: list[Stretch] = []
    for register, code, since, until in sorted(set(held)):
        if found and found[-1][:2] == (register, code) and found[-1][3] >= since:
            found[-1] = (register, code, found[-1][2], max(found[-1][3], until))
        else:
            found.append((register, code, since, until))
    return found


def settlement(world: World, period: Period) -> Settlement:
    known = book(entities(world))
    assume({problem.code for problem in problems(known)} <= {"keys_exceed_building"})
    tolerance = known.facilities["f"].boundary_tolerance
    tracks = {
        one.id: track(known.registers[one.id], [reading(one, each) for each in one.readings], tolerance)
        for one in world.registers
    }
    return settle(known, tracks, Terms(gateway="gw", facility="f", period=period, closing="c"))


@settings(max_examples=250)
@given(worlds())
def test_the_engine_charges_and_holds_what_the_policies_say(known: tuple[World, date]) -> None:
    world, first = known
    period = oracle.month_of(first, world.zone)
    found = settlement(world, Period(*period))
    lines, held = oracle.settle(world, period)
    assert Counter(line(charge) for charge in found.charges) == Counter(lines)
    told = ((hold.register, hold.code, hold.start, hold.until) for hold in found.holds)
    assert merged(told) == merged((one.register, one.code, one.since, one.until) for one in held)


# ---- the oracle itself


def instant(text: str, zone: str) -> datetime:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def stays(point: str, occupancies: list[dict[str, Any]]) -> list[Stay]:
    return [
        Stay(
            point=point,
            user=one["user"],
            entry=date.fromisoformat(one["from"]),
            exit=None if one["until"] is None else date.fromordinal(date.fromisoformat(one["until"]).toordinal() - 1),
        )
        for one in occupancies
    ]


def of_case(given: dict[str, Any]) -> World:
    """The world of a worked case; a direct register where it names no units."""
    zone = given["timezone"]
    units = given.get("units", [{"id": "U", "key": [], "occupancies": given.get("occupancies", [])}])
    key, scope = given.get("key"), given.get("scope")
    whole = given.get("building_value")
    register = Register(
        id=given["meter"],
        resolution=F(given.get("meter_resolution") or given.get("quantity_quantum") or "0.000001"),
        max_per_day=F(given.get("max_per_day", 10**9)),
        modulus=F(given["register_modulus"]) if "register_modulus" in given else None,
        readings=[Reading(at=instant(one["at"], zone), value=F(one["value"])) for one in given["readings"]],
        exchanges=[
            Exchange(at=instant(one["at"], zone), final=F(one["final"]), start=F(one["start"]))
            for one in given.get("exchanges", [])
        ],
    )
    prices = given.get("prices", [{"price": "1", "from": None, "until": None}])
    return World(
        zone=zone,
        quantum=F(given.get("money_quantum", "0.000001")),
        buildings={"b": {} if whole is None else {str(key): [(None, F(whole))]}},
        points=[
            Point(id=one["id"], building="b", values={str(key): [(day(k["from"]), F(k["value"])) for k in one["key"]]})
            for one in units
        ],
        stays=[stay for one in units for stay in stays(one["id"], one["occupancies"])],
        owners=[Owner(of="", user=given["owner"])],
        registers=[register],
        links=[
            Link(
                id=one["id"],
                register=register.id,
                point=one["id"],
                since=day(one.get("link_from")),
                until=day(one.get("link_until")),
                scope=scope,
                key=key,
                values=[(day(k["from"]), F(k["value"])) for k in one["key"]] if key == "percentage" else [],
            )
            for one in units
        ],
        prices=[
            Price(points=(), price=F(one["price"]), since=day(one["from"]), until=day(one["until"])) for one in prices
        ],
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_oracle_says_what_the_worked_cases_say(case: dict[str, Any]) -> None:
    given, expect = case["given"], case["expect"]
    world, zone = of_case(given), given["timezone"]
    period = (instant(given["period"]["from"], zone), instant(given["period"]["until"], zone))
    lines, held = oracle.settle(world, period)
    if "error" in expect:
        assert not lines
        assert expect["error"] in {one.code for one in held}
        return
    quantities: dict[tuple[str, str, F], F] = defaultdict(F)
    for one in lines:
        quantities[one.point if "units" in given else "", one.payer, one.price] += one.quantity
    rest = [{**expect["remainder"], "unit": oracle.REMAINDER}] if expect.get("remainder") else []
    wanted: dict[tuple[str, str, F], F] = defaultdict(F)
    for each in (*expect["lines"], *rest):
        wanted[each.get("unit", ""), each["payer"], F(each.get("unit_price", "1"))] += F(each["quantity"])
    assert quantities == wanted
    if "money_quantum" in given:
        assert Counter(one.amount for one in lines) == Counter(F(one["amount"]) for one in expect["lines"])
    blocked = {(one["code"], one["from"]) for one in expect.get("blocked", [])}
    blocked |= {("outside", expect["pending"]["from"])} if expect.get("pending") else set()
    assert {(one.code, one.since) for one in held} == {(code, instant(since, zone)) for code, since in blocked}
