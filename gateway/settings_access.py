"""Access points in the settings: a badge reader and the machine that it gives the permit of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from gateway.settings_fields import DRIVER_KEYS, Duration, Id, duration, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from gateway.core.refusal import Place
    from gateway.ports.field import Driver, MachineDriver, ReaderDriver

Wrong = tuple["Place", str]
"""where a mistake is, and its sentence"""


class ReaderTable(BaseModel):
    """A badge reader; the rest of its keys is the driver's: device and the like."""

    model_config = DRIVER_KEYS
    id: Id = Field(description="id of the reader", examples=["reader-1"])
    driver: str = Field(description="name of an installed driver of readers", examples=["wedge"])
    access_point: Id = Field(description="what badges are allowed at; one reader each", examples=["washer-1"])


class MachineTable(BaseModel):
    """A machine with a permit; the rest of its keys is the driver's: address, coil."""

    model_config = DRIVER_KEYS
    id: Id = Field(description="id of the machine", examples=["washer-1"])
    driver: str = Field(description="name of an installed driver of machines", examples=["modbus-coil"])
    access_point: Id = Field(description="that of its reader", examples=["washer-1"])
    bus: Id = Field(description="the [[bus]] that its relay is on", examples=["modbus-1"])
    meter: Id = Field(description="the [[bus.meter]] that counts its energy", examples=["power-washer"])
    register_: str = Field(
        alias="register", description="key of the register in the meter's model", examples=["import"]
    )
    point: Id = Field(description="billing point where it stands: its rates hold", examples=["laundry"])
    window: Duration = Field(default="5min", description="how long a permit waits for a start", examples=["5min"])
    quiet: Duration = Field(default="5min", description="without use for so long, it has ended", examples=["5min"])
    least_run: Duration = Field(default="10min", description="the shortest cycle of the machine", examples=["10min"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSettings:
    """One badge reader."""

    id: str
    driver: ReaderDriver
    access_point: str
    wiring: BaseModel
    """of the driver's `schema`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings:
    """One machine."""

    id: str
    driver: MachineDriver
    access_point: str
    bus: str
    meter: str
    register: str
    """key of the register in the meter's model"""
    point: str
    window: timedelta
    quiet: timedelta
    least_run: timedelta
    wiring: BaseModel
    """of the driver's `schema`"""


def reader_settings(table: ReaderTable, driver: ReaderDriver, wiring: BaseModel) -> ReaderSettings:
    """The badge reader of an entry."""
    return ReaderSettings(id=table.id, driver=driver, access_point=table.access_point, wiring=wiring)


def machine_settings(table: MachineTable, driver: MachineDriver, wiring: BaseModel) -> MachineSettings:
    """The machine of an entry."""
    return MachineSettings(
        id=table.id,
        driver=driver,
        access_point=table.access_point,
        bus=table.bus,
        meter=table.meter,
        register=table.register_,
        point=table.point,
        window=duration(table.window),
        quiet=duration(table.quiet),
        least_run=duration(table.least_run),
        wiring=wiring,
    )


def wrong_pairs(table: Mapping[str, Any]) -> Iterator[Wrong]:
    """A reader without a machine, a machine without a reader."""
    readers, machines = tables((), table, "reader"), tables((), table, "machine")
    for entries, others, other in ((readers, machines, "machine"), (machines, readers, "reader")):
        known = {each.get("access_point") for _, each in others}
        for place, each in entries:
            point = each.get("access_point")
            if isinstance(point, str) and point not in known:
                yield (*place, "access_point"), f'no [[{other}]] has access_point = "{point}"; add it, or correct this'


def wrong_wiring(
    table: Mapping[str, Any],
    buses: Mapping[str, Driver],
    machines: Mapping[str, MachineDriver],
    parts: Mapping[Place, BaseModel],
) -> Iterator[Wrong]:
    """Machines on lines, meters and registers that are not there. `parts`: what the drivers have accepted."""
    wired = {bus.get("id"): bus.get("driver") for _, bus in tables((), table, "bus")}
    meters = {
        meter.get("id"): (bus.get("driver"), parts.get(inner))
        for place, bus in tables((), table, "bus")
        for inner, meter in tables(place, bus, "meter")
    }
    taken: dict[tuple[object, str], Place] = {}
    for place, each in tables((), table, "machine"):
        driver = machines.get(str(each.get("driver")))
        yield from _bus(place, each, driver, wired)
        yield from _meter(place, each, buses, meters)
        relay = (each.get("bus"), repr(parts.get(place)))
        if place in parts and taken.setdefault(relay, place) != place:
            yield place, "two machines have the same relay; give each its own"


def _bus(
    place: Place, machine: Mapping[str, Any], driver: MachineDriver | None, wired: Mapping[object, object]
) -> Iterator[Wrong]:
    bus = machine.get("bus")
    if not isinstance(bus, str) or driver is None:
        return
    if bus not in wired:
        yield (*place, "bus"), f'no [[bus]] has id = "{bus}"; name the line that the relay is on'
    elif wired[bus] != driver.bus:
        yield (*place, "bus"), f"{bus} is no line of the driver {driver.bus}, which {driver.name} needs; name another"


def _meter(
    place: Place,
    machine: Mapping[str, Any],
    buses: Mapping[str, Driver],
    meters: Mapping[object, tuple[object, BaseModel | None]],
) -> Iterator[Wrong]:
    meter, register = machine.get("meter"), machine.get("register")
    if not isinstance(meter, str):
        return
    if meter not in meters:
        yield (*place, "meter"), f'no [[bus.meter]] has id = "{meter}"; name the meter that counts the machine'
        return
    name, part = meters[meter]
    driver = buses.get(str(name))
    keys = driver.models().get(getattr(part, "model", ""), ()) if driver is not None else ()
    if isinstance(register, str) and keys and register not in keys:
        yield (*place, "register"), f"{meter} has no register {register!r}; it has {', '.join(keys)}"
