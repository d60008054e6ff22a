from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.service.records import SessionRecord
from gateway.store import Store, StoreError
from gateway.store.charges import ChargeFilter
from tests.adapters.stores import QUARTER, START, charge

RUNNING = SessionRecord(
    id="s-1", facility="sonnenhof", access_point="laundry-1", started_at=START, ended_at=None, data='{"state":"armed"}'
)
ENDED = replace(RUNNING, ended_at=START + 4 * QUARTER, data='{"state":"closed"}')
END = {"subject": "sessions/flat-1", "data": '{"session_id":"s-1"}', "at": START + 4 * QUARTER}


async def end(store: Store, *costs: int) -> None:
    new = [charge(no) for no in costs]
    await store.end_session(ENDED, "sessions/flat-1", '{"session_id":"s-1"}', new, START + 4 * QUARTER)


async def test_a_running_session_is_known_after_a_restart_as_it_was_last(store_url: str) -> None:
    later = replace(RUNNING, data='{"state":"running"}')
    async with Store(store_url) as store:
        await store.keep_session(RUNNING)
        await store.keep_session(replace(RUNNING, id="s-0", started_at=START - QUARTER))
        await store.keep_session(later)
    async with Store(store_url) as store:
        assert [one.id for one in await store.open_sessions()] == ["s-0", "s-1"]
        assert (await store.open_sessions())[1] == later
        assert await store.sessions("sonnenhof", START, START + QUARTER) == []


async def test_a_session_ends_with_its_event_and_its_charges(store_url: str) -> None:
    async with Store(store_url, boot="boot-7") as store:
        await store.keep_session(RUNNING)
        await end(store, 1, 2)
        assert await store.open_sessions() == []
        charges, sessions, *_ = await store.streams()
        (event,) = await store.events(sessions.name, 0, 10)
        assert [one.id for one in await store.events(charges.name, 0, 10)] == [charge(1).charge_id, charge(2).charge_id]
    assert (event.kind, event.seq, event.subject, event.data) == ("session", 1, END["subject"], END["data"])
    assert (event.time, event.bootid, event.id) == (END["at"], "boot-7", f"{sessions.name}:1")


async def test_ending_a_session_again_changes_nothing(store_url: str) -> None:
    async with Store(store_url) as store:
        await end(store, 1)
        await end(store, 2)
        await store.keep_session(RUNNING)
        assert await store.open_sessions() == []
        assert [stream.head for stream in await store.streams()] == [1, 1, 0, 0]


async def test_a_charge_that_is_refused_leaves_the_session_running_and_nothing_told(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep_session(RUNNING)
        impossible = charge(2, replaces=99)
        with pytest.raises(StoreError, match="does not stand"):
            await store.end_session(ENDED, "sessions/flat-1", "{}", [charge(1), impossible], START)
        assert await store.open_sessions() == [RUNNING]
        assert [stream.head for stream in await store.streams()] == [0, 0, 0, 0]


async def test_charges_of_sessions_stand_beside_those_of_the_month(store_url: str) -> None:
    async with Store(store_url) as store:
        await end(store, 1)
        await store.publish([charge(2)], START)
        assert await store.standing_charges("sonnenhof", "2026-10", str) == [charge(1).data, charge(2).data]
        assert len(await store.all_charges(ChargeFilter(closing="2026-10"))) == 2


async def test_sessions_are_found_by_facility_and_time(store_url: str) -> None:
    async with Store(store_url) as store:
        await end(store)
        elsewhere = replace(ENDED, id="s-2", facility="lindenhof")
        await store.end_session(elsewhere, "sessions/flat-1", "{}", [], START)
        assert await store.sessions("sonnenhof", START, START + QUARTER) == [ENDED]
        assert await store.sessions("sonnenhof", START + 4 * QUARTER, START + 5 * QUARTER) == [ENDED]
        assert await store.sessions("sonnenhof", START - QUARTER, START) == []
        assert await store.sessions("sonnenhof", START + 5 * QUARTER, START + 6 * QUARTER) == []
