from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from gateway.store import Store, StoreError, StoreView
from gateway.store.charges import ChargeFilter
from tests.adapters.stores import START, charge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.event import Event

ALL = ChargeFilter()


async def told(store: StoreView) -> Sequence[Event]:
    return await store.events((await store.streams())[0].name, 0, 1000)


async def test_a_charge_and_its_event_are_made_together(store_url: str) -> None:
    new = [charge(1), charge(2, point=None)]
    async with Store(store_url, boot="boot-7") as store:
        assert await store.publish(new, START) == 2
        first, second = await told(store)
        assert await store.standing_charges("sonnenhof", "2026-10", str) == [new[0].data, new[1].data]
        assert await store.standing_charges("sonnenhof", "2026-11", str) == []
    assert (first.kind, first.seq, first.id, first.subject) == ("charge", 1, new[0].charge_id, "charges/flat-1")
    assert (first.time, first.bootid, first.data) == (START, "boot-7", new[0].data)
    assert (second.seq, second.subject) == (2, "charges/_remainder")


async def test_publishing_the_same_charge_again_changes_nothing(store_url: str) -> None:
    async with Store(store_url) as store:
        assert await store.publish([charge(1), charge(1)], START) == 1
        once = await told(store)
        assert await store.publish([charge(1)], START) == 0
        assert await told(store) == once


async def test_the_chain_is_a_hash_over_the_hash_before_and_the_body(store_url: str) -> None:
    for no in range(1, 4):  # also across restarts
        async with Store(store_url) as store:
            await store.publish([charge(no), charge(no + 10)], START)
    async with StoreView(store_url) as view:
        events = await told(view)
    previous = "0" * 64
    for event in events:
        assert event.prevhash == previous
        previous = hashlib.sha256(previous.encode() + event.data.encode()).hexdigest()
        assert event.hash == previous
    assert len(events) == 6


async def test_a_reversed_charge_and_its_reversal_do_not_stand(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.publish([charge(1), charge(2)], START)
        await store.publish([charge(3, replaces=1, revision=2), charge(4, revision=2)], START)
        assert await store.standing_charges("sonnenhof", "2026-10", str) == [charge(2).data, charge(4).data]
        found = await store.all_charges(ALL)
        assert await store.revisions("sonnenhof", "2026-10") == {"line-1": 2, "line-2": 1, "line-4": 2}
    assert [(one.seq, one.standing) for one in found] == [(1, False), (2, True), (3, False), (4, True)]


async def test_reversing_what_does_not_stand_publishes_nothing_at_all(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.publish([charge(1)], START)
        await store.publish([charge(2, replaces=1)], START)
        with pytest.raises(StoreError, match="does not stand: nothing was published"):
            await store.publish([charge(3), charge(4, replaces=1)], START)
        with pytest.raises(StoreError, match="does not stand"):
            await store.publish([charge(5, replaces=99)], START)
        assert len(await store.all_charges(ALL)) == len(await told(store)) == 2
        await store.publish([charge(3)], START)
        assert [event.seq for event in await told(store)] == [1, 2, 3]


async def test_a_charge_whose_row_is_refused_leaves_neither_number_nor_event(store_url: str) -> None:
    nameless = replace(charge(2), line_id=None)  # type: ignore[arg-type] # the database must refuse it
    async with Store(store_url) as store:
        with pytest.raises(IntegrityError):
            await store.publish([charge(1), nameless], START)
        assert await told(store) == []
        assert await store.all_charges(ALL) == []


async def test_numbers_have_no_gaps_when_many_publish_at_once_and_some_fail(store_url: str) -> None:
    async with Store(store_url) as store:
        batches = [[charge(no), charge(no + 1000, replaces=9999 if no % 3 == 0 else None)] for no in range(60)]
        results = await asyncio.gather(*(store.publish(each, START) for each in batches), return_exceptions=True)
        events = await told(store)
    assert sum(isinstance(result, StoreError) for result in results) == 20
    assert [event.seq for event in events] == list(range(1, 81))
    assert [event.prevhash for event in events[1:]] == [event.hash for event in events[:-1]]


async def test_charges_are_found_by_what_is_asked(store_url: str) -> None:
    async with Store(store_url) as store:
        new = [charge(1), charge(2, point="flat-2"), charge(3, point=None), charge(4, closing="2026-11")]
        await store.publish(new, START)

        async def found(wanted: ChargeFilter) -> list[int]:
            return [one.seq for one in await store.all_charges(wanted)]

        assert await found(ALL) == [1, 2, 3, 4]
        assert await found(ChargeFilter(billing_point="flat-2")) == [2]
        assert await found(ChargeFilter(billing_point="_remainder")) == [3]
        assert await found(ChargeFilter(closing="2026-11", billing_point="flat-1")) == [4]
        assert await found(ChargeFilter(facility="elsewhere")) == []
        assert await found(ChargeFilter(register="heat-01-heat")) == [1, 2, 3, 4]
        assert await found(ChargeFilter(id_prefix="0" * 39 + "3")) == [3]
        assert await found(ChargeFilter(id_prefix="%")) == []


async def test_who_listens_hears_of_new_events(store_url: str) -> None:
    heard: list[str] = []
    async with Store(store_url) as store:
        store.listen(lambda: heard.append("new"))
        await store.publish([charge(1)], START)
    assert heard == ["new"]
