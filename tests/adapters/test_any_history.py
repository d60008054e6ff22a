"""Random histories on a real store: whatever came late, wrong, in whatever order, at the end everybody paid the same.

What is expected is computed from the last state alone (tests/oracle.py).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from datetime import date, datetime, timedelta
from fractions import Fraction as F  # noqa: N817 - as in the oracle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.core.book import problems
from gateway.core.charge import Charge, parse, seams
from gateway.core.period import Period
from gateway.service.command_execute import Commander
from gateway.service.command_schema import Add, AddReading, Command, End, Import, Named, Set, VoidReading
from gateway.service.property import book
from gateway.service.records import DirtyMonth
from gateway.service.settle import Settler
from gateway.store import Store
from gateway.store.charges import ChargeFilter, KeptCharge
from tests.adapters.stores import poll
from tests.adapters.test_settle import HandClock
from tests.any_building import entities, line, reading, tables, text, worlds
from tests.oracle import month_of, settle
from tests.oracle_world import Reading, World
from tests.verifier import verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row = dict[str, Any]
Step = tuple[Any, ...]
LATE = {"occupancy", "owner", "link", "rate", "point", "building", "register"}
ALWAYS = {"point", "building", "register"}
"""what others name: it may only change"""


@st.composite
def histories(draw: st.DrawFn) -> tuple[World, date, dict[str, list[Row]], list[Step]]:
    """The last state, what is known at the beginning, and the steps between, each at its time."""
    world, first = draw(worlds())
    begun: dict[str, list[Row]] = {}
    steps: list[tuple[int, Step]] = [
        (draw(times), ("read", one, each)) for one in world.registers for each in one.readings
    ]
    for kind, rows in tables(world).items():
        begun[kind] = []
        for row in rows:
            how = draw(st.sampled_from(["known", "known", "missing", "other"])) if kind in LATE else "known"
            before = earlier(draw, kind, row)
            if how == "missing" and kind not in ALWAYS and row["id"] != "o0":
                steps.append((draw(times), ("add", kind, row)))
            elif how != "known" and before != row:
                begun[kind].append(before)
                steps.append((draw(times), ("set", kind, row, before)))
            else:
                begun[kind].append(row)
    steps += draw(mistakes(world, first))
    work = st.sampled_from([("settle",), ("settle",), ("settle",), ("restart",), ("crash", 0), ("crash", 2)])
    steps += draw(st.lists(st.tuples(times, work), min_size=1, max_size=6))
    return world, first, begun, [step for _, step in sorted(steps, key=lambda pair: pair[0])]


times = st.integers(0, 20)


@st.composite
def mistakes(draw: st.DrawFn, world: World, first: date) -> list[tuple[int, Step]]:
    """Readings that are voided later, stays that never were."""
    found: list[tuple[int, Step]] = []
    for one in world.registers:
        minutes = draw(st.integers(-2000, 45000))
        at = month_of(first, world.zone)[0] + timedelta(minutes=minutes)
        taken = {each.at for each in one.readings} | {each.at for each in one.exchanges}
        if minutes % 3 == 0 and at not in taken:
            wrong = Reading(at=at, value=one.resolution * draw(st.integers(0, 10**6)))
            came = draw(times)
            found += [(came, ("read", one, wrong)), (draw(st.integers(came, 20)), ("void", one, at))]
    for point in world.points:
        if draw(st.integers(0, 3)) == 0:
            entry = first + timedelta(days=draw(st.integers(-3, 31)))
            row = {"id": f"wrong-{point.id}", "point": point.id, "user": "own", "entry": entry.isoformat()}
            row["exit"] = (entry + timedelta(days=5)).isoformat()
            came = draw(times)
            found += [(came, ("add", "occupancy", row)), (draw(st.integers(came, 20)), ("end", "occupancy", row["id"]))]
    return found


def earlier(draw: st.DrawFn, kind: str, row: Row) -> Row:
    """What was known of an entry before it was put right."""
    old: Row = json.loads(json.dumps(row))
    match kind:
        case "occupancy":
            old.pop("exit", None)
        case "link":
            old.pop("until", None)
        case "owner":
            old["user"] = "own"
        case "rate":
            old["prices"] = old["prices"][:1]
            if draw(st.booleans()):
                old["prices"][0]["price"] = "9.5"
        case "point" | "building":
            old |= {key: old[key][:1] for key in ("surface", "volume", "quotity", "people") if key in old}
        case "register":
            if draw(st.booleans()):
                old.pop("exchanges", None)
            else:
                old["max_per_day"] = "3"
    return old


def command_of(step: Step) -> Command | None:
    """What a person does; None for what happens by itself."""
    match step:
        case ("add", kind, row):
            return Add(kind=kind, value=row)
        case ("set", kind, row, before):
            told = untold(row, before)
            return Set(kind=kind, id=row["id"], value={key: told.get(key) for key in {**row, **before} if key != "id"})
        case ("end", kind, entry):
            return End(kind=kind, id=entry, mistaken=True)
        case ("void", one, at):
            return VoidReading.model_validate(
                {"meter": f"m-{one.id}", "register": "k", "at": at.isoformat(), "reason": "wrong"}
            )
        case ("read", one, Reading(at=at, value=value, quality="manual")):
            where = {"meter": f"m-{one.id}", "register": "k", "at": at.isoformat()}
            return AddReading.model_validate({**where, "value": text(value), "reason": "read"})
    return None


def untold(row: Row, before: Row) -> Row:
    """Without whom the first exchange ended, where the meter's entry named it: nobody has to say so."""
    if "exchanges" not in row or "exchanges" in before:
        return row
    begun = {step.get("serial") for step in row["exchanges"]}
    steps = [{key: step[key] for key in step if key != "old_serial" or step[key] in begun} for step in row["exchanges"]]
    return row | {"exchanges": steps}


