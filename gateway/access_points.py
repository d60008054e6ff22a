"""Opens the access points of the settings: a reader each, its machine, and the lines shared with the meters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gateway import pepper
from gateway.core.access import digest
from gateway.lifetime import beat
from gateway.service.access import AccessPoint
from gateway.service.access_parts import Parts
from gateway.service.access_site import Wiring

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack

    from gateway.ports.clock import WallClock
    from gateway.ports.field import MeterBus
    from gateway.service.access_parts import SessionStore
    from gateway.service.alarms import AlarmSink
    from gateway.service.polled import ReadingStore
    from gateway.settings import Settings
    from gateway.settings_access import MachineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all access points share."""

    lines: Mapping[str, MeterBus]
    """line id -> the open line"""
    store: SessionStore
    readings: ReadingStore
    alarms: AlarmSink
    clock: WallClock
    boot: str


def access_points(settings: Settings, shared: Shared, opened: AsyncExitStack) -> list[AccessPoint]:
    """A reader and its machine each; `opened` closes the readers. PepperError where identifiers cannot be sealed."""
    seal = partial(digest, pepper=pepper.load(settings.file))
    busy: dict[str, str] = {}
    bus_of = {meter: bus.id for bus in settings.buses for meter in bus.meters}
    machines = {machine.access_point: machine for machine in settings.machines}
    found = []
    for one in settings.readers:
        machine = machines[one.access_point]
        reader = one.driver.open(one.wiring)
        opened.push_async_callback(reader.close)
        parts = Parts(
            reader=reader,
            permit=machine.driver.open(machine.wiring, shared.lines[machine.bus]),
            bus=shared.lines[bus_of[machine.meter]],
            store=shared.store,
            readings=shared.readings,
            alarms=shared.alarms,
            clock=shared.clock,
            seal=seal,
            busy=busy,
            gateway=settings.gateway,
            boot=shared.boot,
            beat=beat,
        )
        found.append(AccessPoint(_wiring(machine), parts))
    return found


def _wiring(machine: MachineSettings) -> Wiring:
    return Wiring(
        access_point=machine.access_point,
        machine=machine.id,
        meter=machine.meter,
        register=machine.register,
        place=machine.point,
        window=machine.window,
        quiet=machine.quiet,
        least_run=machine.least_run,
    )
