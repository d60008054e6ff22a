"""Retained state at a real broker."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from gateway.mqtt import client as mqtt
from gateway.mqtt.client import MqttClient
from gateway.mqtt.state import state_topic
from gateway.service.deliver import WINDOW
from gateway.service.messages import OfflineError
from gateway.service.state import LIVE, Shown, State
from tests.adapters.stores import START, poll, reading
from tests.broker import HOST, Broker
from tests.delivery import GATEWAY, StillClock, listening
from tests.outbox import Outbox, stream
from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.delivery import Ear

FLAT = "state/accruals/flat-1"
HEAT = "state/meters/heat-01"
SCHEMA = "schema/charge"
PATIENCE = 120.0
"""seconds after which something that never comes fails a test instead of hanging it"""


@asynccontextmanager
async def showing(host: str, port: int, clock: StillClock | None = None) -> AsyncIterator[tuple[State, MqttClient]]:
    """The worker, and the connection that it shares with the events."""
    client = MqttClient(GATEWAY, host=host, port=port, consumers=())
    state = State(outlet=client, clock=clock or StillClock(), beat=lambda: None)
    async with asyncio.timeout(PATIENCE), client.open(lambda _: None, ()):
        task = asyncio.create_task(state.run())
        try:
            yield state, client
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def heard(ear: Ear, end: str) -> list[object]:
    """What was heard at the end of a topic; None for an empty payload."""
    payloads = [bytes(message.payload) for message in ear.heard if message.topic.endswith(f"/{end}")]
    return [json.loads(payload) if payload else None for payload in payloads]


def retained(ear: Ear) -> dict[str, object]:
    """What a subscriber found, without status and info."""
    found = [message for message in ear.heard if message.retain]
    ends = {message.topic.partition("gw-01/")[2]: bytes(message.payload) for message in found}
    return {end: json.loads(payload) for end, payload in ends.items() if "/" in end}


async def test_a_new_subscriber_finds_the_latest_of_everything(broker: Broker) -> None:
    async with listening(broker.host, broker.port) as ear, showing(broker.host, broker.port) as (state, _):
        state.put(SCHEMA, {"type": "object"})
        state.put(FLAT, {"amount": "1.00"})
        await ear.until(lambda: heard(ear, FLAT) == [{"amount": "1.00"}])
        state.put(FLAT, {"amount": "2.00"})
        await ear.until(lambda: {"amount": "2.00"} in heard(ear, FLAT))
        async with listening(broker.host, broker.port, "late") as late:
            await late.until(lambda: late.last("status") is not None and len(retained(late)) == 2)
            assert retained(late) == {SCHEMA: {"type": "object"}, FLAT: {"amount": "2.00"}}


async def test_a_broker_that_has_forgotten_everything_is_told_everything_again(broker: Broker) -> None:
    async with showing(broker.host, broker.port) as (state, _):
        async with listening(broker.host, broker.port) as ear:
            state.put("rates/heat", {"price": "0.20"})
            state.put(FLAT, {"amount": "1.00"})
            await ear.until(lambda: bool(heard(ear, FLAT)))
        broker.kill()
        broker.start()
        async with listening(broker.host, broker.port, "after") as ear:
            await ear.until(lambda: bool(heard(ear, FLAT)))
            assert heard(ear, "rates/heat") == [{"price": "0.20"}]


async def test_what_changes_while_the_broker_is_away_is_overtaken_by_the_last(broker: Broker) -> None:
    async with showing(broker.host, broker.port) as (state, _):
        async with listening(broker.host, broker.port) as ear:
            state.put(FLAT, {"amount": "0"})
            await ear.until(lambda: bool(heard(ear, FLAT)))
        broker.stop()
        for amount in range(1, 50):
            state.put(FLAT, {"amount": str(amount)})
            await asyncio.sleep(0)
        broker.start()
        async with listening(broker.host, broker.port, "after") as ear:
            await ear.until(lambda: {"amount": "49"} in heard(ear, FLAT))
            assert len(heard(ear, FLAT)) < 5  # one or two were on their way before the end was noticed
            assert heard(ear, FLAT)[-1] == {"amount": "49"}


async def test_what_paho_repeats_after_a_lost_connection_never_follows_what_is_newer(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paho's thread says that it is connected before it repeats; here the event loop gets ahead of it each time."""
    loop, turned, proxy = asyncio.get_running_loop(), threading.Event(), Proxy(broker.port)
    sent, confirmed = asyncio.Event(), asyncio.Semaphore(0)
    call, retain = MqttClient._call, MqttClient.retain  # noqa: SLF001 - all that paho's thread says passes it

    def turn(left: int) -> None:
        if left:
            loop.call_soon(turn, left - 1)
        else:
            turned.set()

    def hold(client: MqttClient, *said: Any) -> None:  # noqa: ANN401 - paho's own
        call(client, *said)
        if said[1].__name__ == "_on_connect":
            turned.clear()
            loop.call_soon_threadsafe(turn, 200)
            turned.wait(PATIENCE)

    async def tell(client: MqttClient, end: str, payload: bytes) -> None:
        sent.set()
        await retain(client, end, payload)
        confirmed.release()

    monkeypatch.setattr(mqtt, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(MqttClient, "_call", hold)
    monkeypatch.setattr(MqttClient, "retain", tell)
    async with proxy.running() as port, listening(HOST, broker.port) as ear, showing(HOST, port) as (state, _):
        state.put(FLAT, {"amount": "0"})
        await confirmed.acquire()
        proxy.fall_silent()
        sent.clear()
        state.put(FLAT, {"amount": "1"})
        await sent.wait()
        state.put(FLAT, {"amount": "2"})
        proxy.cut()
        await ear.until(lambda: {"amount": "2"} in heard(ear, FLAT))
        state.put(SCHEMA, {"type": "object"})
        await ear.until(lambda: bool(heard(ear, SCHEMA)))
        assert heard(ear, FLAT) == [{"amount": "0"}, {"amount": "1"}, {"amount": "2"}]


async def test_at_a_move_the_topic_is_cleared_before_it_shows_the_next(broker: Broker) -> None:
    async with listening(broker.host, broker.port) as ear, showing(broker.host, broker.port) as (state, _):
        state.put_all("state/accruals", {"flat-1": {"payer": "ada"}, "flat-2": {"payer": "eva"}})
        await ear.until(lambda: bool(heard(ear, "state/accruals/flat-2")))
        state.put_all("state/accruals", {"flat-1": {"payer": "bob"}, "flat-2": {"payer": "eva"}}, anew=["flat-1"])
        await ear.until(lambda: len(heard(ear, FLAT)) == 3)
        assert heard(ear, FLAT) == [{"payer": "ada"}, None, {"payer": "bob"}]
        assert heard(ear, "state/accruals/flat-2") == [{"payer": "eva"}]


async def test_what_there_is_no_more_is_cleared(broker: Broker) -> None:
    async with listening(broker.host, broker.port) as ear, showing(broker.host, broker.port) as (state, _):
        state.put_all("rates", {"old": {"price": "1"}, "heat": {"price": "2"}})
        state.put("schema/rate", {})
        await ear.until(lambda: bool(heard(ear, "schema/rate")))
        state.put_all("rates", {"heat": {"price": "2"}})
        await ear.until(lambda: heard(ear, "rates/old") == [{"price": "1"}, None])
        assert heard(ear, "rates/heat") == [{"price": "2"}]
        async with listening(broker.host, broker.port, "late") as late:
            await late.until(lambda: len(retained(late)) == 2)
            assert retained(late) == {"rates/heat": {"price": "2"}, "schema/rate": {}}


async def test_a_meter_is_shown_once_it_is_kept_and_at_most_once_a_minute(broker: Broker) -> None:
    clock, kept = StillClock(), 0

    class Kept:
        async def keep(self, polls: object) -> None:
            nonlocal kept
            kept += 1
            await asyncio.sleep(0)
            assert not (kept == 1 and heard(ear, HEAT)), "shown before it was kept"
            assert polls

    async with listening(broker.host, broker.port) as ear, showing(broker.host, broker.port, clock) as (state, _):
        shown = Shown(Kept(), state)
        for index in ("1.000", "2.000", "3.000"):
            await shown.keep([poll(reading(START, index))])
            await ear.until(lambda: bool(heard(ear, HEAT)))
        state.put(FLAT, {})  # a full turn of the worker
        await ear.until(lambda: bool(heard(ear, FLAT)))
        assert indexes(ear) == ["1.000"]
        clock.ahead += LIVE
        state.put(FLAT, {"more": "1"})
        await ear.until(lambda: len(heard(ear, HEAT)) == 2)
        assert indexes(ear) == ["1.000", "3.000"]


def indexes(ear: Ear) -> list[str]:
    return [body["registers"][0]["index"] for body in heard(ear, HEAT) if isinstance(body, dict)]


async def test_state_is_not_starved_by_events_that_fill_the_window(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 3000)
    waiting = iter(outbox.rows[stream("charge")])

    async def flood(client: MqttClient) -> None:
        for event in waiting:
            await client.publish(event, historical=False)

    async with listening(broker.host, broker.port) as ear, showing(broker.host, broker.port) as (state, client):
        await ear.until(lambda: ear.last("status") is not None)
        floods = [asyncio.create_task(flood(client)) for _ in range(2 * WINDOW)]
        await ear.until(lambda: bool(ear.seqs()))
        state.put(FLAT, {"amount": "1.00"})
        await asyncio.gather(*floods)
        await ear.until(lambda: len(ear.seqs()) == 3000)
        topics = [message.topic for message in ear.heard]
        assert f"{GATEWAY.root}/{FLAT}" in topics[:-1], "between the charges"


async def test_one_refused_topic_holds_nothing_back_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(
        f"topic readwrite {GATEWAY.root}/status\ntopic readwrite {GATEWAY.root}/info\n"
        f"topic readwrite {GATEWAY.root}/rates/#\ntopic read {GATEWAY.root}/#\n"
    )
    broker = Broker(tmp_path, f"allow_anonymous true\nacl_file {rules}")
    broker.start()
    try:
        async with listening(broker.host, broker.port) as ear, showing(broker.host, broker.port) as (state, _):
            state.put(FLAT, {"amount": "1.00"})
            state.put("state/accruals/flat-2", {"amount": "1.00"})
            state.put("rates/heat", {})
            await ear.until(lambda: bool(heard(ear, "rates/heat")))
            assert not heard(ear, FLAT)
    finally:
        broker.stop()
    warnings = [one.getMessage() for one in caplog.records if "refuses" in one.getMessage()]
    assert len(warnings) == 1
    assert FLAT in warnings[0]


@pytest.mark.parametrize(
    "end", ["state/accruals/+", "state/accruals/a/b", "rates/", "rates/A", "state/flat-1", "status", "rates/a\n"]
)
async def test_an_id_that_is_none_never_becomes_a_topic(broker: Broker, end: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a topic"):
        state_topic(GATEWAY, end)
    async with listening(broker.host, broker.port) as ear, showing(broker.host, broker.port) as (state, _):
        state.put(end, {})
        state.put("rates/heat", {})
        await ear.until(lambda: bool(heard(ear, "rates/heat")))
        assert all("gw-01/" in message.topic for message in ear.heard)
        assert len([message for message in ear.heard if b"{}" in bytes(message.payload)]) == 1


async def test_a_connection_lost_while_the_next_is_there_already_leaves_nothing_unsaid() -> None:
    """The loss of the old one is heard of after the new one."""

    class Outlet:
        def __init__(self) -> None:
            self.said: list[bytes] = []
            self.done = asyncio.Event()

        def listen(self, connected: Callable[[], None]) -> None:
            self.connected = connected

        async def retain(self, end: str, payload: bytes) -> None:
            assert end == FLAT
            self.said.append(payload)
            if len(self.said) == 1:
                self.connected()
                raise OfflineError
            self.done.set()

    outlet = Outlet()
    state = State(outlet=outlet, clock=StillClock(), beat=lambda: None)
    state.put(FLAT, {})
    task = asyncio.create_task(state.run())
    outlet.connected()
    async with asyncio.timeout(PATIENCE):
        await outlet.done.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert outlet.said == [b"{}", b"{}"]
