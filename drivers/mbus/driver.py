"""The driver as the gateway finds it: settings, models, opening a line, decoding."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from drivers import serial
from drivers.mbus import candidate, orders, secondary
from drivers.mbus.bus import MBusBus, Wired, answer
from drivers.mbus.frame import FrameError
from drivers.mbus.keys import CREDENTIAL, parse_key, read_key
from drivers.mbus.link import Timing, split
from drivers.mbus.master import Taken
from drivers.mbus.model import MODELS, MBusModel
from drivers.mbus.orders import BAUD_RATES, Target, spoken_to
from drivers.mbus.report import describe
from drivers.mbus.scan import WAYS, Speed, scan
from drivers.mbus.telegram import decode
from drivers.mbus.twice import same_device
from drivers.model import Strict, mismatches, stored_mismatches
from drivers.network import tcp
from drivers.wire import WireSettings
from gateway.ports.field import OrderRefusedError, ScanRefusedError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime
    from typing import Self

    from pydantic import BaseModel

    from drivers.mbus.master import Asked
    from drivers.network import Connect
    from gateway.ports.clock import Clock
    from gateway.ports.field import Done, MeterBus, Scanned, ScanOrder, Seen

_CONNECT_SECONDS = 5.0
_FULL_LINE = 60
"""devices on the line for which makers say how often a day each of them may be read by secondary address"""
_TCP_LATENCY, _SERIAL_LATENCY = 0.1, 0.02
_FIXED_BAUD = "the baud rate behind {} is the level converter's own; set it there and in the settings"


def _known_baud_rate(baud: int) -> int:
    if baud not in BAUD_RATES:
        message = f"{baud} is no baud rate of the M-Bus; write one of {', '.join(map(str, BAUD_RATES))}"
        raise ValueError(message)
    return baud


class BusSettings(WireSettings):
    """A level converter behind a TCP port or at a serial line."""

    baud: Annotated[int, AfterValidator(_known_baud_rate)] = Field(
        default=2400, description="speed of the M-Bus line; the time-outs follow from it"
    )
    latency: Annotated[float, Field(ge=0, le=10)] | None = Field(
        default=None,
        description="seconds that network, adapter and converter add to an answer; 0.1 over TCP, 0.02 at a device",
    )
    timeout: Annotated[float, Field(gt=0, le=30)] | None = Field(
        default=None,
        description="seconds to wait for an answer to begin, instead of 330 bit times, 50 ms and the latency; for a"
        " converter that hands over whole telegrams only (1.6 at 2400 baud)",
    )

    @model_validator(mode="after")
    def _has_its_port(self) -> Self:
        if self.host is not None and self.port is None:
            message = "port is missing beside host; write the TCP port of the level converter, e.g. port = 10001"
            raise ValueError(message)
        return self

    @property
    def timing(self) -> Timing:
        """How long things take on this line."""
        usual = _TCP_LATENCY if self.device is None else _SERIAL_LATENCY
        return Timing(baud=self.baud, latency=usual if self.latency is None else self.latency, timeout=self.timeout)

    def connect(self, *, drops_damaged: bool = True) -> Connect:
        """How to open this line; a search wants to see octets that are damaged: they may be a collision."""
        if self.device is not None:
            line = serial.LineSettings(device=self.device, baud=self.baud, parity="even", drops_damaged=drops_damaged)
            return partial(serial.connect, line)
        if self.host is None or self.port is None:  # only for the type checker: the validators saw to it
            raise TypeError(self)
        return tcp(self.host, self.port, _CONNECT_SECONDS)


def _secondary_address(text: str) -> str:
    secondary.parse(text)
    if "f" in text[:8].lower():
        message = f'"{text}" has digits F, which fit many meters; write all 8 digits of the number'
        raise ValueError(message)
    return text


def _key_file(text: str) -> str:
    name = text.removeprefix(CREDENTIAL)
    if not (text.startswith("/") and not text.endswith("/")) and (name == text or not name or "/" in name):
        message = 'key is the path of a file, such as "/etc/submeter/meter-17.key" or "credential:meter-17"'
        raise ValueError(message)
    return text


class MeterSettings(Strict):
    """A meter at its primary address, or selected by its secondary address or its fabrication number."""

    own: ClassVar[Mapping[str, MBusModel]] = {}
    """models of the installer's, beside ours"""

    model: str = Field(description="name of a model file, without .toml")
    address: Annotated[int, Field(ge=0, le=250)] | None = Field(default=None, description="primary address")
    secondary: Annotated[str, AfterValidator(_secondary_address)] | None = Field(
        default=None,
        description="secondary address instead: the 8 digits of the number, or all 16 digits as `submeter scan` prints"
        " them; a selection wakes every meter of the line",
        examples=["11127667", "1112766777040A0C"],
    )
    fabrication: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,8}$")] | None = Field(
        default=None,
        description="fabrication number to select the meter by, alone or beside its secondary address; the meter's"
        " answer must carry it",
    )
    serial: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,8}$")] | None = Field(
        default=None, description="identification number; where given, only the meter that carries it is believed"
    )
    application_reset: Annotated[int, Field(ge=0, le=255)] | None = Field(
        default=None,
        description="subcode of the application reset that is sent before each read; for a meter that gives its"
        " counters in other telegrams than its usual ones",
    )
    key: Annotated[str, AfterValidator(_key_file)] | None = Field(
        default=None,
        description="file with the key of a meter that encrypts: 32 hex digits; an absolute path or"
        " credential:<name>, never the key itself",
        examples=["credential:meter-17"],
    )
    daylight_saving: bool | None = Field(
        default=None,
        description="whether the meter's clock goes with summer time, instead of what its model says: it dates what"
        " the meter keeps itself, such as the index at the end of a month",
    )

    @field_validator("model")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in MODELS and name not in cls.own:
            close = get_close_matches(name, [*MODELS, *cls.own], n=3) or [*MODELS, *cls.own]
            message = (
                f'"{name}" is no model of an M-Bus meter; write e.g. {", ".join(close)}, or add models/{name}.toml'
            )
            raise ValueError(message)
        return name

    @field_validator("serial")
    @classmethod
    def _is_of_the_secondary_address(cls, serial: str | None, info: ValidationInfo) -> str | None:
        text = info.data.get("secondary")
        if serial is not None and text is not None and serial.zfill(8) != text[:8].lower():
            message = f"{serial} is not the number in secondary ({text[:8]}); correct one, or leave serial out"
            raise ValueError(message)
        return serial

    @property
    def known(self) -> MBusModel:
        """What its model says."""
        return self.own.get(self.model) or MODELS[self.model]

    @property
    def clock_follows_summer_time(self) -> bool:
        """What these settings say of its clock, else its model."""
        said = any(each.daylight_saving for each in self.known.storage)
        return said if self.daylight_saving is None else self.daylight_saving

    @model_validator(mode="after")
    def _is_one_meter(self) -> Self:
        if (self.address is None) == (self.secondary is None and self.fabrication is None):
            message = "name either the address, or the secondary address or fabrication number, and not both"
            raise ValueError(message)
        return self

    @property
    def asked(self) -> Asked:
        """Whom to ask."""
        if self.address is not None:
            return self.address
        fabrication = None if self.fabrication is None else self.fabrication.zfill(8)
        return secondary.parse(self.secondary or secondary.ANY_NUMBER, fabrication)


