"""SunSpec meters: where their registers stand is found by walking the models of the device. No I/O.

SunSpec Device Information Model Specification 1.1, chapter 4; models 1, 201-204 and 211-214 as published in
github.com/sunspec/models. The marker "SunS" stands at 40000, 50000 or 0. Behind it come the models, each with its
number and its length, up to number FFFF. A common model (1) tells maker and serial number of the meters behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from drivers.modbus.model import ModbusRegister, RegisterMap, ScaleRegister, SerialNumber
from drivers.modbus.plan import ADDRESSES, Request, Span
from drivers.modbus.registers import RegisterError, text
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
_MAKER, _MAKER_WORDS = 2, 16
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


class SunSpecMap(RegisterMap):
    """Where the registers of a meter were found."""

    make: str = ""
    """what the device calls its maker; "" where it does not say"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SunSpecMeter:
    """The meter to look for in a device."""

    keys: ClassVar[tuple[str, ...]] = KEYS
    instance: int = 1
    """which of the device's meters, counted from 1 in the order of their models"""

    def walk(self) -> Generator[Request, tuple[int, ...] | None, SunSpecMap]:
        """Asks request after request; is sent the words, or None where the device refuses them; returns the map.

        WrongAnswerError where there is no such meter.
        """
        address = yield from _models_begin()
        meters = common = 0
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
                common = _common_at(address, length)
            if number in _METERS:
                meters += 1
                if meters == self.instance:
                    found = _map(number, length, address, common)
                    return found.model_copy(update={"make": (yield from _make(common))}) if common else found
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


def _make(common: int) -> Generator[Request, tuple[int, ...] | None, str]:
    words = yield _request(common + _MAKER, _MAKER_WORDS)
    try:
        return "" if words is None else text(words)
    except RegisterError:
        return ""


def _common_at(address: int, length: int) -> int:
    if length < _COMMON_LENGTH:
        message = f"says that its SunSpec model 1 at {address} has {length} words, it has {_COMMON_LENGTH} or more"
        raise WrongAnswerError(message)
    return address


def _map(number: int, length: int, address: int, common: int) -> SunSpecMap:
    layout = _METERS[number]
    if length < layout.length:
        message = f"says that its SunSpec model {number} at {address} has {length} words, it has {layout.length}"
        raise WrongAnswerError(message)
    places = {"import": layout.imported, "export": layout.export}
    registers = tuple(_register(key, address + places[key], layout, address) for key in KEYS)
    at = common + _SERIAL
    number_at = SerialNumber(function=3, address=at, words=_SERIAL_WORDS, form="text") if common else None
    return SunSpecMap.model_validate({"register": registers, "serial": number_at})


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
