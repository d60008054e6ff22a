"""The driver as the gateway finds it: settings, models, opening a line, decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from drivers.mbus.bus import MBusBus, Wired, answer
from drivers.mbus.frame import FrameError
from drivers.mbus.link import Timing, split
from drivers.mbus.master import Taken
from drivers.mbus.model import MODELS
from drivers.mbus.report import describe
from drivers.mbus.telegram import decode
from drivers.mbus.transport import tcp
from drivers.model import Strict, mismatches
from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from gateway.ports.clock import Clock
    from gateway.ports.field import MeterBus

_CONNECT_SECONDS = 5.0
_BAUD_RATES = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400)


def _known_model(name: str) -> str:
    if name not in MODELS:
        message = f'"{name}" is no model of an M-Bus meter; known are {", ".join(MODELS)}'
        raise ValueError(message)
    return name


def _known_baud_rate(baud: int) -> int:
    if baud not in _BAUD_RATES:
        message = f"{baud} is no baud rate of the M-Bus; write one of {', '.join(map(str, _BAUD_RATES))}"
        raise ValueError(message)
    return baud


class BusSettings(Strict):
    """A level converter behind a TCP port."""

    host: Annotated[str, Field(min_length=1, examples=["192.168.1.20"])]
    port: Annotated[int, Field(ge=1, le=65535, examples=[10001])]
    baud: Annotated[int, AfterValidator(_known_baud_rate)] = Field(
        default=2400, description="speed of the M-Bus line behind the converter; the time-outs follow from it"
    )
    latency: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.1, description="seconds that network and converter add to an answer"
    )
    timeout: Annotated[float, Field(gt=0, le=30)] | None = Field(
        default=None,
        description="seconds to wait for an answer to begin, instead of 330 bit times, 50 ms and the latency; for a"
        " converter that hands over whole telegrams only (1.6 at 2400 baud)",
    )


class MeterSettings(Strict):
    """A meter at its primary address."""

    model: Annotated[str, AfterValidator(_known_model)] = Field(description="name of a model file, without .toml")
    address: Annotated[int, Field(ge=0, le=250)] = Field(description="primary address")
    serial: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,8}$")] | None = Field(
        default=None, description="identification number; where given, only the meter that carries it is believed"
    )


class MBusDriver:
    """Satisfies `gateway.ports.field.Driver`."""

    name = "mbus"
    bus_schema: type[BaseModel] = BusSettings
    meter_schema: type[BaseModel] = MeterSettings

    def open(self, bus: BaseModel, meters: Mapping[str, BaseModel], clock: Clock) -> MeterBus:  # noqa: ARG002
        """The line; its time-outs run on the event loop's clock, which is never accelerated."""
        line = BusSettings.model_validate(bus)
        timing = Timing(baud=line.baud, latency=line.latency, timeout=line.timeout)
        return MBusBus(
            tcp(line.host, line.port, _CONNECT_SECONDS),
            timing,
            {meter: _wired(MeterSettings.model_validate(settings)) for meter, settings in meters.items()},
        )

    def models(self) -> dict[str, tuple[str, ...]]:
        """Model name -> register keys."""
        return {name: model.keys for name, model in MODELS.items()}

    def decode(self, frame: bytes) -> dict[str, Any]:
        """One frame as a JSON-ready object; {"ok": False, "error": sentence} for a malformed one."""
        return describe(frame)

    def prove(self, name: str) -> list[str]:
        """Read every proof of a model file; what came out otherwise than expected."""
        model = MODELS[name]
        wired = Wired(address=0, model=model, serial=None)
        found: list[str] = []
        for proof in model.proof:
            try:
                taken = tuple(Taken(telegram=decode(octets), octets=octets) for octets in split(proof.octets))
                read = answer(name, wired, taken)
            except (FrameError, WrongAnswerError) as error:
                found.append(f"{proof.source}: {error}")
                continue
            found += mismatches(proof, read.serial, read.status, read.values)
        return found


def _wired(settings: MeterSettings) -> Wired:
    serial = None if settings.serial is None else settings.serial.zfill(8)
    return Wired(address=settings.address, model=MODELS[settings.model], serial=serial)


driver = MBusDriver()
