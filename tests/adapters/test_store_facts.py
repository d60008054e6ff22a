from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from gateway.core.event import Alarm
from gateway.service.alarms import Ended
from gateway.service.messages import Ack
from gateway.service.records import DirtyMonth, PropertyChange
from gateway.store import Store
from tests.adapters.stores import START, charge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from gateway.core.event import Event

DAY = timedelta(days=1)
SILENT = Alarm(
    code="meter_silent", source="heat-01", severity="warning", since=START, text="heat-01 does not answer: look at it"
)


def point(name: str, value: str | None) -> PropertyChange:
    return PropertyChange(kind="point", id=name, value=value)


def month(name: str, reason: str = "move") -> DirtyMonth:
    return DirtyMonth(facility="sonnenhof", month=name, reason=reason)


async def known(store: Store, at: datetime | None) -> dict[str, str | None]:
    return {row.id: row.value for row in await store.property_rows(at)}


async def test_property_is_known_as_it_was_recorded_by_then(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.record_property([point("a", "1"), point("b", "1")], "import", START)
        await store.record_property([point("a", "2")], "meier", START + DAY)
        await store.record_property([point("b", None)], "meier", START + 2 * DAY)
        assert await known(store, START - DAY) == {}
        assert await known(store, START) == {"a": "1", "b": "1"}
        assert await known(store, START + 2 * DAY - timedelta(microseconds=1)) == {"a": "2", "b": "1"}
        assert await known(store, START + 2 * DAY) == await known(store, None) == {"a": "2", "b": None}
        rows = {row.id: row for row in await store.property_rows(None)}
    assert (rows["a"].recorded_at, rows["a"].recorded_by) == (START + DAY, "meier")


async def test_the_last_word_counts_even_where_the_clock_was_set_back(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.record_property([point("a", "1")], "meier", START + DAY)
        await store.record_property([point("a", "2")], "meier", START)
        assert await known(store, None) == {"a": "2"}


async def test_recording_what_holds_already_adds_no_row(store_url: str) -> None:
    async with Store(store_url) as store:
        assert await store.record_property([point("a", "1"), point("b", "1")], "import", START) == 2
        again = [point("a", "1"), point("b", "2"), point("c", None)]
        assert await store.record_property(again, "import", START + DAY) == 1
        rows = await store.property_rows(None)
    assert [(row.id, row.recorded_at) for row in rows] == [("a", START), ("b", START + DAY)]


async def test_a_change_and_the_months_that_it_touches_are_one_transaction(store_url: str) -> None:
    nameless = DirtyMonth(facility=None, month="2026-10", reason="move")  # type: ignore[arg-type] # what the store refuses
    async with Store(store_url) as store:
        with pytest.raises(IntegrityError):
            await store.record_property([point("a", "1")], "meier", START, [month("2026-09"), nameless])
        assert await store.property_rows(None) == []
        assert await store.dirty() == []
        await store.record_property([point("a", "1")], "meier", START, [month("2026-09"), month("2026-10")])
        assert [dirty.month for dirty in await store.dirty()] == ["2026-09", "2026-10"]


async def test_a_month_closes_once_and_remembers_when_it_was_last_settled(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.close_month("sonnenhof", "2026-10", START)
        await store.close_month("sonnenhof", "2026-10", START + DAY)
        await store.close_month("lindenhof", "2026-10", START)
        (closed,) = await store.closed_months("sonnenhof")
        assert (closed.closed_at, closed.settled_at) == (START, START + DAY)
        assert len(await store.closed_months()) == 2


async def test_settling_takes_away_the_marks_that_it_knew_and_no_later_one(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.mark_dirty([month("2026-10"), month("2026-10", "rate"), month("2026-09")])
        settled = [dirty for dirty in await store.dirty() if dirty.month == "2026-10"]
        await store.mark_dirty([month("2026-10")])  # while it is being settled
        await store.close_month("sonnenhof", "2026-10", START, settled)
        assert {(dirty.month, dirty.reason) for dirty in await store.dirty()} == {
            ("2026-09", "move"),
            ("2026-10", "move"),
        }
        await store.close_month("sonnenhof", "2026-10", START, await store.dirty())
        assert await store.dirty() == []


async def alarms(store: Store) -> Sequence[Event]:
    return await store.events((await store.streams())[2].name, 0, 100)


async def test_an_alarm_is_told_when_it_begins_and_when_it_ends_and_never_twice(store_url: str) -> None:
    async with Store(store_url, boot="boot-7") as store:
        for _ in range(2):
            await store.raise_alarm(SILENT)
        assert await store.open_alarms() == [SILENT]
        for _ in range(2):
            await store.end_alarm("meter_silent", "heat-01", START + DAY)
        assert await store.open_alarms() == []
        begun, ended = await alarms(store)
    assert (begun.subject, begun.time, begun.bootid) == ("alarms/heat-01", START, "boot-7")
    data = json.loads(begun.data)
    assert data == {
        "alarm_id": data["alarm_id"],
        "code": "meter_silent",
        "severity": "warning",
        "source": "heat-01",
        "since": "2026-10-01T00:00:00Z",
        "ended": None,
        "text": "heat-01 does not answer: look at it",
    }
    assert json.loads(ended.data) == {**data, "ended": "2026-10-02T00:00:00Z"}
    assert (ended.seq, ended.time) == (2, START + DAY)


async def test_what_a_round_tells_begins_and_ends_in_its_order_and_in_one_transaction(store_url: str) -> None:
    other = replace(SILENT, source="heat-02")
    never = [Ended(code="meter_wrong", source=f"heat-{number:02}", at=START) for number in range(100)]
    async with Store(store_url) as store:
        await store.raise_alarm(SILENT)
        seen: list[Connection] = []
        event.listen(store.writer._engine, "commit", seen.append)  # noqa: SLF001 - counted where it happens
        over = Ended(code="meter_silent", source="heat-01", at=START + DAY)
        anew = replace(SILENT, since=START + DAY)
        for _ in range(2):
            await store.change_alarms([*never, other, over, anew, replace(over, source="heat-02")])
        assert len(seen) == 2
        assert await store.open_alarms() == [anew]
        told = [json.loads(one.data) for one in await alarms(store)]
    assert [(one["source"], one["ended"] is None) for one in told][:5] == [
        ("heat-01", True),
        ("heat-02", True),
        ("heat-01", False),
        ("heat-01", True),
        ("heat-02", False),
    ]


async def test_an_alarm_that_ended_can_begin_again_as_another(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.raise_alarm(SILENT)
        await store.end_alarm("meter_silent", "heat-01", START)
        await store.raise_alarm(SILENT)
        ids = [json.loads(event.data)["alarm_id"] for event in await alarms(store)]
    assert ids[0] == ids[1] != ids[2]


async def test_other_sources_and_codes_are_other_alarms(store_url: str) -> None:
    other = Alarm(code="line_down", source="heat-01", severity="error", since=START + DAY, text="x")
    async with Store(store_url) as store:
        await store.raise_alarm(other)
        await store.raise_alarm(SILENT)
        await store.end_alarm("line_down", "heat-02", START)
        assert await store.open_alarms() == [SILENT, other]


async def test_acks_and_cursors_only_rise_and_outlive_a_restart(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.publish([charge(no) for no in range(5)], START)
        name = (await store.streams())[0].name
        await store.acknowledge([Ack(consumer="billing", stream=name, seq=4)], {name: 3})
        await store.acknowledge([Ack(consumer="billing", stream=name, seq=2)], {name: 1})
        await store.acknowledge([Ack(consumer="portal", stream=name, seq=3)], {})
    async with Store(store_url) as store:
        assert await store.acks() == {("billing", name): 4, ("portal", name): 3}
        stream = (await store.streams())[0]
        assert (stream.head, stream.finished) == (5, 3)
        assert [event.seq for event in await store.events(name, 3, 10)] == [4, 5]


async def test_an_unknown_stream_has_no_events_and_takes_no_ack(store_url: str) -> None:
    async with Store(store_url) as store:
        assert await store.events("charges-00000000", 0, 10) == []
        with pytest.raises(IntegrityError):
            await store.acknowledge([Ack(consumer="billing", stream="charges-00000000", seq=1)], {})
