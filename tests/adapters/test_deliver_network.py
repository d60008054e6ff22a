"""Delivery over a network that is cut, slow, half closed or silent."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from gateway.mqtt import client as mqtt
from tests.broker import HOST
from tests.delivery import delivering, listening
from tests.outbox import Outbox, stream
from tests.proxy import Proxy

if TYPE_CHECKING:
    from paho.mqtt.client import Client

    from gateway.core.event import Event
    from tests.broker import Broker

CHARGES = stream("charge")


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "FIRST_RETRY", 0.05)


def first_come(seqs: list[int]) -> list[int]:
    """Each number where it came first."""
    return list(dict.fromkeys(seqs))


async def test_a_connection_cut_twenty_times_during_publishes_loses_nothing_and_keeps_the_order(broker: Broker) -> None:
    outbox, proxy = Outbox(), Proxy(broker.port)
    outbox.add("charge", 3000)
    async with proxy.running() as port, listening(HOST, broker.port) as ear, delivering(outbox, HOST, port):

        async def far(turn: int) -> None:
            await ear.until(lambda: len(first_come(ear.seqs())) > turn * 100 and proxy.accepted > turn)

        for turn in range(20):
            await far(turn)
            proxy.cut()
        await outbox.until(lambda: outbox.done[CHARGES] == 3000)
        await ear.until(lambda: len(first_come(ear.seqs())) == 3000)
        assert first_come(ear.seqs()) == list(range(1, 3001))
        assert proxy.accepted == 21


async def test_what_is_new_never_overtakes_what_is_repeated(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paho's thread connects anew on its own, here before the event loop has heard that the connection ended."""
    outbox, proxy, loop = Outbox(), Proxy(broker.port), asyncio.get_running_loop()
    sent, opened, holding, held = asyncio.Semaphore(0), asyncio.Event(), threading.Event(), deque[tuple[Any, ...]]()
    call, publish = mqtt.MqttClient._call, mqtt.MqttClient.publish  # noqa: SLF001 - all that paho's thread says passes it

    def hold(client: mqtt.MqttClient, *said: Any) -> None:  # noqa: ANN401 - paho's own
        if not holding.is_set():
            call(client, *said)
            return
        held.append((client, *said))
        if said[1].__name__ == "_on_open":
            loop.call_soon_threadsafe(opened.set)

    async def tell(client: mqtt.MqttClient, event: Event, *, historical: bool) -> None:
        sent.release()
        await publish(client, event, historical=historical)

    async def add(count: int) -> None:
        outbox.add("charge", count)
        deliver.notify()
        for _ in range(count):
            await sent.acquire()

    monkeypatch.setattr(mqtt.MqttClient, "_call", hold)
    monkeypatch.setattr(mqtt.MqttClient, "publish", tell)
    async with proxy.running() as port, listening(HOST, broker.port) as ear, delivering(outbox, HOST, port) as deliver:
        await add(1)
        await outbox.until(lambda: outbox.done[CHARGES] == 1)
        proxy.fall_silent()
        await add(5)
        holding.set()
        proxy.delay = 0.2
        proxy.cut()
        await opened.wait()
        await add(5)
        while held:
            call(*held.popleft())
        holding.clear()
        await outbox.until(lambda: outbox.done[CHARGES] == 11)
        await ear.until(lambda: len(first_come(ear.seqs())) == 11)
        assert first_come(ear.seqs()) == list(range(1, 12))


async def test_a_slow_network_delays_and_changes_nothing(broker: Broker) -> None:
    outbox, proxy = Outbox(), Proxy(broker.port)
    outbox.add("charge", 200)
    proxy.delay = 0.02
    async with proxy.running() as port, listening(HOST, broker.port) as ear, delivering(outbox, HOST, port):
        await outbox.until(lambda: outbox.done[CHARGES] == 200)
        await ear.until(lambda: len(ear.seqs()) >= 200)  # a PUBACK may be faster than the ear
        assert ear.seqs() == list(range(1, 201))
        assert proxy.accepted == 1


@pytest.mark.parametrize("towards_client", [True, False])
async def test_a_half_closed_connection_is_given_up_and_the_rest_sent_over_a_new_one(
    broker: Broker, *, towards_client: bool
) -> None:
    outbox, proxy = Outbox(), Proxy(broker.port)
    outbox.add("charge", 20)
    async with proxy.running() as port, listening(HOST, broker.port) as ear, delivering(outbox, HOST, port) as deliver:
        await outbox.until(lambda: outbox.done[CHARGES] == 20)
        proxy.half_close(towards_client=towards_client)
        outbox.add("charge", 20)
        deliver.notify()
        await outbox.until(lambda: outbox.done[CHARGES] == 40)
        await ear.until(lambda: len(first_come(ear.seqs())) == 40)  # a PUBACK may be faster than the ear
        assert first_come(ear.seqs()) == list(range(1, 41))
        assert proxy.accepted == 2


async def test_a_connection_that_has_gone_silent_is_noticed_by_the_keep_alive(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next connection bears a machine that stands still for a second."""
    outbox, proxy, silent, identify = Outbox(), Proxy(broker.port), threading.Event(), mqtt.MqttClient._identify  # noqa: SLF001 - before each attempt

    def patient(client: mqtt.MqttClient, paho: Client) -> None:
        if silent.is_set():
            paho._keepalive = 30  # noqa: SLF001 - its own setter refuses while it connects
        identify(client, paho)

    monkeypatch.setattr(mqtt, "KEEP_ALIVE", 1)
    monkeypatch.setattr(mqtt.MqttClient, "_identify", patient)
    outbox.add("charge", 20)
    async with proxy.running() as port, listening(HOST, broker.port) as ear, delivering(outbox, HOST, port) as deliver:
        await outbox.until(lambda: outbox.done[CHARGES] == 20)
        before = proxy.accepted  # more than one where the machine stood still for longer than the broker waits
        silent.set()
        proxy.fall_silent()
        outbox.add("charge", 20)
        deliver.notify()
        await outbox.until(lambda: outbox.done[CHARGES] == 40)
        await ear.until(lambda: len(first_come(ear.seqs())) == 40)
        assert first_come(ear.seqs()) == list(range(1, 41))
        assert proxy.accepted == before + 1
