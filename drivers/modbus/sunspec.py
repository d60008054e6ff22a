"""SunSpec meters: where their registers stand is found by walking the models of the device. No I/O.

SunSpec Device Information Model Specification 1.1, chapter 4; models 1, 201-204 and 211-214 as published in
github.com/sunspec/models. The marker "SunS" stands at 40000, 50000 or 0. Behind it come the models, each with its
number and its length, up to number FFFF. A common model (1) tells the serial number of the meters behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from drivers.modbus.model import ModbusRegister, RegisterMap, ScaleRegister, SerialNumber
from drivers.modbus.plan import ADDRESSES, Request, Span
from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Generator

NAME: Final = "sunspec"
KEYS: Final = ("import", "export")
BASES = (40000, 50000, 0)
_MARKER = (0x5375, 0x6E53)
_END = 0xFFFF
_MOST_MODELS = 100
"""a device has a dozen; one that lists lengths of 0 would otherwise be walked for hours"""
_COMMON, _COMMON_LENGTH = 1, 65
_SERIAL, _SERIAL_WORDS = 50, 16
_OBIS = {"import": "1-0:1.8.0", "export": "1-0:2.8.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where a meter model's totals stand, counted from its number on."""

    length: int
    """words behind number and length; a device may add a padding word"""
    export: int
    imported: int
    scale: int | None
    """acc32 with the power of ten there; None: float32"""


_INTEGER = _Layout(length=105, export=38, imported=46, scale=54)
_FLOAT = _Layout(length=124, export=60, imported=68, scale=None)
_METERS = {201: _INTEGER, 202: _INTEGER, 203: _INTEGER, 204: _INTEGER} | dict.fromkeys((211, 212, 213, 214), _FLOAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SunSpecMeter:
    """The meter to look for in a device."""

    keys: ClassVar[tuple[str, ...]] = KEYS
    instance: int = 1
    """which of the device's meters, counted from 1 in the order of their models"""

    def walk(self) -> Generator[Request, tuple[int, ...] | None, RegisterMap]:
        """Asks request after request; is sent the words, or None where the device refuses them; returns the map.

        WrongAnswerError where there is no such meter.
        """
        address = yield from _models_begin()
        meters = serial = 0
        for _ in range(_MOST_MODELS):
            header = yield _request(address, 2)
            if header is None or header[0] == _END:
                raise WrongAnswerError(self._not_there(address, meters, ended=header is not None))
            number, length = header
            if address + 2 + length > ADDRESSES:
                message = (
                    f"says that its SunSpec model {number} at {address} has {length} words, behind the last address"
                )
                raise WrongAnswerError(message)
            if number == _COMMON:
                serial = _serial_at(address, length)
            if number in _METERS:
                meters += 1
                if meters == self.instance:
                    return _map(number, length, address, serial)
            address += 2 + length
        message = f"lists more than {_MOST_MODELS} SunSpec models and no end mark FFFF; correct the unit id"
        raise WrongAnswerError(message)

    def _not_there(self, address: int, meters: int, *, ended: bool) -> str:
        end = "" if ended else f"; its models end at {address} without the end mark FFFF"
        models = "201-204 or 211-214"
        if not meters:
            return f"has SunSpec, but no meter among its models ({models}){end}; correct the unit id"
        return f"has {meters} SunSpec meter(s) ({models}){end}; correct instance = {self.instance} in the settings"


def _models_begin() -> Generator[Request, tuple[int, ...] | None, int]:
    for base in BASES:
        if (yield _request(base, 2)) == _MARKER:
            return base + 2
    message = (
        "has no SunSpec marker at 40000, 50000 or 0; correct the unit id, or switch SunSpec on in the device's settings"
    )
    raise WrongAnswerError(message)


def _request(address: int, count: int) -> Request:
    if address + count > ADDRESSES:
        message = f"lists SunSpec models up to the last address and no end mark FFFF, nothing is at {address}"
        raise WrongAnswerError(message)
    return Request(function=3, address=address, count=count, spans=(Span(function=3, address=address, words=count),))


def _serial_at(address: int, length: int) -> int:
    if length < _COMMON_LENGTH:
        message = f"says that its SunSpec model 1 at {address} has {length} words, it has {_COMMON_LENGTH} or more"
        raise WrongAnswerError(message)
    return address + _SERIAL


def _map(number: int, length: int, address: int, serial: int) -> RegisterMap:
    layout = _METERS[number]
    if length < layout.length:
        message = f"says that its SunSpec model {number} at {address} has {length} words, it has {layout.length}"
        raise WrongAnswerError(message)
    places = {"import": layout.imported, "export": layout.export}
    registers = tuple(_register(key, address + places[key], layout, address) for key in KEYS)
    number_at = SerialNumber(function=3, address=serial, words=_SERIAL_WORDS, form="text") if serial else None
    return RegisterMap.model_validate({"register": registers, "serial": number_at})


def _register(key: str, address: int, layout: _Layout, model: int) -> ModbusRegister:
    """Wh, delivered in kWh with three decimals."""
    scale = None if layout.scale is None else ScaleRegister(function=3, address=model + layout.scale)
    return ModbusRegister(
        key=key,
        kind="energy",
        unit="kWh",
        exponent=-3,
        obis=_OBIS[key],
        function=3,
        address=address,
        type="float32" if scale is None else "u32",
        order="big",
        scale="0.001",
        scale_register=scale,
        not_available=(),
        resolves_below="16777" if scale is None else None,
    )
