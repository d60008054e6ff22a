from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.core.event import Alarm
from gateway.mqtt.client import MqttClient
from gateway.service.deliver import Deliver
from gateway.store import Store
from gateway.store.migrate import migrate
from tests.delivery import GATEWAY, StillClock, listening
from tests.outbox import HANGS, NOON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.service.messages import Ack
    from tests.broker import Broker
    from tests.delivery import Ear

ALARMS = 120


class Watched(Store):
    """Tells how far it has been finished."""

    finished = 0

    def __init__(self, url: str, *, boot: str) -> None:
        super().__init__(url, boot=boot)
        self.changed = asyncio.Condition()

    async def acknowledge(self, acks: Sequence[Ack], finished: Mapping[str, int]) -> None:
        await super().acknowledge(acks, finished)
        async with self.changed:
            self.finished = max(finished.values(), default=self.finished)
            self.changed.notify_all()


async def delivered(store: Watched, ear: Ear, broker: Broker, count: int, upto: int) -> None:
    """Deliver from the real store until `count` alarms have been heard, and `upto` of them are finished."""
    client = MqttClient(GATEWAY, host=broker.host, port=broker.port, consumers=["billing"])
    deliver = Deliver(
        store=store,
        alarms=store,
        outlet=client,
        clock=StillClock(),
        consumers=["billing"],
        backfill=10_000,
        beat=lambda: None,
    )
    store.listen(deliver.notify)
    task = asyncio.create_task(deliver.run())
    await ear.until(lambda: len(ear.seqs("alarms/")) == count)
    ear.ack("billing", ear.events("alarms/")[0]["stream"], upto)
    async with asyncio.timeout(HANGS), store.changed:
        await store.changed.wait_for(lambda: store.finished == upto)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_outbox_on_disk_is_delivered_in_order_and_goes_on_where_the_acks_ended(
    broker: Broker, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    migrate(url)
    store = Watched(url, boot="boot-1")
    for no in range(ALARMS):
        alarm = Alarm(code="meter_silent", source=f"heat-{no}", severity="warning", since=NOON, text="Look at it.")
        await store.raise_alarm(alarm)
    async with listening(broker.host, broker.port) as ear:
        await delivered(store, ear, broker, ALARMS, upto=100)
        await store.close()
        store = Watched(url, boot="boot-2")
        await delivered(store, ear, broker, ALARMS + 20, upto=ALARMS)
        await store.close()
    assert ear.seqs("alarms/") == [*range(1, ALARMS + 1), *range(101, ALARMS + 1)]
    assert json.loads(ear.last("info") or b"")["streams"][2] == ear.events("alarms/")[0]["stream"]
