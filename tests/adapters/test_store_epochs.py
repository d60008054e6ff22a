from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gateway.core.event import Alarm
from gateway.service.messages import Ack
from gateway.service.records import SessionRecord
from gateway.store import Store, epochs
from gateway.store.charges import ChargeFilter
from gateway.store.migrate import migrate
from gateway.store.writer import Priority
from tests.adapters.stores import QUARTER, START, charge, poll, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.event import Event
    from gateway.service.messages import Stream
    from gateway.store import StoreView
    from tests.postgres import Postgres

KINDS = ("charge", "session", "alarm", "reading")


async def begin(store: Store) -> None:
    await store.writer.submit(Priority.SETTLE, epochs.begin)


async def of(store: StoreView, kind: str) -> Stream:
    return (await store.streams())[KINDS.index(kind)]


async def told(store: StoreView, kind: str) -> Sequence[Event]:
    return await store.events((await of(store, kind)).name, 0, 1000)


async def finish(store: Store, kind: str, seq: int) -> None:
    name = (await of(store, kind)).name
    await store.acknowledge([Ack(consumer="billing", stream=name, seq=seq)], {name: seq})


async def alarm(store: Store, source: str) -> None:
    await store.raise_alarm(Alarm(code="meter_silent", source=source, severity="warning", since=START, text="x"))


async def test_all_streams_count_from_one_under_a_new_name_and_nobody_has_acknowledged(store_url: str) -> None:
    async with Store(store_url) as store:
        before = await store.streams()
        await store.publish([charge(1)], START)
        await finish(store, "charge", 1)
        await begin(store)
        after = await store.streams()
        assert await store.acks() == {}
    assert {one.name for one in before}.isdisjoint({one.name for one in after})
    assert len({one.name.partition("-")[2] for one in after}) == 1
    assert [(one.kind, one.finished) for one in after] == [(kind, 0) for kind in KINDS]


async def test_every_charge_is_told_again_as_it_was_in_a_chain_of_its_own(store_url: str) -> None:
    async with Store(store_url, boot="boot-7") as store:
        await store.publish([charge(1), charge(2, point=None)], START)
        await store.publish([charge(3, replaces=1, revision=2)], START + QUARTER)
        await finish(store, "charge", 2)
        before = await told(store, "charge")
        for _ in range(2):  # also where a restored store is restored
            await begin(store)
            after = await told(store, "charge")
            assert [(one.seq, one.id, one.data) for one in after] == [(one.seq, one.id, one.data) for one in before]
            assert [(one.subject, one.time, one.bootid) for one in after] == [
                (one.subject, one.time, one.bootid) for one in before
            ]
        await store.publish([charge(4)], START)
        previous = "0" * 64
        for event in await told(store, "charge"):
            assert event.prevhash == previous
            previous = hashlib.sha256(previous.encode() + event.data.encode()).hexdigest()
            assert event.hash == previous
        assert (await of(store, "charge")).head == 4


async def test_charges_are_listed_once_and_stand_as_they_stood(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.publish([charge(1), charge(2)], START)
        await store.publish([charge(3, replaces=1)], START)
        before = [(one.charge_id, one.standing) for one in await store.all_charges(ChargeFilter())]
        await begin(store)
        found = await store.all_charges(ChargeFilter())
        assert [(one.charge_id, one.standing) for one in found] == before
        assert {one.stream for one in found} == {(await of(store, "charge")).name}
        assert await store.standing_charges("sonnenhof", "2026-10", str) == [charge(2).data]
        assert await store.publish([charge(1)], START) == 0


async def test_polls_that_were_not_finished_are_the_first_of_the_new_stream(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(START + no * QUARTER)) for no in range(5)])
        old = (await of(store, "reading")).name
        await finish(store, "reading", 3)
        await begin(store)
        assert [(one.seq, one.time) for one in await told(store, "reading")] == [
            (1, START + 3 * QUARTER),
            (2, START + 4 * QUARTER),
        ]
        assert [one.seq for one in await store.events(old, 0, 100)] == [1, 2, 3]
        await store.keep([poll(reading(START + 5 * QUARTER))])
        assert [one.seq for one in await told(store, "reading")] == [1, 2, 3]
        await finish(store, "reading", 1)
        await begin(store)
        assert [one.time for one in await told(store, "reading")] == [START + no * QUARTER for no in (4, 5)]


async def test_alarms_and_sessions_that_were_not_finished_are_told_again(store_url: str) -> None:
    ended = SessionRecord(
        id="s-1", facility="sonnenhof", access_point="laundry-1", started_at=START, ended_at=START, data="{}"
    )
    async with Store(store_url) as store:
        for source in ("heat-01", "heat-02", "heat-03"):
            await alarm(store, source)
        await store.end_session(ended, "sessions/flat-1", '{"session_id":"s-1"}', [], START)
        await finish(store, "alarm", 1)
        await begin(store)
        again = await told(store, "alarm")
        assert [(one.seq, one.subject) for one in again] == [(1, "alarms/heat-02"), (2, "alarms/heat-03")]
        assert [one.id for one in again] == [f"{again[0].stream}:1", f"{again[0].stream}:2"]
        assert [one.data for one in await told(store, "session")] == ['{"session_id":"s-1"}']
        assert len(await store.open_alarms()) == 3
        await alarm(store, "heat-04")
        assert (await of(store, "alarm")).head == 3


async def test_a_postgresql_database_that_was_restored_elsewhere_begins_a_new_epoch_once(postgres: Postgres) -> None:
    url = postgres.new("template0")
    assert not migrate(url).new_epoch
    async with Store(url) as store:
        await store.publish([charge(1)], START)
        name = (await of(store, "charge")).name
    assert not migrate(url).new_epoch
    copy = postgres.new(url.rpartition("/")[2])
    assert migrate(copy).new_epoch
    assert not migrate(copy).new_epoch
    async with Store(copy) as store:
        assert (await of(store, "charge")).name != name
        assert [one.id for one in await told(store, "charge")] == [charge(1).charge_id]
