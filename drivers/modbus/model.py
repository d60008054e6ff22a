"""A Modbus meter's model file: where its registers stand, how their words make numbers, what one request may ask."""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from drivers.modbus.plan import MAX_HOLE, MAX_WORDS, Function, Limits, PlanError, Request, Span, plan
from drivers.modbus.registers import (
    WORDS,
    NoValueError,
    NumberForm,
    NumberType,
    RegisterError,
    WordOrder,
    float_resolves_below,
    letters,
    natural_modulus,
    number,
    power_of_ten,
    text,
    whole,
)
from drivers.model import EmptyRegisterError, MeterModel, ModelFiles, Plain, Register, Strict, given
from gateway.core.units import Scaled
from gateway.ports.field import RegisterValue, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.ports.field import NoValue

Address = Annotated[int, Field(ge=0, le=0xFFFF)]
Pattern = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{4}){1,4}$")]


class ScaleRegister(Strict):
    """A word that holds the power of ten of a counter: i16 from -10 to 10 (SunSpec's `sunssf`)."""

    function: Function
    address: Address

    @cached_property
    def span(self) -> Span:
        """Its word in the meter's address space."""
        return Span(function=self.function, address=self.address, words=1)


class ModbusRegister(Register):
    """A counter and its words."""

    function: Function
    address: Address
    """zero-based, as on the wire: 30073 or 300073 in a maker's table is 72"""
    type: NumberType
    order: WordOrder
    scale: str
    """plain decimal: what the raw number is multiplied by to count in `unit`"""
    scale_register: ScaleRegister | None = None
    """integers only: the meter says the power of ten itself, beside `scale`; the value is then rounded half-up"""
    not_available: Annotated[tuple[Pattern, ...], Field(strict=False)]
    """bit patterns that mean "no value", most significant word first; NaN and infinity never are one anyway"""
    resolves_below: str | None = None
    """floats only: from this index on the float's steps are coarser than 10**exponent"""
    modulus: str | None = None
    """the index at which it begins again at 0; absent: where an integer's width ends, unknown for a float"""

    @cached_property
    def span(self) -> Span:
        """Its words in the meter's address space."""
        return Span(function=self.function, address=self.address, words=WORDS[self.type])

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """All words that its value needs."""
        return (self.span,) if self.scale_register is None else (self.span, self.scale_register.span)

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

    @cached_property
    def rolls_over_at(self) -> Scaled | None:
        """The index at which it begins again at 0; None where the model cannot know."""
        if self.modulus is not None:
            return Scaled.parse(self.modulus)
        return None if self.scale_register is not None else natural_modulus(self.form)

    def value(self, words: Mapping[Span, tuple[int, ...]]) -> RegisterValue:
        """Its value out of the words of its spans.

        EmptyRegisterError where the meter says that there is none, WrongAnswerError where the words cannot be one.
        """
        try:
            power = None if self.scale_register is None else power_of_ten(words[self.scale_register.span])
            index = number(words[self.span], self.form, power)
        except RegisterError as error:
            message = f"gives no value for register {self.key}: {error}"
            if isinstance(error, NoValueError):
                raise EmptyRegisterError(message, str(error)) from error
            raise WrongAnswerError(message) from error
        return RegisterValue(register=self.key, index=index, unit=self.unit, obis=self.obis, modulus=self.rolls_over_at)

    @model_validator(mode="after")
    def _is_exact(self) -> ModbusRegister:
        form = self.form
        if form.scale.digits <= 0:
            message = f"scale {self.scale} is no number above 0; for a meter wired the other way round there is swap"
            raise ValueError(message)
        if any(len(pattern) != 4 * WORDS[self.type] for pattern in self.not_available):
            message = f"not_available needs {4 * WORDS[self.type]} hex digits for {self.type}"
            raise ValueError(message)
        if form.is_float:
            self._says_how_fine(form)
        elif self.resolves_below is not None:
            message = f"resolves_below is for floats, {self.type} is exact"
            raise ValueError(message)
        elif self.scale_register is None:
            Scaled.exact(form.scale.fraction, self.exponent)
        self._fits_its_modulus(form)
        return self

    def _says_how_fine(self, form: NumberForm) -> None:
        below = str(float_resolves_below(form))
        if self.resolves_below != below:
            message = f"resolves_below must be {below!r}: from there on {self.type} is coarser than 10^{self.exponent}"
            raise ValueError(message)
        if self.scale_register is not None:
            message = f"scale_register is for integers, {self.type} has its own exponent"
            raise ValueError(message)

    def _fits_its_modulus(self, form: NumberForm) -> None:
        if self.modulus is None:
            return
        modulus, natural = Scaled.parse(self.modulus).at(self.exponent), natural_modulus(form)
        if modulus.digits <= 0:
            message = f"modulus {self.modulus} is no number above 0"
            raise ValueError(message)
        if self.scale_register is None and natural is not None and modulus > natural:
            message = f"modulus {self.modulus} is more than {self.type} times {self.scale} can hold; write {natural}"
            raise ValueError(message)


