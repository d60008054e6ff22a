"""Looks at everything that an installed gateway needs, and says of each that it is well, or what to do.

Nothing is disturbed: where the gateway runs, lines are judged by what it has read, and the broker is asked under
another name.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import control, lines
from gateway.clock import SystemClock
from gateway.control import socket_path
from gateway.mqtt.probe import ProbeError, probe
from gateway.places import security, unplugged
from gateway.ports.field import FieldError, LineDownError
from gateway.service.battery import Battery, budgets
from gateway.service.incomplete import METER_INCOMPLETE
from gateway.service.judge import READING_IMPLAUSIBLE
from gateway.service.meter_status import METER_STATUS
from gateway.service.poll import LINE_DOWN, METER_SILENT, METER_WRONG, on_grid
from gateway.service.reports import OF_BROKER
from gateway.service.settle import HELD
from gateway.service.unwired import METER_UNWIRED, Apart, apart, unwired_text
from gateway.store import StoreError, StoreView
from gateway.store.figures import Figures, folder
from gateway.store.lock import holder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from gateway.core.event import Alarm
    from gateway.lines import Told
    from gateway.ports.field import MeterBus
    from gateway.ports.health import LineHealth
    from gateway.settings import BusSettings, MqttSettings, Settings

UNIT = "submeter.service"
ROOM = 200_000_000
"""bytes below which a disk is nearly full"""
LATE = timedelta(minutes=20)
"""as long may a round take"""
NAMED = 5
"""meters named in a sentence"""
QUOTED = 3
"""holds told in full"""
_ALIKE = {
    METER_SILENT: "are silent",
    METER_WRONG: "answer, but what they say cannot be used",
    METER_STATUS: "report something of themselves",
    METER_INCOMPLETE: "answer without a value for a register",
    READING_IMPLAUSIBLE: "have readings that cannot be",
    METER_UNWIRED: "of the property data are on no line of the settings",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one thing is."""

    check: str
    """store, property, backlog, register, hold, daemon, disk, clock, watchdog, bus, meter, line, broker"""
    subject: str
    """id of the register, meter or line, name of the broker; "" where there is only one"""
    well: bool
    text: str
    """how it is; or what is wrong, and what to do"""
    line: LineHealth | None = None
    """of a line: what its driver has counted"""
    code: str = ""
    """of the alarm that it tells; "" where it tells none"""
    place: str = ""
    """of a meter: its line"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What the store says."""

    finding: Finding
    heard: Mapping[str, datetime] = field(default_factory=dict)
    """meter -> its last reading, of those that were heard in time"""
    alarms: Sequence[Alarm] = ()
    """that are open"""
    apart: Apart | None = None
    """where settings and property data differ"""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """All findings, one after the other as they are made."""
    running = _listening(socket_path(settings.store, settings.file))
    told = await asyncio.to_thread(_told, settings) if running else None
    healths = {} if told is None else told.lines
    clock = SystemClock()
    now = clock.now() if told is None or told.now is None else told.now
    stored = await _stored(settings, now)
    yield stored.finding
    for finding in (*_apart(stored.apart), *_billing(stored.alarms)):
        yield finding
    own = _clock(clock) if told is None else _own_clock(told, now)
    for finding in (*_unstored(told), _daemon(settings, running=running), *_disk(settings), own, await _watchdog()):
        yield finding
    for bus in settings.buses:
        if running:
            for finding in _heard(bus, stored, healths.get(bus.id), now):
                yield finding
        else:
            yield await _opened(bus, clock, healths)
        if bus.id in healths:
            yield _conversations(bus, healths[bus.id], down=running and bool(_down(bus, stored.alarms)))
    if settings.mqtt is not None:
        refused = [alarm.text for alarm in stored.alarms if running and alarm.code in OF_BROKER]
        yield await asyncio.to_thread(_broker, settings.mqtt, refused)


