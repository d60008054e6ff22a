"""Who answers and who is billed over three months, from a real store: as the second computation says of all readings.

That one knows everything that was ever read (tests/oracle.py); settling reads a month and what lies beside it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction as F  # noqa: N817 - as in the oracle
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from gateway.core.charge import Terms
from gateway.core.period import Period
from gateway.service.property import book_of
from gateway.service.records import PropertyChange, VoidedSpan
from gateway.service.settlement import settled
from gateway.store import Store
from tests import oracle
from tests.adapters.stores import poll
from tests.any_building import line, reading, tables
from tests.oracle_world import Exchange, Link, Owner, Point, Price, Reading, Register, World

ZONE = "Europe/Zurich"
MONTHS = [oracle.month_of(date(2026, number, 1), ZONE) for number in (10, 11, 12)]
BEGIN, END = MONTHS[0][0], MONTHS[-1][1]
EVERY = timedelta(hours=8)
READ = [BEGIN + n * EVERY for n in range((END - BEGIN) // EVERY + 1)]
Stretch = tuple[datetime, datetime]


def counted(at: datetime) -> F:
    return F((at - BEGIN) // timedelta(hours=1) * 2)


@dataclass(frozen=True, kw_only=True)
class Life:
    """A meter whose number changes now and then."""

    named: str
    """in property data"""
    said: dict[datetime, str]
    """what it calls itself from each instant on"""
    exchanged: dict[datetime, str]
    """the number that was written down at each exchange"""
    void: Stretch | None
    """all readings of it are"""

    def says(self, at: datetime) -> str:
        return self.said[max(since for since in self.said if since <= at)]

    def world(self) -> World:
        register = Register(
            id="r",
            resolution=F(1),
            max_per_day=F(1000),
            serial=self.named,
            readings=[Reading(at=at, value=counted(at), serial=self.says(at)) for at in READ],
            exchanges=[
                Exchange(at=at, final=counted(at), start=counted(at), serial=serial)
                for at, serial in sorted(self.exchanged.items())
            ],
        )
        return World(
            zone=ZONE,
            quantum=F("0.01"),
            buildings={"b": {}},
            points=[Point(id="p", building="b")],
            stays=[],
            owners=[Owner(of="", user="own")],
            registers=[register],
            links=[Link(id="l", register="r", point="p")],
            prices=[Price(points=(), price=F("0.3"))],
        )


@st.composite
def lives(draw: st.DrawFn) -> Life:
    days = st.integers(0, 91).map(lambda day: BEGIN + timedelta(days=day, hours=1))
    numbers = st.sampled_from(["A", "B", "B", "", "C"])
    written = st.sampled_from(["", "A", "B"])
    return Life(
        named=draw(st.sampled_from(["", "", "", "", "A", "B"])),
        said={
            BEGIN: draw(st.sampled_from(["A", "A", ""])),
            **draw(st.dictionaries(days, numbers, min_size=1, max_size=3)),
        },
        exchanged=draw(st.dictionaries(days.map(lambda day: day + timedelta(hours=2)), written, max_size=1)),
        void=draw(st.none() | st.none() | st.tuples(days, days).map(lambda two: (min(two), max(two)))),
    )


async def filled(store: Store, world: World, void: Stretch | None) -> None:
    rows = [(kind, row) for kind, some in tables(world).items() for row in some]
    changes = [PropertyChange(kind=kind, id=row["id"], value=json.dumps(row)) for kind, row in rows]
    await store.record_property(changes, "test", END, [])
    (register,) = world.registers
    await store.keep([poll(reading(register, one)) for one in register.readings])
    if void is not None:
        span = VoidedSpan(
            meter="m-r",
            registers=frozenset({"k"}),
            start=void[0],
            until=void[1],
            reason="wrong",
            recorded_at=END,
            recorded_by="test",
        )
        await store.void_span(span, [])
        register.readings = [one for one in register.readings if not void[0] <= one.at < void[1]]


async def compare(store: Store, world: World) -> None:
    book = book_of(await store.property_rows(None))
    for start, until in MONTHS:
        terms = Terms(gateway="gw", facility="f", period=Period(start, until), closing="c")
        found = await settled(store, book, terms)
        lines, held = oracle.settle(world, (start, until))
        assert Counter(line(charge) for charge in found.charges) == Counter(lines)
        assert {one.code for one in found.holds} == {one.code for one in held}
        event(f"held: {sorted({one.code for one in held})}, billed: {bool(lines)}")


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(lives())
def test_a_month_is_billed_to_nobody_while_all_that_was_read_says_that_another_meter_answers(
    empty: Path, life: Life
) -> None:
    async def run(url: str) -> None:
        world = life.world()
        async with Store(url) as store:
            await filled(store, world, life.void)
            await compare(store, world)

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(empty, folder)
        asyncio.run(run(f"sqlite:///{Path(folder) / empty.name}"))
