"""Whatever comes while months are settled, or late, has all those settled again that it changes."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.service.command_execute import Commander
from gateway.service.command_schema import AddReading, Command, Move, VoidReading
from gateway.service.records import DirtyMonth
from gateway.service.settle import Settler
from gateway.store import Store
from tests.adapters.stores import new_store, poll, reading
from tests.adapters.test_settle import CLOSED, NOVEMBER, OCTOBER, PROPERTY, House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

DAY = timedelta(days=1)
HEAT = {"meter": "heat-01", "register": "heat", "reason": "wrong"}


class Managed(House):
    """The house, with its manager; commands and settling take turns, as in the daemon."""

    def __init__(self, store: Store) -> None:
        self.turn = asyncio.Lock()
        super().__init__(store)
        self.commander = Commander(store=store, clock=self.clock, seal=str, turn=self.turn)

    def new_settler(self, store: object) -> Settler:
        return Settler(
            store=store,  # type: ignore[arg-type] # stores' doubles
            clock=self.clock,
            bell=None,  # type: ignore[arg-type] # nobody waits
            gateway="gw",
            beat=lambda: None,
            turn=self.turn,
        )

    async def obeyed(self, command: Command) -> None:
        answer = await self.commander.execute(command, "test")
        assert answer.applied, answer

    async def settled_anew(self) -> bool:
        """Whether settling every closed month once more publishes something."""
        before = await self.published()
        closed = await self.store.closed_months()
        await self.store.mark_dirty([DirtyMonth(facility="f", month=one.month, reason="other") for one in closed])
        await self.settler.settle_due()
        return await self.published() != before


@asynccontextmanager
async def house_in(url: str) -> AsyncIterator[Managed]:
    async with Store(url) as store:
        one = Managed(store)
        await one.told(PROPERTY)
        yield one


@pytest.fixture
async def managed(tmp_path: Path) -> AsyncIterator[Managed]:
    async with house_in(new_store(tmp_path)) as one:
        yield one


@pytest.fixture
async def either(store_url: str) -> AsyncIterator[Managed]:
    """The same in each of the databases."""
    async with house_in(store_url) as one:
        yield one


class Meanwhile:
    """The store, in which something happens once, right before a call of settling, when it knows what is due."""

    def __init__(self, store: Store, method: str, happens: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._method = method
        self._happens = happens
        self._knows = False
        self.happened = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        method = getattr(self._store, name)
        self._knows = self._knows or name == "standing_charges"

        async def later(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - the store's own
            if self._knows and name == self._method and not self.happened:
                self.happened = True
                await self._happens()
            return await method(*arguments, **named)

        return later


HAPPENS: dict[str, Callable[[Managed], Awaitable[object]]] = {
    "move": lambda house: house.obeyed(Move.model_validate({"point": "flat-1", "day": date(2026, 10, 10)})),
    "void": lambda house: house.obeyed(VoidReading.model_validate({**HEAT, "at": NOVEMBER.isoformat()})),
    "added": lambda house: house.obeyed(
        AddReading.model_validate({**HEAT, "at": (OCTOBER + 20 * DAY).isoformat(), "value": "30"})
    ),
    "late": lambda house: house.store.keep([poll(reading(OCTOBER + 20 * DAY, "30"))]),
}


@pytest.mark.parametrize("again", [False, True], ids=["closed", "settled again"])
@pytest.mark.parametrize("method", ["standing_charges", "readings", "publish", "close_month"])
@pytest.mark.parametrize("what", HAPPENS)
async def test_what_happens_while_months_are_settled_counts_in_all_of_them(
    managed: Managed, what: str, method: str, *, again: bool
) -> None:
    await happened_meanwhile(managed, what, method, again=again)


@pytest.mark.parametrize("what", HAPPENS)
async def test_so_it_does_in_each_database(either: Managed, what: str) -> None:
    await happened_meanwhile(either, what, "readings", again=False)


async def happened_meanwhile(managed: Managed, what: str, method: str, *, again: bool) -> None:
    for at, first in ((OCTOBER - 30 * DAY, "0"), (OCTOBER, "10"), (OCTOBER + 10 * DAY, "20"), (NOVEMBER, "110")):
        await managed.counted(at, first, "100")
    await managed.counted(NOVEMBER + DAY, "113", "101")
    if again:
        await managed.settler.settle_due()
        await managed.obeyed(Move.model_validate({"point": "flat-2", "day": date(2026, 9, 5), "to": "ada"}))
    busy = Meanwhile(managed.store, method, lambda: HAPPENS[what](managed))
    await managed.new_settler(busy).settle_due()
    assert busy.happened
    await managed.settler.settle_due()
    assert not await managed.store.dirty()
    assert not await managed.settled_anew()
    assert not await managed.store.dirty()


async def test_a_process_that_ends_between_closing_and_charging_leaves_it_to_the_next_one(either: Managed) -> None:
    await either.counted(OCTOBER, "10", "100")
    await either.counted(NOVEMBER + DAY, "110", "130")

    async def ends() -> None:
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await either.new_settler(Meanwhile(either.store, "standing_charges", ends)).settle_due()
    assert not await either.published()
    await either.obeyed(Move.model_validate({"point": "flat-1", "day": date(2026, 10, 10)}))
    await either.counted(NOVEMBER, "100", "120")
    await either.settler.settle_due()
    assert not await either.store.dirty()
    assert (await either.sums())["own"] > Fraction(4)
    assert sum((await either.sums()).values()) == Fraction(22)
    assert not await either.settled_anew()


async def test_a_late_reading_counts_in_a_month_that_was_held_and_settled_by_a_later_one(either: Managed) -> None:
    """October waits for an index, until one of 20 November says it; then one of 4 November comes."""
    await either.counted(OCTOBER, "10", "100")
    await either.counted(OCTOBER + 27 * DAY, "40", "130")
    await either.counted(NOVEMBER, None, "130")
    await either.settler.settle_due()
    either.clock.shown = NOVEMBER + 20 * DAY
    await either.counted(either.clock.shown, "100")
    either.clock.shown += DAY / 24
    await either.settler.settle_due()
    assert not await either.store.dirty()
    either.clock.shown += DAY
    late = NOVEMBER + 4 * DAY
    assert late > CLOSED
    await either.counted(late, "90")
    assert [one.month for one in await either.store.dirty()] == ["2026-10"]
    await either.settler.settle_due()
    assert not await either.settled_anew()


Arrival = tuple[datetime, datetime, int]
"""when it came, of which instant, how many kWh it shows"""
HOURS = st.one_of(st.integers(1, 30), st.sampled_from([48, 240, 480, 840]))
LATE = st.sampled_from([0, 0, 0, 1, 3, 10, 40, 70])


def arrivals(steps: Sequence[tuple[int, int, int]]) -> list[Arrival]:
    """What is heard of one register, from hours between two readings, days that one is late, and kWh per hour."""
    at, index, found = OCTOBER - 40 * DAY, 100, [(OCTOBER - 40 * DAY, OCTOBER - 40 * DAY, 100)]
    for hours, late, flow in steps:
        at, index = at + timedelta(hours=hours), index + hours * flow
        found.append((at + late * DAY, at, index))
    return sorted(found)


async def left_unsettled(url: str, arrivals: Sequence[Arrival]) -> bool:
    """Settled before each that comes, and long after the last."""
    async with house_in(url) as house:
        for came, at, index in arrivals:
            house.clock.shown = came
            await house.settler.settle_due()
            await house.counted(at, str(index))
        house.clock.shown += 60 * DAY
        await house.settler.settle_due()
        return await house.settled_anew()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it is migrated, to be copied."""
    folder = tmp_path_factory.mktemp("store")
    new_store(folder)
    return folder / "gateway.db"


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(HOURS, LATE, st.integers(0, 20)), min_size=3, max_size=10))
@example([(840, 0, 1), (10, 10, 9), (480, 0, 2)])
def test_after_any_late_readings_no_closed_month_would_be_charged_otherwise(
    empty: Path, steps: list[tuple[int, int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(empty, folder)
        assert not asyncio.run(left_unsettled(f"sqlite:///{Path(folder) / empty.name}", arrivals(steps)))
