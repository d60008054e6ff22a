"""Model files of M-Bus meters, and the registers that they find in an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from drivers.mbus.no_value import stands_for, why_none
from drivers.model import EmptyRegisterError, MeterModel, ModelFiles, Register, Strict, given
from gateway.core.units import Scaled, UnitError, convert
from gateway.ports.field import RegisterValue, StoredValue, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drivers.mbus.records import Meaning, Record
    from drivers.mbus.telegram import Header, Telegram
    from gateway.ports.field import NoValue

_QUANTITIES = {"energy": "Energy", "volume": "Volume"}
_BCD_DIGITS = {0x09: 2, 0x0A: 4, 0x0B: 6, 0x0C: 8, 0x0E: 12}
"""by the data field, the low nibble of the DIF"""
_CLOCKS = ("046d", "066d")
_EVERY_YEAR = re.compile(r"\*{4}-([0-9]{2})-([0-9]{2})(T[0-9:]+)?")


DibVib = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){2,}$")]
"""the bytes that name a record: quantity, unit, function, storage, tariff and subunit are in them"""
Occurrence = Annotated[int, Field(ge=0)]
"""which of several records with the same bytes, counted from 0 over all telegrams of the answer

What the meter sends in the place of such a record for want of a value counts with them.
"""


class MBusRegister(Register):
    """A counter and the record that it stands in."""

    dib_vib: DibVib
    occurrence: Occurrence = 0


class Storage(Strict):
    """What the meter keeps itself of a register for a date, and the record that the date stands in."""

    register_key: Annotated[str, Field(alias="register")]
    dib_vib: DibVib
    occurrence: Occurrence = 0
    date: DibVib
    date_occurrence: Occurrence = 0
    taken: Literal["start", "end"]
    """when on the day that the date names; a date with a time of day needs none and is what it says"""
    daylight_saving: bool = False
    """whether the meter's clock goes with summer time"""


class Identity(Strict):
    """What the header of such a meter carries."""

    manufacturer: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    medium: Annotated[int, Field(ge=0, le=255)]
    version: Annotated[int, Field(ge=0, le=255)] | None = None
    """absent: any"""

    def fits(self, manufacturer: str | None, medium: int | None, version: int | None) -> bool:
        """Whether a meter that says this of itself is such a meter."""
        return (manufacturer, medium) == (self.manufacturer, self.medium) and self.version in (None, version)


