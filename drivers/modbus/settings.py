"""What the settings say of a Modbus line and of its meters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from drivers import network, serial
from drivers.modbus import sunspec
from drivers.modbus.bus import swapped
from drivers.modbus.model import ModbusModel, meter_models
from drivers.modbus.rtu import Pace, RtuLine, frame_pause
from drivers.modbus.scan import Wire
from drivers.modbus.sunspec import SunSpecMeter
from drivers.modbus.tcp import CONNECT_S, TcpLine
from drivers.model import Strict, instead
from drivers.wire import WireSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from drivers.modbus.line import Line

_PORT = 502
_BITS = 11
"""of a character at most: how many it has behind a converter is the converter's own"""
_ADAPTER_GAP_S, _NETWORK_GAP_S = 0.05, 0.3
"""adapters hand over octets in heaps; a network may lose a piece and send it again"""
_BAUD_RATES = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
_BRIEF_S, _BRIEF_NETWORK_S = 0.12, 0.2
"""most meters begin to answer within 0.05 s; an adapter keeps octets for 0.016 s, a network for longer"""


def _known_baud_rate(baud: int) -> int:
    if baud not in _BAUD_RATES:
        message = f"{baud} is no usual baud rate of Modbus; write one of {', '.join(map(str, _BAUD_RATES))}"
        raise ValueError(message)
    return baud


class BusSettings(WireSettings):
    """Settings of one Modbus line: TCP to a gateway or a meter, or RTU at a serial device or through a converter."""

    timeout: Annotated[float, Field(ge=0.1, le=10)] = Field(
        default=1.0, description="seconds that a meter may take to answer; a late answer may be as late again"
    )
    framing: Literal["tcp", "rtu"] = Field(
        default="tcp",
        description='beside host: "tcp" for a gateway that speaks Modbus TCP, "rtu" for a converter that passes octets',
    )
    baud: Annotated[int, AfterValidator(_known_baud_rate)] = Field(
        default=9600, description="of the serial line, also of one behind a converter; its pauses follow from it"
    )
    parity: serial.Parity = Field(default="none", description="of the serial line: none, even or odd")
    stopbits: serial.StopBits = Field(default=1, description="of the serial line: 1 or 2")

    @model_validator(mode="after")
    def _has_no_idle_keys(self) -> Self:
        if self.device is not None:
            if "framing" in self.model_fields_set:
                message = "framing is for a host; at a serial device frames are always RTU; remove it"
                raise ValueError(message)
            return self
        serial_keys = ("parity", "stopbits") if self.framing == "rtu" else ("baud", "parity", "stopbits")
        if idle := [key for key in serial_keys if key in self.model_fields_set]:
            message = f"{', '.join(idle)} belong to a serial device and mean nothing beside host; remove them"
            raise ValueError(message)
        if self.framing == "rtu" and self.port is None:
            message = "port is missing beside host; write the TCP port of the converter, e.g. port = 4196"
            raise ValueError(message)
        return self

    @property
    def usual_port(self) -> int:
        """The port that is registered for Modbus."""
        return _PORT

    def line(self) -> Line:
        """The wire, not opened yet."""
        if not self.is_rtu:
            return TcpLine(self.host or "", self.port or _PORT)
        wire = self.wire()
        return RtuLine(wire.connect, wire.pace)

    @property
    def is_rtu(self) -> bool:
        """Whether frames are those of a serial line."""
        return self.device is not None or self.framing == "rtu"

    def wire(self) -> Wire:
        """A line of RTU frames, not opened yet."""
        if self.device is not None:
            line = serial.LineSettings(device=self.device, baud=self.baud, parity=self.parity, stop_bits=self.stopbits)
            pace = _pace(line.octets(1), self.baud, _ADAPTER_GAP_S)
            return Wire(connect=partial(serial.connect, line), pace=pace, brief=_BRIEF_S)
        pace = _pace(_BITS / self.baud, self.baud, _NETWORK_GAP_S)
        connect = network.tcp(self.host or "", self.port or _PORT, CONNECT_S)
        return Wire(connect=connect, pace=pace, brief=_BRIEF_NETWORK_S)


def _pace(octet_s: float, baud: int, gap_s: float) -> Pace:
    return Pace(octet_s=octet_s, pause_s=frame_pause(baud), gap_s=gap_s)


class MeterSettings(Strict):
    """Settings of one meter on such a line."""

    own: ClassVar[Mapping[str, ModbusModel]] = {}
    """models of the installer's, beside ours"""

    model: Annotated[
        str,
        Field(
            description="name of a model file without .toml, or sunspec",
            json_schema_extra=lambda schema: schema.update(examples=[*sorted(meter_models()), sunspec.NAME]),
        ),
    ]
    address: Annotated[int, Field(ge=0, le=255)]
    """unit id"""
    serial: Annotated[str, StringConstraints(min_length=1)] | None = None
    """checked where the model knows a serial number register"""
    instance: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1, description="of sunspec: which meter of the device, in the order of its models", examples=[2]
    )
    swap: bool = Field(
        default=False,
        description="its current transformers are wired the other way round: what it counts as export is import, and"
        " the other way; the OBIS codes stay the meter's, as on its display",
    )

    @field_validator("model")
    @classmethod
    def _is_known(cls, model: str) -> str:
        names = [*meter_models(), *cls.own, sunspec.NAME]
        if model not in names:
            message = f"no Modbus model {model!r}; {instead(model, names)}"
            raise ValueError(message)
        return model

    @model_validator(mode="after")
    def _has_an_instance_only_of_sunspec(self) -> Self:
        if "instance" in self.model_fields_set and self.model != sunspec.NAME:
            message = f"instance is for the model {sunspec.NAME}; remove it"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _has_both_to_swap(self) -> Self:
        known = self.known
        if self.swap and not ("import" in known.keys and set(map(swapped, known.keys)) == set(known.keys)):
            message = f"{self.model} has {', '.join(known.keys)}: swap needs each import and its export; remove it"
            raise ValueError(message)
        return self

    @property
    def known(self) -> ModbusModel | SunSpecMeter:
        """What its model says."""
        if self.model == sunspec.NAME:
            return SunSpecMeter(instance=self.instance)
        return self.own.get(self.model) or meter_models()[self.model]


def meter_settings(models: Mapping[str, ModbusModel]) -> type[MeterSettings]:
    """The settings of a meter where these models of the installer's are known, too."""

    class WithOwn(MeterSettings):
        own = models

    WithOwn.__doc__ = MeterSettings.__doc__
    return WithOwn
