"""An answer that needed another key is in the store as it came, and its readings come later, at their own time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from gateway.store import Store, schema
from gateway.store.database import database
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
