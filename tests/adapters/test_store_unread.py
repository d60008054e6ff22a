"""An answer that needed another key is in the store as it came, and its readings come later, at their own time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from gateway.store import Store, schema
from gateway.store.database import database
from gateway.store.retention import Retention
from tests.adapters.stores import QUARTER, START, new_store, poll, reading

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("heat-01", "heat")
MONTH = (START, START + timedelta(days=31))


async def test_an_unread_answer_is_kept_and_its_readings_are_those_of_its_time(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    first, second = reading(START, "1.000"), reading(START + QUARTER, "2.000")
    unread = replace(poll(first), readings=(), raw=b"\x68\x01")
    async with Store(url) as store:
        await store.keep([unread])
        assert await store.readings(["heat-01"], *MONTH) == {}
        await store.keep([replace(poll(first), raw=unread.raw), poll(second)])
        found = await store.readings(["heat-01"], *MONTH)
    with database(url).exclusive() as engine, engine.connect() as connection:
        kept = connection.execute(select(schema.poll.c.raw).order_by(schema.poll.c.seq)).scalars().all()

    assert found[KEY] == (first, second)
    assert kept[:2] == [b"\x68\x01", b"\x68\x01"]


async def test_what_waits_is_what_came_after_the_last_answer_that_gave_readings(store_url: str) -> None:
    times = [START + number * QUARTER for number in range(8)]
    answers = [poll(reading(at, f"{number}.000"), boot=f"boot-{number}") for number, at in enumerate(times)]
    read, waiting = (
        answers[:3],
        [replace(each, readings=(), raw=bytes([number])) for number, each in enumerate(answers)],
    )
    neighbour = [poll(reading(at, meter="heat-02")) for at in times]
    async with Store(store_url) as store:
        assert await store.unread("heat-01", times[7], 10) == []
        never = replace(waiting[0], at=START - QUARTER)
        await store.keep([never, waiting[0], *read, *neighbour[:3]])
        assert await store.unread("heat-01", times[7], 10) == []
        for number in range(3, 8):
            await store.keep([waiting[number], neighbour[number]])
        assert await store.unread("heat-01", times[7], 10) == waiting[3:7]
        assert await store.unread("heat-01", times[7], 2) == waiting[5:7]
        assert await store.unread("heat-02", times[7], 10) == []
        await store.keep([answers[3], answers[4], answers[5], answers[6]])
        assert await store.unread("heat-01", times[7], 10) == []


async def test_an_answer_whose_octets_are_forgotten_waits_no_more(tmp_path: Path) -> None:
    unread = [replace(poll(reading(START + n * QUARTER)), readings=(), raw=bytes([n + 1])) for n in range(4)]
    async with Store(new_store(tmp_path)) as store:
        await store.keep(unread)
        await Retention(store).forget_raw(START + 2 * QUARTER, 10)
        assert await store.unread("heat-01", START + 4 * QUARTER, 10) == unread[2:]