class MBusDriver:
    """Satisfies `ModelKeeper`, `Selector`, `Distinguisher`, `Scanner`, `Inspector` and `Installer` of the port."""

    name = "mbus"
    ways: tuple[str, ...] = WAYS
    bus_schema: type[BaseModel] = BusSettings
    model_schema: type[BaseModel] = MBusModel

    def __init__(self, own: Mapping[str, MBusModel] | None = None) -> None:
        self._own = own or {}
        self.meter_schema: type[BaseModel] = _meter_settings(self._own) if own else MeterSettings

    def with_models(self, own: Mapping[str, BaseModel]) -> MBusDriver:
        """The same driver with models of the installer's beside its own."""
        return MBusDriver(cast("Mapping[str, MBusModel]", own))

    def open(self, bus: BaseModel, meters: Mapping[str, BaseModel], clock: Clock) -> MeterBus:  # noqa: ARG002 - the port's
        """The line; its time-outs run on the event loop's clock, which is never accelerated."""
        line = BusSettings.model_validate(bus)
        wired = {meter: _wired(MeterSettings.model_validate(settings)) for meter, settings in meters.items()}
        return MBusBus(line.connect(), line.timing, wired)

    def models(self) -> dict[str, tuple[str, ...]]:
        """Model name -> register keys."""
        return {name: model.keys for name, model in {**MODELS, **self._own}.items() if model.registers}

    def reads_per_day(self, meter: BaseModel) -> int | None:
        """What the meter's model file declares."""
        wired = MeterSettings.model_validate(meter)
        return wired.known.reads_per_day(selected=wired.address is None)

    def selects(self, meter: BaseModel) -> bool:
        """By its secondary address or fabrication number."""
        return MeterSettings.model_validate(meter).address is None

    def same_device(self, one: BaseModel, other: BaseModel) -> tuple[str, str] | None:
        """By address, number and model."""
        return same_device(MeterSettings.model_validate(one), MeterSettings.model_validate(other))

    def selections_per_day(self, meter: BaseModel) -> int | None:
        """What the model file declares is said of a full line: the neighbours' selections are in the maker's figure."""
        rounds = MeterSettings.model_validate(meter).known.selections_per_day
        return None if rounds is None else rounds * _FULL_LINE

    def scan(self, bus: BaseModel, order: ScanOrder) -> AsyncGenerator[Scanned, None]:
        """Search by secondary or by primary addresses, at one baud rate after the other."""
        line = BusSettings.model_validate(bus)
        for baud in order.speeds:
            if line.device is None and baud != line.baud:
                raise ScanRefusedError(_FIXED_BAUD.format(line.host))
            _speed(line, baud)
        at = partial(_speed, line, drops_damaged=False)
        return scan(at, order.speeds or (line.baud,), order, {**_billed(self._own), **MODELS})

    async def inspect(self, bus: BaseModel, meter: BaseModel | str) -> Seen:
        """All that one meter says, and its alarm."""
        line = BusSettings.model_validate(bus)
        async with spoken_to(_speed(line, line.baud)) as master:
            return await orders.inspect(master, _target(meter))

    def model_file(self, raw: bytes, source: str) -> str:
        """A model file to complete."""
        return candidate.model_file(raw, source)

    async def set_address(self, bus: BaseModel, meter: BaseModel | str, address: int) -> Done:
        """Give a meter a primary address."""
        line = BusSettings.model_validate(bus)
        async with spoken_to(_speed(line, line.baud)) as master:
            return await orders.set_address(master, _target(meter), address)

    async def set_baud(self, bus: BaseModel, meter: BaseModel | str, baud: int) -> Done:
        """Change a meter's baud rate; at a serial line only, which then follows it there."""
        line = BusSettings.model_validate(bus)
        if line.device is None:
            raise OrderRefusedError(_FIXED_BAUD.format(line.host))
        return await orders.set_baud(partial(_speed, line), line.baud, _target(meter), baud)

    async def set_clock(self, bus: BaseModel, meter: BaseModel | str, now: datetime) -> Done:
        """Set a meter's clock, to standard time unless its settings or its model say that it goes with summer time."""
        line = BusSettings.model_validate(bus)
        async with spoken_to(_speed(line, line.baud)) as master:
            summer = isinstance(meter, MeterSettings) and meter.clock_follows_summer_time
            return await orders.set_clock(master, _target(meter), now, daylight_saving=summer)

    def decode(self, frame: bytes, key: str | None = None) -> dict[str, Any]:
        """One frame as a JSON-ready object; {"ok": False, "error": sentence} for a malformed one."""
        try:
            return describe(frame, None if key is None else parse_key(key))
        except ValueError as error:
            return {"ok": False, "error": str(error)}

    def prove(self, name: str) -> list[str]:
        """Read every proof of a model file; what came out otherwise than expected."""
        model = self._own.get(name) or MODELS[name]
        wired = Wired(asked=0, model=model, serial=None)
        found: list[str] = []
        for proof in model.proof:
            try:
                taken = tuple(Taken(telegram=decode(octets), octets=octets) for octets in split(proof.octets))
                read = answer(name, wired, taken)
            except (FrameError, WrongAnswerError) as error:
                found.append(f"{proof.source}: {error}")
                continue
            found += mismatches(proof, read.serial, read.status, read.values)
            found += stored_mismatches(proof, read.stored)
        return found


