"""What the settings say of a line and of its meters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from drivers import serial
from drivers.mbus import secondary
from drivers.mbus.keys import CREDENTIAL
from drivers.mbus.link import Timing
from drivers.mbus.model import MODELS, Billed, MBusModel
from drivers.mbus.orders import BAUD_RATES
from drivers.model import Strict, instead
from drivers.network import tcp
from drivers.wire import WireSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from drivers.mbus.master import Asked
    from drivers.network import Connect

_CONNECT_SECONDS = 5.0
_TCP_LATENCY, _SERIAL_LATENCY = 0.1, 0.02


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

    model: str = Field(
        description="name of a model file, without .toml",
        json_schema_extra=lambda schema: schema.update(examples=[*sorted(MODELS)]),
    )
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
            message = f'"{name}" is no model of an M-Bus meter; {instead(name, [*MODELS, *cls.own])}'
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


def meter_settings(models: Mapping[str, MBusModel]) -> type[MeterSettings]:
    """The same settings, with models of the installer's beside ours."""
    wirable = Billed(models)

    class WithOwn(MeterSettings):
        own = wirable

    WithOwn.__doc__ = MeterSettings.__doc__
    return WithOwn
