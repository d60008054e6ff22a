"""The composition root: opens every part, joins them and runs the workers. The only module that knows all."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import pepper
from gateway.calendar import Calendar
from gateway.clock import DaemonClock, SteppedClock, StepServer, SystemClock
from gateway.control import ControlServer, socket_path
from gateway.core.access import digest
from gateway.lifetime import Worker, beat, live
from gateway.lines import Told, observed, with_budgets
from gateway.mqtt.client import MqttClient
from gateway.mqtt.state import schemas
from gateway.mqtt.topics import Gateway
from gateway.notify import READY, STOPPING, Notifier
from gateway.places import security
from gateway.service.accruals import Accruals
from gateway.service.battery import budgets
from gateway.service.command_execute import Commander, SealError
from gateway.service.deliver import Deliver
from gateway.service.enrol import Enrolment
from gateway.service.health import show_health
from gateway.service.judge import Judge
from gateway.service.poll import Line, Poller
from gateway.service.retain import Retain
from gateway.service.settle import Settler
from gateway.service.state import Shown, State
from gateway.service.stored import Dated
from gateway.service.storing import Backlog, enduring
from gateway.service.twice import Devices
from gateway.service.unwired import Unwired
from gateway.store import Store
from gateway.store.figures import Figures, folder
from gateway.store.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.clock import Bell, Run
    from gateway.ports.field import MeterBus
    from gateway.service.access import AccessPoint
    from gateway.service.polled import ReadingStore
    from gateway.settings import BusSettings, MqttSettings, Settings

CLOCK = "SUBMETER_CLOCK"
"""names the socket of the simulation that steps the clock"""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger(__name__)


class StartError(Exception):
    """The daemon cannot start. The text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the workers share. Lines, pollers and access points come as they are opened."""

    settings: Settings
    clock: DaemonClock
    boot: str
    store: Store
    backlog: Backlog
    judge: Judge
    settling: Bell
    accruing: Bell
    wiring: Bell
    lines: dict[str, MeterBus] = field(default_factory=dict)
    """line id -> the open line"""
    pollers: list[Poller] = field(default_factory=list)
    access_points: dict[str, AccessPoint] = field(default_factory=dict)
    """by the id of its reader"""
    devices: Devices = field(default_factory=Devices)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """of commands, and of looking what is to be settled"""

    def changed(self) -> None:
        """After a command everybody looks again whom it may concern."""
        self.settling.ring()
        self.accruing.ring()
        self.wiring.ring()
        self.judge.refresh()
        for point in self.access_points.values():
            point.refresh()


async def run(settings: Settings, environment: Mapping[str, str] = os.environ) -> int:
    """Run until told to end; the exit code. StoreError or StartError where it cannot begin."""
    notifier = Notifier(environment)
    async with AsyncExitStack() as opened:
        parts = _parts(settings, await _clock(environment.get(CLOCK, ""), opened), opened)
        workers = [_settle(parts), _control(parts, opened)]
        readings: ReadingStore = parts.judge
        delivered: Mapping[str, int] = {}
        if settings.mqtt is not None:
            client = _client(settings, settings.mqtt, environment)
            state = _state(client, parts)
            deliver = _deliver(settings.mqtt, client, parts)
            readings, delivered = Shown(readings, state), deliver.counts
            workers.append(Worker(name="deliver", run=_once_started(deliver.run, parts.clock)))
            workers.append(Worker(name="state", run=state.run))
            workers.append(_accruals(parts, state))
        workers += [_polling(bus, parts, readings, opened) for bus in settings.buses]
        workers += _access(parts, readings, opened)
        workers.append(Worker(name="backlog", run=parts.backlog.run))
        workers += _box(parts)
        unwired = _unwired(parts)
        workers.append(_clocked("wiring", unwired.run, parts.clock))
        if settings.metrics_port is not None:
            workers.append(_metrics(parts, settings.metrics_port, delivered, unwired))
        if notifier.watched:
            workers.append(_watchdog(notifier, tuple(workers)))
        _log.info("%s/%s: ready, %d lines", settings.site, settings.gateway, len(settings.buses))
        return await live(workers, started=lambda: notifier.tell(READY), stopping=lambda: notifier.tell(STOPPING))


def _parts(settings: Settings, clock: DaemonClock, opened: AsyncExitStack) -> _Parts:
    boot = _boot_id()
    store = Store(settings.store, boot=boot, ballast=settings.ballast)
    opened.push_async_callback(store.close)
    backlog = Backlog(store, beat)
    return _Parts(
        settings=settings,
        clock=clock,
        boot=boot,
        store=store,
        backlog=backlog,
        judge=Judge(Dated(backlog, store), store, backlog),
        settling=clock.bell(),
        accruing=clock.bell(),
        wiring=clock.bell(),
    )


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


def _settle(parts: _Parts) -> Worker:
    gateway, turn = parts.settings.gateway, parts.turn
    settler = Settler(store=parts.store, clock=parts.clock, bell=parts.settling, gateway=gateway, beat=beat, turn=turn)
    return _clocked("settle", settler.run, parts.clock)


def _polling(bus: BusSettings, parts: _Parts, readings: ReadingStore, opened: AsyncExitStack) -> Worker:
    line = bus.driver.open(bus.line, bus.meters, parts.clock)
    parts.lines[bus.id] = line
    opened.push_async_callback(line.close)
    spared = budgets(bus.driver, bus.poll, bus.meters)
    poller = Poller(
        Line(id=bus.id, poll=bus.poll, meters=tuple(bus.meters), budgets=spared),
        line,
        clock=parts.clock,
        store=readings,
        alarms=parts.backlog,
        boot=parts.boot,
        beat=beat,
        kept=parts.store,
        devices=parts.devices,
    )
    parts.pollers.append(poller)
    return _clocked(f"poll {bus.id}", poller.run, parts.clock)


def _told(parts: _Parts) -> Told:
    spent = {
        each.meter: (each.today, each.bears)
        for poller in parts.pollers
        for each in poller.counts().meters
        if each.bears is not None
    }
    healths = {name: with_budgets(health, spent) for name, health in observed(parts.lines).items()}
    return Told(
        lines=healths,
        clock_trusted=parts.clock.trusted(),
        now=parts.clock.now(),
        waiting=len(parts.backlog),
        given_up=parts.backlog.given_up,
    )


def _client(settings: Settings, mqtt: MqttSettings, environment: Mapping[str, str]) -> MqttClient:
    topics = Gateway(site=settings.site, name=settings.gateway)
    known = security(mqtt, environment)
    return MqttClient(topics, host=mqtt.host, port=mqtt.port, consumers=mqtt.consumers, security=known)


def _state(client: MqttClient, parts: _Parts) -> State:
    state = State(outlet=client, clock=parts.clock, beat=beat)
    state.put_all("schema", schemas())
    show_health(parts.store, state, parts.clock)
    return state


def _deliver(mqtt: MqttSettings, client: MqttClient, parts: _Parts) -> Deliver:
    deliver = Deliver(
        store=parts.store,
        alarms=parts.backlog,
        outlet=client,
        clock=parts.clock,
        consumers=mqtt.consumers,
        backfill=mqtt.backfill_per_second,
        beat=beat,
    )
    parts.store.listen(deliver.notify)
    return deliver


def _accruals(parts: _Parts, state: State) -> Worker:
    gateway, bell = parts.settings.gateway, parts.accruing
    accruals = Accruals(store=parts.store, board=state, clock=parts.clock, bell=bell, gateway=gateway, beat=beat)
    return _clocked("accruals", accruals.run, parts.clock)


def _control(parts: _Parts, opened: AsyncExitStack) -> Worker:
    """Commands of the command line."""
    settings, clock = parts.settings, parts.clock
    commander = Commander(
        store=parts.store, clock=clock, seal=_seal(settings.file), changed=parts.changed, turn=parts.turn
    )
    path = socket_path(settings.store, settings.file)
    tapped = Enrolment(commander.check, parts.access_points).tapped
    told = partial(_told, parts)
    server = ControlServer(path, commander.execute, tapped=tapped, busy=clock.busy, beat=beat, lines=told)
    try:
        server.open()
    except OSError as error:
        message = (
            f"{path}: no socket can be made there ({error}); keep the store in a writable folder with a short path"
        )
        raise StartError(message) from error
    opened.callback(server.close)
    return Worker(name="control", run=_once_started(server.run, clock))


def _box(parts: _Parts) -> list[Worker]:
    """What keeps the box in order: retention, and the calendar that rings it and settling."""
    settings, clock, bell = parts.settings, parts.clock, parts.clock.bell()
    retain = Retain(
        store=parts.store,
        old=Retention(parts.store),
        clock=clock,
        bell=bell,
        raw_days=settings.raw_days,
        readings_months=settings.readings_months,
        beat=beat,
    )
    workers = [_clocked("retain", retain.run, clock)]
    if isinstance(clock, SystemClock):  # a clock that is stepped stops at everything that is due
        calendar = Calendar(hourly=parts.settling, nightly=bell, beat=beat)
        workers.append(Worker(name="calendar", run=calendar.run))
    return workers


def _unwired(parts: _Parts) -> Unwired:
    wired = frozenset(meter for bus in parts.settings.buses for meter in bus.meters)
    return Unwired(store=parts.store, clock=parts.clock, bell=parts.wiring, wired=wired, beat=beat)


def _metrics(parts: _Parts, port: int, delivered: Mapping[str, int], unwired: Unwired) -> Worker:
    from gateway.metrics import Metrics, MetricsServer  # noqa: PLC0415 - 2 MB of libraries, and most boxes want no port

    metrics = Metrics(
        store=parts.store,
        holdings=Figures(parts.store).holdings,
        counts=lambda: [poller.counts() for poller in parts.pollers],
        stored=lambda: parts.store.stored,
        backlog=parts.backlog,
        judged=lambda: parts.judge.counts,
        delivered=delivered,
        dropped_taps=lambda: {point.name: point.dropped for point in parts.access_points.values()},
        unbilled=lambda: unwired.unbilled,
        clock=parts.clock,
        disk=folder(parts.settings.store),
    )
    return Worker(name="metrics", run=_once_started(MetricsServer(port, metrics.text, beat).run, parts.clock))


def _access(parts: _Parts, readings: ReadingStore, opened: AsyncExitStack) -> list[Worker]:
    """A worker for each access point."""
    if not parts.settings.readers:
        return []
    from gateway.access_points import Shared, access_points  # noqa: PLC0415 - 0.5 MB, and many boxes have no reader

    shared = Shared(
        lines=parts.lines,
        store=parts.store,
        readings=readings,
        alarms=parts.backlog,
        clock=parts.clock,
        boot=parts.boot,
    )
    try:
        points = access_points(parts.settings, shared, opened)
    except pepper.PepperError as error:
        raise StartError(str(error)) from error
    for reader, point in zip(parts.settings.readers, points, strict=True):
        parts.access_points[reader.id] = point
    return [Worker(name=f"access {point.name}", run=_once_started(point.run, parts.clock)) for point in points]


def _seal(config: Path) -> Callable[[str], str]:
    def sealed(identifier: str) -> str:
        try:
            return digest(identifier, pepper.load(config))
        except pepper.PepperError as error:
            raise SealError(str(error)) from error

    return sealed


def _watchdog(notifier: Notifier, workers: tuple[Worker, ...]) -> Worker:
    return Worker(name="watchdog", run=lambda: notifier.feed(lambda: all(worker.heart.fresh() for worker in workers)))


def _clocked(name: str, run: Run, clock: DaemonClock) -> Worker:
    """A worker that waits by the clock: a step of the clock waits for what it does."""
    return Worker(name=name, run=clock.enrolled(_once_started(run, clock)))


def _once_started(run: Run, clock: DaemonClock) -> Run:
    async def begun() -> None:
        await clock.started()
        await enduring(run, beat)()

    return begun