def _speed(line: BusSettings, baud: int, *, drops_damaged: bool = True) -> Speed:
    try:
        at = BusSettings.model_validate({**line.model_dump(), "baud": baud})
    except ValidationError as error:
        raise ScanRefusedError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    return Speed(baud=baud, timing=at.timing, connect=at.connect(drops_damaged=drops_damaged))


def _target(meter: BaseModel | str) -> Target:
    if isinstance(meter, str):
        return orders.target(meter)
    wired = _wired(MeterSettings.model_validate(meter))
    return Target(
        asked=wired.asked,
        serial=wired.serial,
        application_reset=wired.application_reset,
        key=None if wired.key is None else read_key(wired.key),
    )


def _meter_settings(models: Mapping[str, MBusModel]) -> type[MeterSettings]:
    wirable = _billed(models)

    class WithOwn(MeterSettings):
        own = wirable

    WithOwn.__doc__ = MeterSettings.__doc__
    return WithOwn


def _billed(models: Mapping[str, MBusModel]) -> dict[str, MBusModel]:
    """A meter without registers can be recognised, not wired."""
    return {name: model for name, model in models.items() if model.registers}


def _wired(settings: MeterSettings) -> Wired:
    serial = None if settings.serial is None else settings.serial.zfill(8)
    return Wired(
        asked=settings.asked,
        model=settings.known,
        serial=serial,
        application_reset=settings.application_reset,
        key=settings.key,
        daylight_saving=settings.daylight_saving,
    )


driver = MBusDriver()
