"""The composition root: opens every part, joins them and runs the workers. The only module that knows all."""

from __future__ import annotations

import logging
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import pepper
from gateway.access_points import Joints, access_points
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
from gateway.store import Store
from gateway.store.figures import Figures, folder
from gateway.store.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.clock import Bell, Run
    from gateway.ports.field import MeterBus
    from gateway.service.access import AccessPoint
    from gateway.service.alarms import AlarmSink
    from gateway.service.polled import ReadingStore
    from gateway.settings import BusSettings, MqttSettings, Settings

CLOCK = "SUBMETER_CLOCK"
"""names the socket of the simulation that steps the clock"""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger(__name__)


class StartError(Exception):
    """The daemon cannot start. The text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counting:
    """The parts that count what they do."""

    clock: DaemonClock
    store: Store
    backlog: Backlog
    judge: Judge
    lines: Mapping[str, MeterBus]
    """line id -> the open line"""
    pollers: Sequence[Poller]
    readers: Mapping[str, AccessPoint]


async def run(settings: Settings, environment: Mapping[str, str] = os.environ) -> int:
    """Run until told to end; the exit code. StoreError or StartError where it cannot begin."""
    notifier = Notifier(environment)
    async with AsyncExitStack() as opened:
        clock = await _clock(environment.get(CLOCK, ""), opened)
        boot = _boot_id()
        store = Store(settings.store, boot=boot, ballast=settings.ballast)
        opened.push_async_callback(store.close)
        backlog = Backlog(store, beat)
        judge = Judge(Dated(backlog, store), store, backlog)
        readings: ReadingStore = judge
        bells = [clock.bell(), clock.bell()]
        concerned = [*(bell.ring for bell in bells), judge.refresh]
        pollers: list[Poller] = []
        settler = Settler(store=store, clock=clock, bell=bells[0], gateway=settings.gateway, beat=beat)
        readers: dict[str, AccessPoint] = {}
        lines: dict[str, MeterBus] = {}
        counting = _Counting(
            clock=clock, store=store, backlog=backlog, judge=judge, lines=lines, pollers=pollers, readers=readers
        )
        delivered: Mapping[str, int] = {}
        workers = [
            _clocked("settle", settler.run, clock),
            _control(settings, clock, store, concerned, readers, partial(_told, counting), opened),
        ]
        if settings.mqtt is not None:
            client = _client(settings, settings.mqtt, environment)
            state = _state(client, clock)
            show_health(store, state, clock)
            readings = Shown(readings, state)
            deliver = _deliver(settings.mqtt, client, clock, store, backlog)
            delivered = deliver.counts
            workers.append(Worker(name="deliver", run=_once_started(deliver.run, clock)))
            workers.append(Worker(name="state", run=state.run))
            workers.append(_accruals(settings, state, clock, store, bells[1]))
        for bus in settings.buses:
            lines[bus.id] = bus.driver.open(bus.line, bus.meters, clock)
            opened.push_async_callback(lines[bus.id].close)
            poller = _poller(bus, lines[bus.id], counting, readings, boot)
            pollers.append(poller)
            workers.append(_clocked(f"poll {bus.id}", poller.run, clock))
        joints = Joints(lines=lines, store=store, readings=readings, alarms=backlog, clock=clock, boot=boot)
        for reader, point in zip(settings.readers, _access_points(settings, joints, opened), strict=True):
            readers[reader.id] = point
            concerned.append(point.refresh)
            workers.append(Worker(name=f"access {point.name}", run=_once_started(point.run, clock)))
        workers.append(Worker(name="backlog", run=backlog.run))
        workers += _box(settings, clock, store, bells[0])
        if settings.metrics_port is not None:
            workers.append(_metrics(settings, settings.metrics_port, counting, delivered))
        if notifier.watched:
            workers.append(_watchdog(notifier, tuple(workers)))
        _log.info("%s/%s: ready, %d lines", settings.site, settings.gateway, len(settings.buses))
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


def _poller(bus: BusSettings, line: MeterBus, parts: _Counting, readings: ReadingStore, boot: str) -> Poller:
    spared = budgets(bus.driver, bus.poll, bus.meters)
    meters = Line(id=bus.id, poll=bus.poll, meters=tuple(bus.meters), budgets=spared)
    return Poller(
        meters,
        line,
        clock=parts.clock,
        store=readings,
        alarms=parts.backlog,
        boot=boot,
        beat=beat,
        kept=parts.store,
    )


def _told(counting: _Counting) -> Told:
    spent = {
        each.meter: (each.today, each.bears)
        for poller in counting.pollers
        for each in poller.counts().meters
        if each.bears is not None
    }
    healths = {name: with_budgets(health, spent) for name, health in observed(counting.lines).items()}
    return Told(
        lines=healths,
        clock_trusted=counting.clock.trusted(),
        now=counting.clock.now(),
        waiting=len(counting.backlog),
        given_up=counting.backlog.given_up,
    )


def _client(settings: Settings, mqtt: MqttSettings, environment: Mapping[str, str]) -> MqttClient:
    topics = Gateway(site=settings.site, name=settings.gateway)
    known = security(mqtt, environment)
    return MqttClient(topics, host=mqtt.host, port=mqtt.port, consumers=mqtt.consumers, security=known)


def _state(client: MqttClient, clock: DaemonClock) -> State:
    state = State(outlet=client, clock=clock, beat=beat)
    state.put_all("schema", schemas())
    return state


def _deliver(mqtt: MqttSettings, client: MqttClient, clock: DaemonClock, store: Store, alarms: AlarmSink) -> Deliver:
    deliver = Deliver(
        store=store,
        alarms=alarms,
        outlet=client,
        clock=clock,
        consumers=mqtt.consumers,
        backfill=mqtt.backfill_per_second,
        beat=beat,
    )
    store.listen(deliver.notify)
    return deliver


def _accruals(settings: Settings, state: State, clock: DaemonClock, store: Store, bell: Bell) -> Worker:
    accruals = Accruals(store=store, board=state, clock=clock, bell=bell, gateway=settings.gateway, beat=beat)
    return _clocked("accruals", accruals.run, clock)


def _control(
    settings: Settings,
    clock: DaemonClock,
    store: Store,
    concerned: Sequence[Callable[[], None]],
    readers: Mapping[str, AccessPoint],
    lines: Callable[[], Told],
    opened: AsyncExitStack,
) -> Worker:
    """Commands of the command line; after each change everybody in `concerned` looks again."""

    def changed() -> None:
        for look_again in concerned:
            look_again()

    commander = Commander(store=store, clock=clock, seal=_seal(settings.file), changed=changed)
    path = socket_path(settings.store, settings.file)
    tapped = Enrolment(commander.check, readers).tapped
    server = ControlServer(path, commander.execute, tapped=tapped, busy=clock.busy, beat=beat, lines=lines)
    try:
        server.open()
    except OSError as error:
        message = (
            f"{path}: no socket can be made there ({error}); keep the store in a writable folder with a short path"
        )
        raise StartError(message) from error
    opened.callback(server.close)
    return Worker(name="control", run=_once_started(server.run, clock))


def _box(settings: Settings, clock: DaemonClock, store: Store, settling: Bell) -> list[Worker]:
    """What keeps the box in order: retention, and the calendar that rings it and `settling`."""
    bell = clock.bell()
    retain = Retain(
        store=store,
        old=Retention(store),
        clock=clock,
        bell=bell,
        raw_days=settings.raw_days,
        readings_months=settings.readings_months,
        beat=beat,
    )
    workers = [_clocked("retain", retain.run, clock)]
    if isinstance(clock, SystemClock):  # a clock that is stepped stops at everything that is due
        calendar = Calendar(hourly=settling, nightly=bell, beat=beat)
        workers.append(Worker(name="calendar", run=calendar.run))
    return workers


def _metrics(settings: Settings, port: int, counting: _Counting, delivered: Mapping[str, int]) -> Worker:
    from gateway.metrics import Metrics, MetricsServer  # noqa: PLC0415 - 2 MB of libraries, and most boxes want no port

    metrics = Metrics(
        store=counting.store,
        holdings=Figures(counting.store).holdings,
        counts=lambda: [poller.counts() for poller in counting.pollers],
        stored=lambda: counting.store.stored,
        backlog=counting.backlog,
        judged=lambda: counting.judge.counts,
        delivered=delivered,
        dropped_taps=lambda: {point.name: point.dropped for point in counting.readers.values()},
        clock=counting.clock,
        disk=folder(settings.store),
    )
    return Worker(name="metrics", run=_once_started(MetricsServer(port, metrics.text, beat).run, counting.clock))


def _access_points(settings: Settings, joints: Joints, opened: AsyncExitStack) -> list[AccessPoint]:
    try:
        return access_points(settings, joints, opened)
    except pepper.PepperError as error:
        raise StartError(str(error)) from error


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