class Dying:
    """The store, until it has published so often."""

    def __init__(self, store: Store, left: int) -> None:
        self._store = store
        self._left = left

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        return getattr(self._store, name)

    async def publish(self, *arguments: Any) -> int:  # noqa: ANN401 - as the store's
        if not self._left:
            raise ConnectionAbortedError
        self._left -= 1
        return await self._store.publish(*arguments)


class Play:
    """A store that a history is played on."""

    def __init__(self, url: str, now: datetime) -> None:
        self.store = Store(url)
        self._url = url
        self._clock = HandClock(now)

    async def settle(self, store: object = None) -> None:
        settler = Settler(
            store=store or self.store,  # type: ignore[arg-type] # a store's double
            clock=self._clock,
            bell=None,  # type: ignore[arg-type] # nobody waits
            gateway="gw",
            beat=lambda: None,
        )
        await settler.settle_due()

    async def mark(self) -> None:
        closed = await self.store.closed_months()
        await self.store.mark_dirty([DirtyMonth(facility="f", month=one.month, reason="other") for one in closed])

    async def obeyed(self, command: Command) -> bool:
        commander = Commander(store=self.store, clock=self._clock, seal=lambda identifier: identifier)
        return (await commander.execute(command, "test")).ok

    async def did(self, step: Step) -> bool:
        """Whether it could be done."""
        command = command_of(step)
        if command is not None:
            return await self.obeyed(command)
        match step:
            case ("read", register, one):
                await self.store.keep([poll(reading(register, one))])
                await self.mark()
            case ("restart",):
                await self.store.close()
                self.store = Store(self._url)
            case ("crash", after):
                with suppress(ConnectionAbortedError):
                    await self.settle(Dying(self.store, after))
            case _:
                await self.settle()
        return True

    async def played(self, begun: Mapping[str, Sequence[Row]], steps: Sequence[Step]) -> bool:
        """Whether all of it could be done; what is refused is tried again later."""
        entries = tuple(Named(kind=kind, value=row) for kind, rows in begun.items() for row in rows)  # type: ignore[arg-type] # its tables
        if not await self.obeyed(Import(entries=entries)):
            return False
        waiting = [step for step in steps if not await self.did(step)]
        for _ in range(len(waiting)):
            waiting = [step for step in waiting if not await self.did(step)]
        return not waiting

    async def published(self) -> list[KeptCharge]:
        return list(await self.store.all_charges(ChargeFilter()))


def verified(kept: Sequence[KeptCharge]) -> list[Charge]:
    """The charges that stand: each recomputed, the chain whole, nothing told twice, the last revision is all."""
    bodies = [json.loads(one.data) for one in kept]
    links = [{"id": one.charge_id, "seq": str(one.seq), "prevhash": one.prevhash, "hash": one.hash} for one in kept]
    assert verify([{**link, "data": body} for link, body in zip(links, bodies, strict=True)]) == len(kept)
    for group in {one["line_id"] for one in bodies}:
        members = [one for one in bodies if one["line_id"] == group]
        last = max(one["revision"] for one in members)
        of_last = [one for one in members if one["revision"] == last and one["kind"] == "charge"]
        assert sum(F(one["amount"]) for one in members) == sum(F(one["amount"]) for one in of_last)
        assert sum(F(one["quantity"]) for one in members) == sum(F(one["quantity"]) for one in of_last)
    gone = [one["replaces"] for one in bodies if one["kind"] == "reversal"]
    assert len(set(gone)) == len(gone)
    return [parse(one) for one in bodies if one["kind"] == "charge" and one["charge_id"] not in gone]


def compared(world: World, first: date, standing: Sequence[Charge]) -> int:
    """Lines of the month that are as the oracle says; what is held and stands published stays as it was."""
    span = month_of(first, world.zone)
    cut = seams(standing, Period(*span))
    lines, held = settle(world, span, cut)
    frozen = {
        one.register
        for one in held
        for charge in standing
        if charge.register == one.register and charge.period.start < one.until and one.since < charge.period.until
    }
    decided = [one for one in lines if one.register not in frozen]
    assert Counter(line(one) for one in standing if one.register not in frozen) == Counter(decided)
    whole, _ = settle(world, span)
    for register in {one.register for one in decided}:
        quantities = [sum(one.quantity for one in each if one.register == register) for each in (decided, whole)]
        assert held or quantities[0] == quantities[1]
    return len(decided)


async def end_of(
    url: str, world: World, first: date, begun: Mapping[str, Sequence[Row]], steps: Sequence[Step]
) -> int | None:
    """How many lines were compared at the end; None where a step was refused for good."""
    before = (first - timedelta(days=1)).replace(day=1)
    play = Play(url, month_of(first, world.zone)[1] + timedelta(days=10))
    try:
        if not await play.played(begun, steps):
            return None
        await play.settle()
        kept = await play.published()
        await play.mark()
        await play.settle()
        assert await play.published() == kept
        closed = {one.month for one in await play.store.closed_months()}
    finally:
        await play.store.close()
    standing = verified(kept)
    months = {f"{month:%Y-%m}": month for month in (before, first)}
    assert {one.closing for one in standing} <= months.keys()
    return sum(
        compared(world, month, [one for one in standing if one.closing == label])
        for label, month in months.items()
        if label in closed
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(histories())
def test_at_the_end_of_any_history_the_sum_of_all_revisions_is_what_the_policies_say(
    empty: Path, history: tuple[World, date, dict[str, list[Row]], list[Step]]
) -> None:
    assume(not problems(book(entities(history[0]))))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(empty, folder)
        compared_lines = asyncio.run(end_of(f"sqlite:///{Path(folder) / empty.name}", *history))
    assume(compared_lines is not None)
