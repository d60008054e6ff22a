"""state/health: the way out while nothing can be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.service.health import HEALTH, show_health
from gateway.store import Store
from gateway.store.writer import Priority
from tests.adapters.stores import START, new_store
from tests.adapters.test_contract_state import heard, retained, showing
from tests.adapters.test_store_disk import TOO_MUCH, fill, limit
from tests.contract import schema
from tests.delivery import StillClock, listening

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker


async def test_a_disk_that_refuses_is_shown_at_once_retained_and_so_is_its_end(tmp_path: Path, broker: Broker) -> None:
    (tmp_path / "store").mkdir()
    async with (
        Store(new_store(tmp_path / "store")) as store,
        listening(broker.host, broker.port) as ear,
        showing(broker.host, broker.port) as (state, _),
    ):
        show_health(store, state, StillClock())
        await ear.until(lambda: heard(ear, HEALTH) == [{"storing": True, "since": None, "text": None}])
        await fill(store)
        await ear.until(lambda: len(heard(ear, HEALTH)) == 2)
        async with listening(broker.host, broker.port, "late") as late:
            await late.until(lambda: HEALTH in retained(late))
            shown = retained(late)[HEALTH]
        assert isinstance(shown, dict)
        assert (shown["storing"], shown["text"]) == (False, f"{tmp_path}/store: the disk is full: make room")
        await store.writer.submit(Priority.TAP, limit(100_000))
        await store.publish(TOO_MUCH, START)
        await ear.until(lambda: len(heard(ear, HEALTH)) == 3)
        assert all(schema("health").is_valid(each) for each in heard(ear, HEALTH))
        assert [each["storing"] for each in heard(ear, HEALTH) if isinstance(each, dict)] == [True, False, True]
