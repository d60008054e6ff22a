"""Model files of M-Bus meters, and the registers that they find in an answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from drivers.model import MeterModel, Register, Strict, load_models
from gateway.core.units import Scaled, UnitError, convert
from gateway.ports.field import RegisterValue, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.mbus.records import Record
    from drivers.mbus.telegram import Header, Telegram

_QUANTITIES = {"energy": "Energy", "volume": "Volume"}
_BINARY_FIELDS = frozenset({1, 2, 3, 4, 6, 7})


class MBusRegister(Register):
    """A counter, found by the bytes that name it: quantity, unit, function, storage, tariff and subunit are in them."""

    dib_vib: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){2,}$")]
    occurrence: Annotated[int, Field(ge=0)] = 0
    """which of several records with the same bytes, counted from 0 over all telegrams of the answer"""


class Identity(Strict):
    """What the header of such a meter carries."""

    manufacturer: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    medium: Annotated[int, Field(ge=0, le=255)]
    version: Annotated[int, Field(ge=0, le=255)] | None = None
    """absent: any"""


class MBusModel(MeterModel[MBusRegister]):
    """One model file of `drivers/mbus/models`."""

    protocol: Literal["mbus"]
    identity: Identity


MODELS = load_models(Path(__file__).parent / "models", MBusModel)


def read_registers(model: MBusModel, telegrams: Sequence[Telegram]) -> tuple[RegisterValue, ...]:
    """Every register of the model; WrongAnswerError names the one that is missing or is no value."""
    records = [record for telegram in telegrams for record in telegram.records]
    return tuple(_value(register, records) for register in model.registers)


def check_identity(model: MBusModel, header: Header, serial: str | None) -> None:
    """WrongAnswerError where another meter answers than the one that is wired."""
    wanted = model.identity
    if (header.manufacturer, header.medium) != (wanted.manufacturer, wanted.medium) or (
        wanted.version not in (None, header.version)
    ):
        message = (
            f"a meter {header.manufacturer} with medium {header.medium} and version {header.version} answers, the"
            f" model is for {wanted.manufacturer} with medium {wanted.medium} and version {wanted.version or 'any'};"
            " correct model or address in the settings"
        )
        raise WrongAnswerError(message)
    if serial is not None and header.id != serial:
        message = f"the meter with number {header.id} answers instead of {serial}; correct serial or address"
        raise WrongAnswerError(message)


def _value(register: MBusRegister, records: Sequence[Record]) -> RegisterValue:
    name = bytes.fromhex(register.dib_vib)
    found = [record for record in records if record.meaning.dib_vib == name]
    if len(found) <= register.occurrence:
        message = f"register {register.key}: record {register.dib_vib} ({register.occurrence}) is not in the answer"
        raise WrongAnswerError(message)
    record = found[register.occurrence]
    if record.meaning.quantity != _QUANTITIES[register.kind] or not _is_counter(record):
        message = (
            f"register {register.key}: record {register.dib_vib} holds no {register.kind} but"
            f" {record.kind} {record.value} (data {record.data.hex()})"
        )
        raise WrongAnswerError(message)
    return RegisterValue(register=register.key, index=_index(register, record), unit=register.unit, obis=register.obis)


def _is_counter(record: Record) -> bool:
    """A number, and not the smallest of its size: with it a meter says that there is none (EN 13757-3, type B)."""
    binary = record.meaning.dib_vib[0] & 0x0F in _BINARY_FIELDS
    no_value = binary and record.data == bytes(len(record.data) - 1) + b"\x80"
    return record.kind == "number" and not no_value


def _index(register: MBusRegister, record: Record) -> Scaled:
    if not isinstance(record.value, Scaled):  # only for the type checker: a number is one
        raise TypeError(record.value)
    try:
        return convert(record.value, record.meaning.unit, register.unit).at(register.exponent)
    except UnitError as error:
        message = f"register {register.key}: {error}; correct the unit in the model file"
        raise WrongAnswerError(message) from error
    except ValueError as error:
        message = f"register {register.key}: {error}; correct the exponent in the model file"
        raise WrongAnswerError(message) from error
