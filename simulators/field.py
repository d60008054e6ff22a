"""The devices of a building on their lines, showing what the truth says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from simulators import mbus, modbus
from simulators.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from simulators.badges import Reader
    from simulators.laundry import Machine
    from simulators.truth import Device, Truth

_METER_TIME = timedelta(hours=1)
"""meters run on Central European standard time all the year"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """All lines of a building. Nothing listens before `start`."""

    truth: Truth
    slaves: dict[str, mbus.Slave]
    """M-Bus meters by id"""
    units: dict[str, modbus.Unit]
    """Modbus meters by id"""
    lines: dict[str, mbus.Line | modbus.Line]
    relays: dict[str, Relay]
    """by machine"""

    async def start(self) -> dict[str, int]:
        """Listen on a free port of this machine for each line; line id -> port."""
        return {name: await line.start() for name, line in self.lines.items()}

    async def close(self) -> None:
        """Hang up everywhere."""
        for line in self.lines.values():
            await line.close()

    def show(self, at: datetime) -> None:
        """Set all counters and clocks to an instant."""
        for device in self.truth.devices:
            counts = {counter.key: self.truth.counts(counter, at) for counter in device.counters}
            if device.protocol == "mbus":
                self.slaves[device.id].counts = counts
                self.slaves[device.id].at = at + _METER_TIME
                self._remember(device, at)
            else:
                self.units[device.id].counts = counts

    def _remember(self, device: Device, at: datetime) -> None:
        """A meter's due date is the last day of the month, at its end by its own clock."""
        local = at + _METER_TIME
        month = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        then = max(month - _METER_TIME, self.truth.begins)
        self.slaves[device.id].due = (month - timedelta(days=1)).date()
        self.slaves[device.id].kept = {counter.key: self.truth.counts(counter, then) for counter in device.counters}


def build(truth: Truth) -> Field:
    """The devices of the truth."""
    telegrams, layouts = mbus.captured_telegrams(), modbus.layouts()
    on_mbus = [device for device in truth.devices if device.protocol == "mbus"]
    on_modbus = [device for device in truth.devices if device.protocol == "modbus"]
    slaves = {
        device.id: mbus.Slave(address=device.address, captured=telegrams[device.model], serial=device.serial)
        for device in on_mbus
    }
    units = {device.id: modbus.Unit(address=device.address, layout=layouts[device.model]) for device in on_modbus}
    relays = {machine.id: Relay(address=machine.relay) for machine in truth.machines}
    lines: dict[str, mbus.Line | modbus.Line] = {}
    for name, protocol in truth.lines.items():
        if protocol == "mbus":
            lines[name] = mbus.Line([slaves[device.id] for device in on_mbus if device.line == name])
        else:
            switched = [relays[machine.id] for machine in truth.machines if machine.line == name]
            lines[name] = modbus.Line([*(units[device.id] for device in on_modbus if device.line == name), *switched])
    return Field(truth=truth, slaves=slaves, units=units, lines=lines, relays=relays)


def wiring(
    truth: Truth,
    ports: dict[str, int],
    *,
    broker: tuple[str, int],
    poll: timedelta,
    readers: Mapping[str, Reader] | None = None,
) -> str:
    """A gateway.toml for a gateway beside the simulated lines; its store lies beside the file.

    `readers`, by machine: without them the gateway knows the meters only.
    """
    host, port = broker
    head = (
        f'site = "demo"\ngateway = "gw-01"\nstore = "sqlite:///gateway.db"\n\n[mqtt]\nhost = "{host}"\nport = {port}\n'
    )
    tables = [head, '[[mqtt.consumer]]\nname = "demo"\n']
    for line, protocol in truth.lines.items():
        tables.append(
            f'[[bus]]\nid = "{line}"\ndriver = "{protocol}"\nhost = "127.0.0.1"\nport = {ports[line]}\n'
            f'poll = "{poll // timedelta(seconds=1)}s"\n'
        )
        tables += [_meter(device) for device in truth.devices if device.line == line]
    tables += [_access_point(machine, readers[machine.id]) for machine in truth.machines if readers]
    return "\n".join(tables)


def _access_point(machine: Machine, reader: Reader) -> str:
    """A simulated wash takes no time: the machine has ended after a second of rest."""
    return (
        f'[[reader]]\nid = "reader-{machine.id}"\ndriver = "wedge"\ndevice = "{reader.link}"\n'
        f'access_point = "{machine.access_point}"\n\n'
        f'[[machine]]\nid = "{machine.id}"\ndriver = "modbus-coil"\naccess_point = "{machine.access_point}"\n'
        f'bus = "{machine.line}"\naddress = {machine.relay}\ncoil = 0\n'
        f'meter = "{machine.meter}"\nregister = "{machine.key}"\npoint = "{machine.place}"\n'
        'window = "4s"\nquiet = "1s"\nleast_run = "1s"\n'
    )


def _meter(device: Device) -> str:
    text = f'[[bus.meter]]\nid = "{device.id}"\nmodel = "{device.model}"\naddress = {device.address}\n'
    return text + (f'serial = "{device.serial}"\n' if device.serial else "")
