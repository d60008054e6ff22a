"""What comes while a month is being settled counts in it: at once, or when it is settled again."""

from __future__ import annotations

import asyncio
import threading
from datetime import date, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from gateway.service.accruals import accrued
from gateway.service.command_execute import Commander
from gateway.service.command_schema import End
from gateway.service.due import Month
from gateway.service.property import book_of
from gateway.service.records import DirtyMonth
from gateway.service.settle import Settler
from gateway.store import months
from tests.adapters.stores import poll, reading
from tests.adapters.test_settle import NOVEMBER, OCTOBER, PROPERTY, House, house

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

    from gateway.service.records import ClosedMonth
    from gateway.store import Store

__all__ = ["house"]
DAY = timedelta(days=1)
MOVED = {**PROPERTY["occupancy"][0], "exit": "2026-10-10"}
PATIENCE = 120.0
"""seconds after which something that never comes fails a test instead of hanging it"""


class Meanwhile:
    """The store, in which something happens right before one of its methods is called for the first time."""

    def __init__(self, store: Store, method: str, happens: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._method = method
        self._happens: Callable[[], Awaitable[object]] | None = happens

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        method = getattr(self._store, name)
        if name != self._method:
            return method

        async def later(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - the store's own
            happens, self._happens = self._happens, None
            if happens is not None:
                await happens()
            return await method(*arguments, **named)

        return later


async def test_a_late_reading_that_comes_while_its_month_is_settled_first_is_billed(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(OCTOBER + 10 * DAY, "20")
    await house.counted(NOVEMBER + DAY, "113", "130")
    await house.new_settler(Meanwhile(house.store, "publish", lambda: house.counted(NOVEMBER, "103"))).settle_due()
    assert [(one.month, one.reason) for one in await house.store.dirty()] == [("2026-10", "late_reading")]
    await house.settler.settle_due()
    assert (await house.sums())["ada"] == Fraction(93, 5)
    assert not await house.store.dirty()


async def test_a_late_reading_that_waits_to_be_kept_while_its_month_is_closed_is_billed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer stands still in the middle of the closing; the round is handed over meanwhile."""
    await house.counted(OCTOBER, "10", "100")
    await house.counted(OCTOBER + 10 * DAY, "20")
    await house.counted(NOVEMBER + DAY, "113", "130")
    begun, go_on, close = threading.Event(), threading.Event(), months.close

    def held(*arguments: Any, **named: Any) -> None:  # noqa: ANN401 - the store's own
        begun.set()
        go_on.wait(PATIENCE)
        close(*arguments, **named)

    monkeypatch.setattr(months, "close", held)
    settling = asyncio.create_task(house.settler.settle_due())
    await asyncio.to_thread(begun.wait, PATIENCE)
    keeping = asyncio.create_task(house.store.keep([poll(reading(NOVEMBER, "103"))]))
    await asyncio.sleep(0)  # it is handed over
    go_on.set()
    await asyncio.gather(settling, keeping)
    await house.settler.settle_due()
    assert (await house.sums())["ada"] == Fraction(93, 5)


async def test_a_move_that_is_entered_while_another_month_is_settled_is_not_taken_for_done(house: House) -> None:
    september = OCTOBER - 30 * DAY
    for at, first in ((september, "0"), (OCTOBER, "10"), (OCTOBER + 10 * DAY, "60"), (NOVEMBER, "110")):
        await house.counted(at, first, "100")
    await house.settler.settle_due()
    closed = [one.month for one in await house.store.closed_months()]
    assert closed[-2:] == ["2026-09", "2026-10"]
    await house.store.mark_dirty([DirtyMonth(facility="f", month=one, reason="other") for one in closed])
    moving = Meanwhile(house.store, "standing_charges", lambda: house.told({"occupancy": [MOVED]}))
    await house.new_settler(moving).settle_due()
    await house.settler.settle_due()
    assert (await house.sums())["ada"] == Fraction(12)
    assert not await house.store.dirty()


async def test_a_move_that_is_entered_while_its_month_is_settled_first_counts(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    await house.counted(OCTOBER + 10 * DAY, "60")
    await house.counted(NOVEMBER, "110", "130")
    moving = Meanwhile(house.store, "standing_charges", lambda: house.told({"occupancy": [MOVED]}))
    await house.new_settler(moving).settle_due()
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(10), "own": Fraction(16)}


class Turn(asyncio.Lock):
    """Says when somebody has to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = asyncio.Event()

    async def acquire(self) -> bool:  # type: ignore[override] # it always returns True
        if self.locked():
            self.awaited.set()
        return await super().acquire()


async def test_no_month_is_closed_while_a_command_is_half_done(house: House) -> None:
    """It has seen that October is open, and has not recorded yet what it changes in it."""
    await house.counted(OCTOBER, "10", "100")
    await house.counted(OCTOBER + 10 * DAY, "60")
    await house.counted(NOVEMBER, "110", "130")
    turn = Turn()
    settler = Settler(store=house.store, clock=house.clock, bell=None, gateway="gw", beat=lambda: None, turn=turn)  # type: ignore[arg-type] # nobody waits
    settling: list[asyncio.Task[object]] = []
    seen: list[ClosedMonth] = []

    async def settle_meanwhile() -> None:
        seen.extend(await house.store.closed_months())
        settling.append(asyncio.create_task(settler.settle_due()))
        waits = asyncio.create_task(turn.awaited.wait())
        await asyncio.wait({settling[0], waits}, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()

    busy = Meanwhile(house.store, "record_property", settle_meanwhile)
    commander = Commander(store=busy, clock=house.clock, seal=str, turn=turn)
    command = End.model_validate({"kind": "occupancy", "id": "s", "day": date(2026, 10, 10)})
    async with asyncio.timeout(PATIENCE):
        answer = await commander.execute(command, "test")
        assert answer.applied, answer
        await settling[0]
    assert not seen
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction(10), "own": Fraction(16)}


async def test_settling_a_month_and_showing_it_give_a_sign_of_life_with_each_meter(house: House) -> None:
    await house.counted(OCTOBER, "10", "100")
    book = book_of(await house.store.property_rows(None))
    month = Month.of(book.facilities["f"], date(2026, 10, 1))
    settler: list[str] = []
    await Settler(
        store=house.store,
        clock=house.clock,
        bell=None,  # type: ignore[arg-type] # nobody waits
        gateway="gw",
        beat=lambda: settler.append("beat"),
    ).settle_due()
    shown: list[str] = []
    await accrued(house.store, book, month, "gw", OCTOBER + DAY, lambda: shown.append("beat"))
    assert len(book.meters) > 1
    assert len(settler) == 1 + len(book.meters), "one for the month"
    assert len(shown) == len(book.meters)
