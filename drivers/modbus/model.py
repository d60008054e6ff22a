"""A Modbus meter's model file: where its registers stand, how their words make numbers, what one request may ask."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from drivers.modbus.plan import MAX_HOLE, MAX_WORDS, Function, Limits, Request, Span, plan
from drivers.modbus.registers import (
    WORDS,
    NumberForm,
    NumberType,
    RegisterError,
    WordOrder,
    float_resolves_below,
    letters,
    number,
)
from drivers.model import MeterModel, Register, Strict, load_models
from gateway.core.units import Scaled
from gateway.ports.field import RegisterValue, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

Address = Annotated[int, Field(ge=0, le=0xFFFF)]
Pattern = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{4}){1,4}$")]


class ModbusRegister(Register):
    """A counter and its words."""

    function: Function
    address: Address
    """zero-based, as on the wire: 30073 or 300073 in a maker's table is 72"""
    type: NumberType
    order: WordOrder
    scale: str
    """plain decimal: what the raw number is multiplied by to count in `unit`"""
    not_available: Annotated[tuple[Pattern, ...], Field(strict=False)]
    """bit patterns that mean "no value", most significant word first; NaN and infinity never are one anyway"""
    resolves_below: str | None = None
    """floats only: from this index on the float's steps are coarser than 10**exponent"""

    @cached_property
    def span(self) -> Span:
        """Its words in the meter's address space."""
        return Span(function=self.function, address=self.address, words=WORDS[self.type])

    @cached_property
    def form(self) -> NumberForm:
        """How its words make a number."""
        return NumberForm(
            type=self.type,
            order=self.order,
            scale=Scaled.parse(self.scale),
            exponent=self.exponent,
            not_available=frozenset(int(pattern, 16) for pattern in self.not_available),
        )

    @model_validator(mode="after")
    def _is_exact(self) -> ModbusRegister:
        form = self.form
        if any(len(pattern) != 4 * WORDS[self.type] for pattern in self.not_available):
            message = f"not_available needs {4 * WORDS[self.type]} hex digits for {self.type}"
            raise ValueError(message)
        if form.is_float:
            below = str(float_resolves_below(form))
            if self.resolves_below != below:
                message = (
                    f"resolves_below must be {below!r}: from there on {self.type} is coarser than 10^{self.exponent}"
                )
                raise ValueError(message)
        elif self.resolves_below is not None:
            message = f"resolves_below is for floats, {self.type} is exact"
            raise ValueError(message)
        else:
            Scaled.exact(form.scale.fraction, self.exponent)
        return self


class SerialNumber(Strict):
    """Where the meter tells its serial number."""

    function: Function
    address: Address
    words: Annotated[int, Field(ge=1, le=MAX_WORDS)]
    form: Literal["letters"]
    """letters: one ASCII letter in the low byte of each word"""

    @cached_property
    def span(self) -> Span:
        """Its words in the meter's address space."""
        return Span(function=self.function, address=self.address, words=self.words)


class RequestLimits(Strict):
    """What one request to the meter may ask for; see `plan.Limits`."""

    max_words: Annotated[int, Field(ge=1, le=MAX_WORDS)] = MAX_WORDS
    even_counts: bool = False
    max_hole: Annotated[int, Field(ge=0, le=MAX_WORDS)] = MAX_HOLE
    barriers: Annotated[tuple[Address, ...], Field(strict=False)] = ()


class ModbusModel(MeterModel[ModbusRegister]):
    """One model file of this folder."""

    protocol: Literal["modbus"]
    sources: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    """what each fact was read from"""
    request: RequestLimits = RequestLimits()
    serial: SerialNumber | None = None

    @cached_property
    def limits(self) -> Limits:
        """What one request may ask for."""
        asked = self.request
        return Limits(
            max_words=asked.max_words,
            even_counts=asked.even_counts,
            max_hole=asked.max_hole,
            barriers=frozenset(asked.barriers),
        )

    def requests(self, *, with_serial: bool) -> tuple[Request, ...]:
        """The requests of one read."""
        spans = [register.span for register in self.registers]
        if with_serial and self.serial is not None:
            spans.append(self.serial.span)
        return plan(spans, self.limits)

    def values(self, words: Mapping[Span, tuple[int, ...]]) -> tuple[RegisterValue, ...]:
        """Every register's value; WrongAnswerError naming the first that has none."""
        return tuple(_value(register, words[register.span]) for register in self.registers)

    def serial_in(self, words: Mapping[Span, tuple[int, ...]]) -> str:
        """The serial number among the words; "" where none was read, WrongAnswerError where it is no text."""
        if self.serial is None or self.serial.span not in words:
            return ""
        try:
            return letters(words[self.serial.span])
        except RegisterError as error:
            message = f"gives no serial number: {error}"
            raise WrongAnswerError(message) from error

    @model_validator(mode="after")
    def _can_be_asked(self) -> ModbusModel:
        self.requests(with_serial=True)
        for register in self.registers:
            plan([register.span], self.limits)  # a refused block is split down to single values
        return self


@lru_cache(maxsize=1)
def meter_models() -> Mapping[str, ModbusModel]:
    """All model files of this driver by name; ModelFileError for one that does not fit."""
    return load_models(Path(__file__).parent / "models", ModbusModel)


def _value(register: ModbusRegister, words: tuple[int, ...]) -> RegisterValue:
    try:
        index = number(words, register.form)
    except RegisterError as error:
        message = f"gives no value for register {register.key}: {error}"
        raise WrongAnswerError(message) from error
    return RegisterValue(register=register.key, index=index, unit=register.unit, obis=register.obis)