async def _stored(settings: Settings, now: datetime) -> _Stored:
    patience = [time for bus in settings.buses for time in _patience(bus).values()]
    try:
        async with StoreView(settings.store) as view:
            heard = await Figures(view).heard(now - max(patience, default=LATE))
            alarms = await view.open_alarms()
            differing = await apart(view, {meter for bus in settings.buses for meter in bus.meters}, now)
    except StoreError as error:
        return _Stored(finding=Finding(check="store", subject="", well=False, text=str(error)))
    there = Finding(check="store", subject="", well=True, text="there, and of this release")
    return _Stored(finding=there, heard=heard, alarms=alarms, apart=differing)


def _apart(found: Apart | None) -> Iterator[Finding]:
    """Meters that cannot be read, and those that nobody is billed for, which may be meant so."""
    if found is None:
        return
    for meter in found.unwired:
        yield Finding(check="meter", subject=meter, well=False, text=unwired_text(meter), code=METER_UNWIRED)
    if found.unbilled:
        where = f"the property data have no register of {_some(found.unbilled)}"
        text = f"{where}: what is read there is kept, and nobody is billed for it"
        yield Finding(check="property", subject="", well=True, text=text)


def _billing(alarms: Iterable[Alarm]) -> Iterator[Finding]:
    """Readings that cannot be, and what settling holds or warns of."""
    for alarm in alarms:
        if alarm.code == READING_IMPLAUSIBLE:
            yield Finding(check="register", subject=alarm.source, well=False, text=alarm.text, code=alarm.code)
    held = [alarm.text for alarm in alarms if alarm.code in HELD]
    if held:
        more = f"; and {len(held) - QUOTED} more: see submeter alarm list" if len(held) > QUOTED else ""
        text = f"{len(held)} open in settling: {'; '.join(held[:QUOTED])}{more}"
        yield Finding(check="hold", subject="", well=False, text=text)


def _unstored(told: Told | None) -> Iterator[Finding]:
    """What the store of the running gateway has not taken, if anything."""
    if told is None or not (told.waiting or told.given_up):
        return
    parts = (
        f"{told.given_up} rounds of readings or alarms could not be stored since the start and are lost"
        if told.given_up
        else "",
        f"{told.waiting} wait in memory until the store takes them" if told.waiting else "",
    )
    why = "look at the disk; journalctl -u submeter says what the store refused"
    yield Finding(check="backlog", subject="", well=False, text=f"{'; '.join(filter(None, parts))}: {why}")


