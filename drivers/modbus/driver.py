"""The Modbus driver as the gateway finds it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from drivers.modbus import sunspec
from drivers.modbus.bus import ModbusBus, WiredMeter
from drivers.modbus.frame import decoded
from drivers.modbus.model import ModbusModel, meter_models
from drivers.modbus.proof import failures
from drivers.modbus.scan import WAYS, Place, scan
from drivers.modbus.settings import BusSettings, MeterSettings, meter_settings
from drivers.modbus.speeds import Speed, tried
from drivers.modbus.sunspec import SunSpecMeter
from drivers.modbus.talk import Talk
from drivers.modbus.trace import trace
from drivers.model import RegisterKeys, mistake
from gateway.ports.field import ScanRefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from pydantic import BaseModel

    from drivers.modbus.line import Line
    from drivers.modbus.scan import Wire
    from gateway.ports.clock import Clock
    from gateway.ports.field import MeterBus, Scanned, ScanOrder, Seen

_SEARCH_S = 0.3
"""on a serial line meters answer within it; behind a gateway only its own time-out says that nobody is there"""


class ModbusDriver:
    """Satisfies `ModelKeeper`, `Distinguisher`, `Scanner` and `Tracer` of `gateway.ports.field`."""

    name = "modbus"
    ways: tuple[str, ...] = WAYS
    bus_schema: type[BaseModel] = BusSettings
    model_schema: type[BaseModel] = ModbusModel

    def __init__(self, own: Mapping[str, ModbusModel] | None = None) -> None:
        self._own = own or {}
        self.meter_schema: type[BaseModel] = meter_settings(self._own) if own else MeterSettings

    def with_models(self, own: Mapping[str, BaseModel]) -> ModbusDriver:
        """The same driver with models of the installer's beside its own."""
        return ModbusDriver(cast("Mapping[str, ModbusModel]", own))

    def open(self, bus: BaseModel, meters: Mapping[str, BaseModel], clock: Clock) -> MeterBus:
        """A Modbus line that connects at the first read."""
        settings = cast("BusSettings", bus)
        wired = {key: _wired(key, cast("MeterSettings", meter)) for key, meter in meters.items()}
        return ModbusBus(settings.line(), wired, longest_wait=settings.timeout, clock=clock)

    def models(self) -> Mapping[str, tuple[str, ...]]:
        """Model name -> the register keys that it delivers."""
        return RegisterKeys(self._own, meter_models(), {sunspec.NAME: SunSpecMeter()})

    def reads_per_day(self, meter: BaseModel) -> int | None:
        """What the meter's model file declares."""
        known = cast("MeterSettings", meter).known
        return known.read_budget_per_day if isinstance(known, ModbusModel) else None

    def same_device(self, one: BaseModel, other: BaseModel) -> tuple[str, str] | None:
        """By unit id; a SunSpec device may have several meters behind one."""
        mine, theirs = cast("MeterSettings", one), cast("MeterSettings", other)
        if mine.address != theirs.address:
            return None
        if mine.model == theirs.model == sunspec.NAME:
            if mine.instance != theirs.instance:
                return None
            return "instance", f"it is meter {mine.instance} of unit {mine.address} too; give each its own instance"
        return "address", f"it has unit id {mine.address} too; give each its own"

    def scan(self, bus: BaseModel, order: ScanOrder) -> AsyncGenerator[Scanned, None]:
        """Search every unit id, at one baud rate and parity after the other where the line is a serial one."""
        line = cast("BusSettings", bus)
        if order.way not in (*WAYS, ""):
            message = f'"{order.way}" is no way to search a Modbus line; write {" or ".join(WAYS)}'
            raise ScanRefusedError(message)
        wait = _SEARCH_S if line.is_rtu and "timeout" not in line.model_fields_set else line.timeout
        models = {**meter_models(), **self._own}
        return scan(Place(open=partial(_opened, line), wait=wait, models=models), _speeds(line, order), order)

    async def trace(self, bus: BaseModel, meter: BaseModel) -> Seen:
        """The words of all registers of a meter."""
        settings, wired = cast("BusSettings", bus), cast("MeterSettings", meter)
        line = settings.line()
        try:
            return await trace(Talk(line, settings.timeout, heard=False), wired.address, wired.known)
        finally:
            await line.close()

    def decode(self, frame: bytes, key: str | None = None) -> dict[str, Any]:
        """A read request or its answer, as a frame of TCP or RTU; words as numbers, what they mean is the model's."""
        if key is not None:
            return {"ok": False, "error": "Modbus frames are never encrypted; leave the key out"}
        return decoded(frame)

    def prove(self, model: str) -> list[str]:
        """What the raw answers of the model's file give otherwise than the file expects; SunSpec has no file."""
        return [] if model == sunspec.NAME else failures(self._own.get(model) or meter_models()[model])


def _speeds(line: BusSettings, order: ScanOrder) -> tuple[Speed, ...]:
    """What is tried, the line's own first."""
    if line.device is None:
        if order.parities or len(order.speeds) > (1 if line.is_rtu else 0):
            message = f"the baud rate and parity behind {line.host} are its own; set them there and in the settings"
            raise ScanRefusedError(message)
        return tuple(Speed(baud=_settings_at(line, baud=each).baud) for each in order.speeds) or (
            Speed(baud=line.baud if line.is_rtu else None),
        )
    found = tried((line.baud, line.parity), order, every=order.way == "all")
    at = [_settings_at(line, baud=baud, parity=parity) for baud, parity in found]
    return tuple(Speed(baud=each.baud, parity=each.parity, stopbits=each.stopbits) for each in at)


def _settings_at(line: BusSettings, **keys: str | int) -> BusSettings:
    try:
        return BusSettings.model_validate({**line.model_dump(exclude_unset=True), **keys})
    except ValidationError as error:
        raise ScanRefusedError(mistake(error.errors()[0])) from error


def _opened(line: BusSettings, speed: Speed) -> Line | Wire:
    return _settings_at(line, **speed.settings).wire() if line.is_rtu else line.line()


def _wired(key: str, meter: MeterSettings) -> WiredMeter:
    return WiredMeter(id=key, unit=meter.address, model=meter.known, serial=meter.serial or "", is_swapped=meter.swap)


driver = ModbusDriver()
