"""The Modbus driver as the gateway finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, StringConstraints, field_validator

from drivers.modbus.bus import ModbusBus, WiredMeter
from drivers.modbus.frame import decoded
from drivers.modbus.model import meter_models
from drivers.modbus.proof import failures
from drivers.modbus.tcp import TcpLine
from drivers.model import Strict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from gateway.ports.clock import Clock
    from gateway.ports.field import MeterBus


class BusSettings(Strict):
    """Settings of one Modbus TCP line: a gateway to RS-485 or a meter with Ethernet."""

    host: Annotated[str, StringConstraints(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    timeout: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """seconds that a meter may take to answer; below that the bus adapts to what is usual"""


class MeterSettings(Strict):
    """Settings of one meter on such a line."""

    model: str
    address: Annotated[int, Field(ge=0, le=255)]
    """unit id"""
    serial: Annotated[str, StringConstraints(min_length=1)] | None = None
    """checked where the model knows a serial number register"""

    @field_validator("model")
    @classmethod
    def _is_known(cls, model: str) -> str:
        if model not in meter_models():
            message = f"no Modbus model {model!r}; known are: {', '.join(meter_models())}"
            raise ValueError(message)
        return model


class ModbusDriver:
    """See `gateway.ports.field.Driver`."""

    name = "modbus"
    bus_schema: type[BaseModel] = BusSettings
    meter_schema: type[BaseModel] = MeterSettings

    def open(self, bus: BaseModel, meters: Mapping[str, BaseModel], clock: Clock) -> MeterBus:
        """A Modbus TCP line that connects at the first read."""
        settings = cast("BusSettings", bus)
        wired = {key: _wired(key, cast("MeterSettings", meter)) for key, meter in meters.items()}
        line = TcpLine(settings.host, settings.port)
        return ModbusBus(line, wired, longest_wait=settings.timeout, clock=clock)

    def models(self) -> dict[str, tuple[str, ...]]:
        """Model name -> the register keys that it delivers."""
        return {name: model.keys for name, model in meter_models().items()}

    def decode(self, frame: bytes) -> dict[str, Any]:
        """One Modbus TCP frame, a read request or its answer; words as numbers, what they mean is the model's."""
        return decoded(frame)

    def prove(self, model: str) -> list[str]:
        """What the raw answers of the model's file give otherwise than the file expects."""
        return failures(meter_models()[model])


def _wired(key: str, meter: MeterSettings) -> WiredMeter:
    return WiredMeter(id=key, unit=meter.address, model=meter_models()[meter.model], serial=meter.serial or "")


driver = ModbusDriver()