class MBusModel(MeterModel[MBusRegister]):
    """One model file of `drivers/mbus/models`."""

    protocol: Literal["mbus"]
    identity: Identity
    selections_per_day: Annotated[int, Field(ge=1)] | None = None
    """like `read_budget_per_day`, by secondary address, on a line of 60: a selection wakes every meter of the line"""
    storage: Annotated[tuple[Storage, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _budgets_and_storage_agree(self) -> Self:
        if (self.selections_per_day is None) != (self.read_budget_per_day is None):
            message = "a battery has both, read_budget_per_day and selections_per_day"
            raise ValueError(message)
        if strangers := {each.register_key for each in self.storage} - set(self.keys):
            message = f"storage of a register that there is not: {', '.join(sorted(strangers))}"
            raise ValueError(message)
        return self

    def reads_per_day(self, *, selected: bool) -> int | None:
        """How many reads a day its battery bears, by secondary or by primary address; None without a battery."""
        return self.selections_per_day if selected else self.read_budget_per_day

    def is_of(self, header: Header) -> bool:
        """Whether the header carries this model's identity."""
        return self.identity.fits(header.manufacturer, header.medium, header.version)


class Billed(Mapping[str, MBusModel]):
    """Those models that can be wired: one without registers bills nothing."""

    def __init__(self, models: Mapping[str, MBusModel]) -> None:
        self._models = models

    def __getitem__(self, name: str) -> MBusModel:
        model = self._models[name]
        if not model.registers:
            raise KeyError(name)
        return model

    def __iter__(self) -> Iterator[str]:
        return (name for name, model in self._models.items() if model.registers)

    def __len__(self) -> int:
        return sum(1 for _ in self)


FAMILIES = ModelFiles(Path(__file__).parent / "models", MBusModel)
"""every model file, also of meters of which nothing is billed"""
MODELS = Billed(FAMILIES)


def read_registers(
    model: MBusModel, telegrams: Sequence[Telegram]
) -> tuple[tuple[RegisterValue, ...], tuple[NoValue, ...]]:
    """The registers of the model that have a value, and those of which the meter says that they have none.

    WrongAnswerError where none has one, or names the one that is missing or is something else.
    """
    records = [record for telegram in telegrams for record in telegram.records]
    return given(model.registers, lambda register: register_value(register, records))


def check_identity(model: MBusModel, header: Header, serial: str | None) -> None:
    """WrongAnswerError where another meter answers than the one that is wired."""
    wanted = model.identity
    if not model.is_of(header):
        message = (
            f"a meter {header.manufacturer} with medium {header.medium} and version {header.version} answers, the"
            f" model is for {wanted.manufacturer} with medium {wanted.medium} and version {wanted.version or 'any'};"
            " correct model or address in the settings"
        )
        raise WrongAnswerError(message)
    if serial is not None and header.id != serial:
        message = (
            f"the meter with number {header.id} answers instead of {serial}, so nothing of it is billed; if it was"
            f" exchanged, record that (submeter exchange METER --at TIME --serial {header.id} ...) and write the new"
            " serial into the settings, else correct serial or address"
        )
        raise WrongAnswerError(message)


def stored_values(
    model: MBusModel, telegrams: Sequence[Telegram], *, daylight_saving: bool | None = None
) -> tuple[StoredValue, ...]:
    """What the meter kept for dates gone by or to come; what has no date or no value is left out.

    `daylight_saving`: whether this meter's clock goes with summer time; None: as the model says.
    """
    records = [record for telegram in telegrams for record in telegram.records]
    registers = {register.key: register for register in model.registers}
    found = (_stored(storage, registers[storage.register_key], records) for storage in model.storage)
    kept = tuple(value for value in found if value is not None)
    return kept if daylight_saving is None else tuple(replace(each, daylight_saving=daylight_saving) for each in kept)


def _stored(storage: Storage, register: MBusRegister, records: Sequence[Record]) -> StoredValue | None:
    name = bytes.fromhex(storage.dib_vib)
    record = _standing(name, storage.occurrence, records)
    date = _found(storage.date, storage.date_occurrence, records)
    clocks = [clock for clock in (_found(each, 0, records) for each in _CLOCKS) if clock is not None]
    at = None if date is None else _moment(storage, date, clocks)
    if record is None or at is None or why_none(name, record) or not _counts(register, record):
        return None
    return StoredValue(
        register=register.key,
        at=at,
        daylight_saving=storage.daylight_saving,
        index=_index(register, record),
        unit=register.unit,
        obis=f"{register.obis}*{record.meaning.storage}",
    )


def _moment(storage: Storage, date: Record, clocks: Sequence[Record]) -> datetime | None:
    """A date of every year is the last one gone by on the meter's own clock; without that clock it is none."""
    if date.kind != "date":
        return None
    whole_day = "T" not in str(date.value)
    later = timedelta(days=1 if whole_day and storage.taken == "end" else 0)
    yearly = _EVERY_YEAR.fullmatch(str(date.value))
    if yearly is None:
        at = _instant(str(date.value))
        return None if at is None else at + later
    now = next((_instant(str(clock.value)) for clock in clocks if clock.kind == "date"), None)
    if now is None:
        return None
    month, day, time = yearly.groups(default="")
    years = (_instant(f"{year:04}-{month}-{day}{time}") for year in (now.year, now.year - 1))
    return next((at + later for at in years if at is not None and at + later <= now), None)


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # every month, every hour, or the 29th of February
        return None


def _found(dib_vib: str, occurrence: int, records: Sequence[Record]) -> Record | None:
    name = bytes.fromhex(dib_vib)
    found = [record for record in records if record.meaning.dib_vib == name]
    return found[occurrence] if len(found) > occurrence else None


def _standing(name: bytes, occurrence: int, records: Sequence[Record]) -> Record | None:
    """The record with these bytes, or what the meter sends in its place for want of a value."""
    found = [record for record in records if stands_for(name, record)]
    return found[occurrence] if len(found) > occurrence else None


def register_value(register: MBusRegister, records: Sequence[Record]) -> RegisterValue:
    """The register in the records of one answer.

    EmptyRegisterError where the meter says that it has no value, WrongAnswerError where it is missing or no counter.
    """
    name = bytes.fromhex(register.dib_vib)
    record = _standing(name, register.occurrence, records)
    if record is None:
        message = f"register {register.key}: record {register.dib_vib} ({register.occurrence}) is not in the answer"
        raise WrongAnswerError(message)
    holds_none = f"register {register.key}: record {record.meaning.dib_vib.hex()} holds no {register.kind} but"
    if _is_of(register, record) and (why := why_none(name, record)):
        message = f"{holds_none} {why} (data {record.data.hex()})"
        raise EmptyRegisterError(message, why)
    if not _counts(register, record):
        message = f"{holds_none} {record.kind} {record.value} (data {record.data.hex()})"
        raise WrongAnswerError(message)
    return RegisterValue(
        register=register.key,
        index=_index(register, record),
        unit=register.unit,
        obis=register.obis,
        modulus=_modulus(register, record.meaning),
    )


def _modulus(register: MBusRegister, meaning: Meaning) -> Scaled | None:
    """Where BCD has no more digits. How many digits a binary number has on the meter's own counter nobody says."""
    digits = _BCD_DIGITS.get(meaning.dib_vib[0] & 0x0F)
    if digits is None or meaning.offset is not None:
        return None
    return _one_more(digits + meaning.exponent, meaning.unit, register.unit)


@lru_cache(maxsize=64)
def _one_more(power: int, unit: str, target: str) -> Scaled:
    """Kept, as every answer of a meter says the same."""
    return convert(Scaled(1, power), unit, target)


def _counts(register: MBusRegister, record: Record) -> bool:
    return _is_of(register, record) and record.kind == "number"


def _is_of(register: MBusRegister, record: Record) -> bool:
    return record.meaning.quantity == _QUANTITIES[register.kind]


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
