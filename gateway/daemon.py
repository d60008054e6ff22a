"""The composition root: opens every part, joins them and runs the workers. The only module that knows all."""

from __future__ import annotations

import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.clock import DaemonClock, SteppedClock, StepServer, SystemClock
from gateway.lifetime import Worker, beat, live
from gateway.mqtt.client import MqttClient
from gateway.mqtt.topics import Gateway
from gateway.notify import READY, STOPPING, Notifier
from gateway.service.deliver import Deliver
from gateway.service.poll import Line, Poller
from gateway.service.settle import Settler
from gateway.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.clock import Run
    from gateway.settings import BusSettings, MqttSettings, Settings

CLOCK = "SUBMETER_CLOCK"
"""names the socket of the simulation that steps the clock"""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger(__name__)


class StartError(Exception):
    """The daemon cannot start. The text is one sentence."""


async def run(settings: Settings, environment: Mapping[str, str] = os.environ) -> int:
    """Run until told to end; the exit code. StoreError or StartError where it cannot begin."""
    notifier = Notifier(environment)
    async with AsyncExitStack() as opened:
        clock = await _clock(environment.get(CLOCK, ""), opened)
        boot = _boot_id()
        store = Store(settings.store, boot=boot)
        opened.push_async_callback(store.close)
        lines = [await _poller(bus, clock, store, boot, opened) for bus in settings.buses]
        workers = [
            _clocked(f"poll {bus.id}", poller.run, clock) for bus, poller in zip(settings.buses, lines, strict=True)
        ]
        settler = Settler(store=store, clock=clock, bell=clock.bell(), gateway=settings.gateway, beat=beat)
        workers.append(_clocked("settle", settler.run, clock))
        if settings.mqtt is not None:
            workers.append(_delivery(settings, settings.mqtt, clock, store))
        if notifier.watched:
            workers.append(_watchdog(notifier, tuple(workers)))
        _log.info("%s/%s: ready, %d lines", settings.site, settings.gateway, len(lines))
        return await live(workers, started=lambda: notifier.tell(READY), stopping=lambda: notifier.tell(STOPPING))


async def _clock(socket: str, opened: AsyncExitStack) -> DaemonClock:
    if not socket:
        return SystemClock(beat)
    clock = SteppedClock()
    server = StepServer(clock)
    try:
        await server.open(socket)
    except OSError as error:
        message = f"{CLOCK}={socket}: no socket can be made there ({error}); name a path in a writable folder"
        raise StartError(message) from error
    opened.callback(server.close)
    return clock


def _boot_id() -> str:
    return BOOT_ID.read_text(encoding="ascii").strip()


async def _poller(bus: BusSettings, clock: DaemonClock, store: Store, boot: str, opened: AsyncExitStack) -> Poller:
    line = bus.driver.open(bus.line, bus.meters, clock)
    opened.push_async_callback(line.close)
    meters = Line(id=bus.id, poll=bus.poll, meters=tuple(bus.meters))
    return Poller(meters, line, clock=clock, store=store, alarms=store, boot=boot, beat=beat)


def _delivery(settings: Settings, mqtt: MqttSettings, clock: DaemonClock, store: Store) -> Worker:
    topics = Gateway(site=settings.site, name=settings.gateway)
    client = MqttClient(topics, host=mqtt.host, port=mqtt.port, consumers=mqtt.consumers)
    deliver = Deliver(store=store, alarms=store, outlet=client, clock=clock, consumers=mqtt.consumers, beat=beat)
    store.listen(deliver.notify)
    return Worker(name="deliver", run=_once_started(deliver.run, clock))


def _watchdog(notifier: Notifier, workers: tuple[Worker, ...]) -> Worker:
    return Worker(name="watchdog", run=lambda: notifier.feed(lambda: all(worker.heart.fresh() for worker in workers)))


def _clocked(name: str, run: Run, clock: DaemonClock) -> Worker:
    """A worker that waits by the clock: a step of the clock waits for what it does."""
    return Worker(name=name, run=clock.enrolled(_once_started(run, clock)))


def _once_started(run: Run, clock: DaemonClock) -> Run:
    async def begun() -> None:
        await clock.started()
        await run()

    return begun