class SerialNumber(Strict):
    """Where the meter tells its serial number."""

    function: Function
    address: Address
    words: Annotated[int, Field(ge=1, le=MAX_WORDS)]
    form: Literal["letters", "text", "number"]
    """letters: one ASCII letter in the low byte of each word; text: two a word; number: whole, high word first"""

    @cached_property
    def span(self) -> Span:
        """Its words in the meter's address space."""
        return Span(function=self.function, address=self.address, words=self.words)

    def read(self, words: tuple[int, ...]) -> str:
        """The serial number; "" where all bits are 0 or 1, RegisterError where the words are no text."""
        if set(words) in ({0}, {0xFFFF}):
            return ""
        match self.form:
            case "letters":
                return letters(words)
            case "text":
                return text(words)
            case "number":
                return str(whole(words))


class FixedWords(Strict):
    """Words that meters of this map hold and others do not."""

    says: Annotated[Plain, StringConstraints(min_length=1)]
    """what they are in the maker's words, such as "identification code" """
    function: Function
    address: Address
    one_of: Annotated[tuple[Pattern, ...], Field(min_length=1, strict=False)]
    """hex of the words as on the wire, all of one length"""
    mask: Pattern | None = None
    """the bits that count; absent: all"""

    @cached_property
    def span(self) -> Span:
        """Its words in the meter's address space."""
        return Span(function=self.function, address=self.address, words=len(self.one_of[0]) // 4)

    def check(self, words: tuple[int, ...]) -> None:
        """WrongAnswerError where the words are another map's."""
        counting = whole(words) if self.mask is None else whole(words) & int(self.mask, 16)
        if counting not in {int(pattern, 16) for pattern in self.one_of}:
            found = "".join(f"{word:04x}" for word in words)
            message = (
                f"holds {found} in register {self.address} ({self.says}), the model is for {', '.join(self.one_of)};"
                " correct the model or the address in the settings, or set the meter"
            )
            raise WrongAnswerError(message)

    @model_validator(mode="after")
    def _has_one_length(self) -> FixedWords:
        if len({len(pattern) for pattern in (*self.one_of, self.mask or self.one_of[0])}) > 1:
            message = "one_of and mask need the same number of hex digits everywhere"
            raise ValueError(message)
        return self


class RequestLimits(Strict):
    """What one request to the meter may ask for; see `plan.Limits`."""

    max_words: Annotated[int, Field(ge=1, le=MAX_WORDS)] = MAX_WORDS
    even_counts: bool = False
    max_hole: Annotated[int, Field(ge=0, le=MAX_WORDS)] = MAX_HOLE
    barriers: Annotated[tuple[Address, ...], Field(strict=False)] = ()


class RegisterMap(Strict):
    """Where a meter's registers stand and how they may be asked for."""

    registers: Annotated[tuple[ModbusRegister, ...], Field(alias="register", strict=False)] = ()
    request: RequestLimits = RequestLimits()
    serial: SerialNumber | None = None
    identify: Annotated[tuple[FixedWords, ...], Field(strict=False)] = ()
    """what tells this map from others; looked at before the first read, after each failure and each minute"""

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
        spans = [span for register in self.registers for span in register.spans]
        if with_serial and self.serial is not None:
            spans.append(self.serial.span)
        return plan(spans, self.limits)

    @cached_property
    def identity_requests(self) -> tuple[Request, ...]:
        """The requests that bring the words to identify the meter by."""
        return plan([fixed.span for fixed in self.identify], self.limits)

    @cached_property
    def serial_requests(self) -> tuple[Request, ...]:
        """The request that brings the serial number alone; none where the map has none."""
        return () if self.serial is None else plan([self.serial.span], self.limits)

    def values(self, words: Mapping[Span, tuple[int, ...]]) -> tuple[RegisterValue, ...]:
        """Every register's value; WrongAnswerError naming the first that has none."""
        return tuple(register.value(words) for register in self.registers)

    def given(self, words: Mapping[Span, tuple[int, ...]]) -> tuple[tuple[RegisterValue, ...], tuple[NoValue, ...]]:
        """The registers that have a value, and those of which the meter says that they have none.

        WrongAnswerError where none has one, and where the words of one cannot be its.
        """
        return given(self.registers, lambda register: register.value(words))

    def serial_in(self, words: Mapping[Span, tuple[int, ...]]) -> str:
        """The serial number among the words; "" where none was read, WrongAnswerError where it is no text."""
        if self.serial is None or self.serial.span not in words:
            return ""
        try:
            return self.serial.read(words[self.serial.span])
        except RegisterError as error:
            message = f"gives no serial number: {error}"
            raise WrongAnswerError(message) from error

    def check_identity(self, words: Mapping[Span, tuple[int, ...]]) -> None:
        """WrongAnswerError where words that were read to identify the meter are another map's."""
        for fixed in self.identify:
            if fixed.span in words:
                fixed.check(words[fixed.span])

    @field_validator("registers")
    @classmethod
    def _registers_lie_apart(cls, registers: tuple[ModbusRegister, ...]) -> tuple[ModbusRegister, ...]:
        _lie_apart(_named(registers))
        return registers

    @field_validator("serial")
    @classmethod
    def _serial_lies_apart(cls, serial: SerialNumber | None, info: ValidationInfo) -> SerialNumber | None:
        _lie_apart(_named(info.data.get("registers", ()), serial))
        return serial

    @field_validator("identify")
    @classmethod
    def _fixed_words_lie_apart(cls, identify: tuple[FixedWords, ...], info: ValidationInfo) -> tuple[FixedWords, ...]:
        _lie_apart(_named(info.data.get("registers", ()), info.data.get("serial"), identify))
        return identify

    @model_validator(mode="after")
    def _can_be_asked(self) -> RegisterMap:
        for name, span in _named(self.registers, self.serial, self.identify):
            try:
                plan([span], self.limits)  # a refused block is split down to single values
            except PlanError as error:
                message = f"{name}: {error}"
                raise ValueError(message) from error
        return self


def _named(
    registers: tuple[ModbusRegister, ...], serial: SerialNumber | None = None, identify: tuple[FixedWords, ...] = ()
) -> list[tuple[str, Span]]:
    """Every place in the map by what it is; counters may share a scale register."""
    scales = {register.scale_register.span for register in registers if register.scale_register is not None}
    return [
        *((register.key, register.span) for register in registers),
        *(("a scale_register", span) for span in sorted(scales)),
        *([("serial", serial.span)] if serial is not None else []),
        *((fixed.says, fixed.span) for fixed in identify),
    ]


def _lie_apart(named: list[tuple[str, Span]]) -> None:
    for (name, span), (other, behind) in pairwise(sorted(named, key=lambda each: each[1])):
        if behind.function == span.function and behind.address < span.end:
            message = (
                f"{name} at {span.address} and {other} at {behind.address} overlap: {name} has {span.words} words;"
                " correct an address or a type"
            )
            raise ValueError(message)


class ModbusModel(RegisterMap, MeterModel[ModbusRegister]):
    """One model file of this folder."""

    protocol: Literal["modbus"]
    sources: Annotated[tuple[Plain, ...], Field(min_length=1, strict=False)]
    """what each fact was read from"""
    agreement: Annotated[Plain, StringConstraints(min_length=1)]
    """how many independent sources say the same, and where they do not"""


@lru_cache(maxsize=1)
def meter_models() -> Mapping[str, ModbusModel]:
    """All model files of this driver by name."""
    return ModelFiles(Path(__file__).parent / "models", ModbusModel)