def _listening(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        try:
            connection.connect(str(path))
        except PermissionError:
            return True  # somebody else's, but there
        except OSError:
            return False
    return True


def _daemon(settings: Settings, *, running: bool) -> Finding:
    process = None if folder(settings.store) is None else holder(Path(settings.store.removeprefix("sqlite:///")))
    if running:
        text = "runs" if process is None else f"runs as process {process}, which holds the store's lock"
    elif process is not None:
        text = f"process {process} holds the store's lock and takes no commands: wait for it, or end it"
    elif folder(settings.store) is None:  # whoever holds a database's lock is known to its server only
        text = "does not run: sudo systemctl start submeter"
    else:
        text = "does not run, and nobody holds the store's lock: sudo systemctl start submeter"
    return Finding(check="daemon", subject="", well=running, text=text)


def _disk(settings: Settings) -> Iterator[Finding]:
    place = folder(settings.store)
    if place is None:
        return
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        text = f"{place}: {error.strerror}: make the folder of the store, owned by the user that runs the gateway"
        yield Finding(check="disk", subject=str(place), well=False, text=text)
        return
    room = f"{free // 1_000_000} MB free"
    if not os.access(place, os.W_OK):
        text = "this user cannot write there: run it as the gateway's user, and look whether the disk is read-only"
    elif free < ROOM:
        text = f"{room}: make room; less than {ROOM // 1_000_000} MB is nearly full"
    else:
        yield Finding(check="disk", subject=str(place), well=True, text=f"{room}, can be written")
        return
    yield Finding(check="disk", subject=str(place), well=False, text=text)


def _clock(clock: SystemClock) -> Finding:
    if clock.trusted():
        return Finding(check="clock", subject="", well=True, text=f"synchronised, {clock.now():%Y-%m-%d %H:%M} UTC")
    text = f"not synchronised ({clock.now():%Y-%m-%d %H:%M} UTC), so nothing is billed: see timedatectl and the network"
    return Finding(check="clock", subject="", well=False, text=text)


def _own_clock(told: Told, now: datetime) -> Finding:
    """Only the daemon knows whether its clock has jumped, or is stepped by a simulation."""
    if told.clock_trusted:
        return Finding(check="clock", subject="", well=True, text=f"the gateway trusts it, {now:%Y-%m-%d %H:%M} UTC")
    text = (
        f"the gateway does not trust it ({now:%Y-%m-%d %H:%M} UTC), so nothing is billed: see timedatectl and the"
        " network; where it jumped to the right time, restart the gateway"
    )
    return Finding(check="clock", subject="", well=False, text=text)


async def _watchdog() -> Finding:
    shown = await _shown()
    limit = shown.get("WatchdogUSec", "0")
    if not shown:
        text = "no systemd here, so nobody starts a hanging gateway anew: install the unit (docs/install.md)"
    elif shown.get("LoadState") != "loaded":
        text = f"systemd knows no {UNIT}: install it (docs/install.md)"
    elif limit in {"0", "infinity"}:
        text = f"{UNIT} has none: give it WatchdogSec=60 (systemctl edit submeter)"
    else:
        return Finding(check="watchdog", subject="", well=True, text=f"{UNIT} is started anew after {limit} of silence")
    return Finding(check="watchdog", subject="", well=False, text=text)


async def _shown() -> dict[str, str]:
    """What systemd says of the unit; nothing where it does not answer."""
    asked = ("show", UNIT, "--property=LoadState,WatchdogUSec")
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec("systemctl", *asked, stdout=pipe, stderr=pipe)
    except FileNotFoundError:
        return {}
    out, _ = await process.communicate()
    return dict(line.split("=", 1) for line in out.decode().splitlines() if "=" in line)


def _heard(bus: BusSettings, stored: _Stored, health: LineHealth | None, now: datetime) -> Iterator[Finding]:
    """Judged by the last two times that each meter was to be read; an open alarm knows better, and why."""
    heard, alarms, due = stored.heard, stored.alarms, _not_read_yet(bus, stored, health, now)
    own = [alarm for alarm in alarms if alarm.source in bus.meters and alarm.code not in {*HELD, READING_IMPLAUSIBLE}]
    failing = {alarm.source for alarm in own if alarm.code in {METER_SILENT, METER_WRONG}}
    late = {meter for meter, time in _patience(bus).items() if meter not in heard or heard[meter] < now - time}
    waiting = _some([f"{meter}: due at {at:%H:%M} UTC" for meter, at in due.items()])
    down = _down(bus, alarms) or [*unplugged(getattr(bus.line, "device", None))]  # no alarm says it before a read
    silent = [] if down else [meter for meter in bus.meters if meter in late - failing - due.keys()]
    text = f"{len(bus.meters) - len(late | failing)} of {len(bus.meters)} meters answered in the last two rounds"
    look = f"look at the cable, address and settings of {_some(silent)}" if silent else ""
    text = "; ".join(filter(None, (text, *down, look, f"not read yet: {waiting}" if waiting else "")))
    yield Finding(check="bus", subject=bus.id, well=not (late - due.keys() or failing or down), text=text)
    for alarm in sorted(own, key=lambda alarm: list(bus.meters).index(alarm.source)):
        yield Finding(check="meter", subject=alarm.source, well=False, text=alarm.text, code=alarm.code, place=bus.id)


def _not_read_yet(bus: BusSettings, stored: _Stored, health: LineHealth | None, now: datetime) -> dict[str, datetime]:
    """Meter that spares a battery and whose first read is still to come -> when it is due."""
    tried = {alarm.source for alarm in stored.alarms if alarm.code in {METER_SILENT, METER_WRONG}} | stored.heard.keys()
    for each in () if health is None else health.meters:
        tried |= {each.meter} if each.reads or each.failed else set()
    spared = budgets(bus.driver, bus.poll, bus.meters)
    awaited = {meter: Battery(bus.poll, budget).every for meter, budget in spared.items() if meter not in tried}
    return {meter: on_grid(now, every) for meter, every in awaited.items()}


def _down(bus: BusSettings, alarms: Iterable[Alarm]) -> list[str]:
    """What the open alarms say of the line being down."""
    return [alarm.text for alarm in alarms if (alarm.code, alarm.source) == (LINE_DOWN, bus.id)]


def together(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The same for people: alarms of one code on one line are one finding where there are more than a handful."""
    alike: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.place, finding.code), []).append(finding)
    for (place, code), found in alike.items():
        if len(found) <= NAMED or not code:
            yield from found
            continue
        first, where = found[0], f" of {place}" if place else ""
        text = (
            f"{len(found)} {first.check}s{where} {_ALIKE.get(code, f'have the alarm {code}')}:"
            f" {_some([each.subject for each in found])}. {first.subject}: {first.text} (all: submeter alarm list)"
        )
        yield replace(first, subject="", text=text)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _patience(bus: BusSettings) -> dict[str, timedelta]:
    """How long each meter may not have been heard: one with a battery is read less often than its line."""
    spared = budgets(bus.driver, bus.poll, bus.meters)
    return {meter: 2 * Battery(bus.poll, spared.get(meter)).every + LATE for meter in bus.meters}


def _told(settings: Settings) -> Told | None:
    try:
        return control.lines(socket_path(settings.store, settings.file))
    except control.ControlError:  # not for this user, or not any more: the other findings stand
        return None


def _conversations(bus: BusSettings, health: LineHealth, *, down: bool) -> Finding:
    """What is to be done on the line, else how long a round takes. Where it is down, nothing is guessed of wires."""
    found, known = [] if down else list(lines.troubles(health)), lines.rounds(health)
    took = "" if known is None else f"a round takes {known[1] / 1000:.1f} s, the wire needs {known[0] / 1000:.1f} s"
    echo = "the converter gives back what is sent, which does no harm" if health.echo else ""
    text = "; ".join(filter(None, (*found, took, echo))) or "no meter has been read yet"
    return Finding(check="line", subject=bus.id, well=not found, text=text, line=health)


async def _opened(bus: BusSettings, clock: SystemClock, healths: dict[str, LineHealth]) -> Finding:
    """Meters are read, of those with a battery only the first: that costs the batteries of a line least."""
    line = bus.driver.open(bus.line, bus.meters, clock)
    try:
        failed = {meter: error for meter in _spared(bus) if (error := await _failure(line, meter)) is not None}
    finally:
        await line.close()
    if not any(isinstance(error, LineDownError) for error in failed.values()):
        healths.update(lines.observed({bus.id: line}))
    if not failed:
        named = ", ".join(_spared(bus)[:NAMED]) + (" and others answer" if len(_spared(bus)) > NAMED else " answers")
        return Finding(check="bus", subject=bus.id, well=True, text=f"can be opened, {named}")
    first = next(iter(failed.values()))
    reasons = "; ".join(f"{meter} is not understood: {error}" for meter, error in failed.items())
    text = str(first) if isinstance(first, LineDownError) else f"can be opened, but {reasons}"
    return Finding(check="bus", subject=bus.id, well=False, text=text)


def _spared(bus: BusSettings) -> list[str]:
    """Whom the doctor reads: all that need spare no battery, else one."""
    mains = [meter for meter, wiring in bus.meters.items() if bus.driver.reads_per_day(wiring) is None]
    return mains or list(bus.meters)[:1]


async def _failure(line: MeterBus, meter: str) -> FieldError | None:
    try:
        await line.read(meter)
    except FieldError as error:
        return error
    return None


def _broker(mqtt: MqttSettings, refused: Sequence[str]) -> Finding:
    """`refused`: what the running gateway has open against it. It has the credentials that this user may lack."""
    known = security(mqtt)
    try:
        if known.hidden:
            socket.create_connection((mqtt.host, mqtt.port), timeout=5).close()
            text, well = "can be reached; only the service has its credentials: see journalctl -u submeter", True
        else:
            text, well = f"speaks {probe(mqtt.host, mqtt.port, known)} and lets the gateway in", True
    except ProbeError as error:
        text, well = str(error), False
    except OSError as error:
        text, well = f"it cannot be reached ({error}); start it, or correct host and port", False
    if well and refused:
        text, well = " ".join(refused), False
    return Finding(check="broker", subject=f"{mqtt.host}:{mqtt.port}", well=well, text=text)
