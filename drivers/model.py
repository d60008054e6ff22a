"""The schema of a meter model file: what a meter's answer means, as data only.

Each protocol derives its own `Register` and `MeterModel` from the ones here and reads its folder as `ModelFiles`.
Every model proves itself: at least one raw answer and what must be read out of it.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Generic, Literal, Protocol, TypeVar
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gateway.core.refusal import clause, dotted, shown, some
from gateway.core.units import UNITS
from gateway.ports.field import NoValue, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from gateway.ports.field import RegisterValue, StoredValue


def _plain(text: str) -> str:
    if any(category(sign) == "Cc" for sign in text):
        message = f"{text[:40]!r} has control characters; write it in one line of plain text"
        raise ValueError(message)
    return text


Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
HexText = Annotated[str, StringConstraints(pattern=r"^(\s*[0-9a-f]{2})+\s*$")]
Obis = Annotated[str, StringConstraints(pattern=r"^\d{1,3}-\d{1,3}:\d{1,3}\.\d{1,3}\.\d{1,3}$")]
Plain = Annotated[str, AfterValidator(_plain)]
"""text that a person reads"""
Origin = Literal["captured", "manual", "constructed"]
"""of a real device; the maker's example; by hand from the document, never by our encoder"""

_ENERGY = frozenset({"Wh", "kWh", "MWh", "J", "MJ", "GJ"})
_SERIAL = "serial"
_IDENTITY = frozenset({_SERIAL, "status"})


class ModelFileError(ImportError):
    """A model file cannot be used, so its driver does not import. The text says what is wrong where."""


class EmptyRegisterError(WrongAnswerError):
    """The meter says that a register has no value. `why`: what it says instead."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class Strict(BaseModel):
    """Refuses unknown keys and values of another type; unchangeable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Register(Strict):
    """One counter that a meter delivers. The protocol's own class adds where in the answer it stands."""

    key: Key
    kind: Literal["energy", "volume"]
    unit: str
    exponent: Annotated[int, Field(ge=-9, le=9)]
    """the index is a whole number of 10**exponent units"""
    obis: Obis

    @model_validator(mode="after")
    def _measures_its_kind(self) -> Register:
        if self.key in _IDENTITY:
            message = f"a register cannot have the key {self.key!r}"
            raise ValueError(message)
        if self.unit not in UNITS or (self.unit in _ENERGY) != (self.kind == "energy"):
            message = f"{self.unit!r} is no unit of {self.kind}"
            raise ValueError(message)
        return self


class Proof(Strict):
    """A raw answer and what must be read out of it."""

    origin: Origin
    source: Plain
    """where it comes from: the capture's name, or document and page"""
    raw: HexText
    """what was on the wire in one read, frame after frame, in hex; blanks and line ends do not count"""
    expect: dict[str, str | int]
    """serial (text), status (whole number) and the index of every register (decimal text) by its key"""
    stored: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """what the meter keeps itself: register, the moment by its clock, index ("heat 2014-01-01T00:00 12.5")"""
    partial: bool = False
    """whether it is what another program asked for: `expect` names the registers that it shows"""

    def expects(self, keys: set[str]) -> bool:
        """Whether it says what it must of these registers: all and the identity, or some where it is partial."""
        named = set(self.expect)
        if self.partial:
            return bool(named & keys) and named <= keys | {_SERIAL}
        return named == _IDENTITY | keys

    def differs(self, keys: set[str]) -> str:
        """What a complete proof of these registers has too little and too much."""
        wanted, named = _IDENTITY | keys, set(self.expect)
        lacks, beside = some(sorted(wanted - named)), some(sorted(named - wanted))
        return (f"; it lacks {lacks}" if lacks else "") + (f"; no register is called {beside}" if beside else "")

    @property
    def octets(self) -> bytes:
        """`raw` as it was on the wire."""
        return bytes.fromhex(self.raw)


AnyRegister = TypeVar("AnyRegister", bound=Register)


class MeterModel(Strict, Generic[AnyRegister]):
    """What all model files have in common. A protocol's class adds `protocol` and what identifies its meters."""

    make: Annotated[Plain, StringConstraints(min_length=1)]
    models: Annotated[tuple[Plain, ...], Field(min_length=1, strict=False)]
    """the maker's names of the devices that answer like this"""
    verified_on: Annotated[tuple[Plain, ...], Field(strict=False)] = ()
    """devices at hand on which the file was tried: type, serial number, date"""
    read_budget_per_day: Annotated[int, Field(ge=1)] | None = None
    """how many reads a day the battery is made for; absent: no battery to spare"""
    unbilled: Annotated[Plain, StringConstraints(min_length=1)] | None = None
    """why nothing that it sends is billed; it has no registers then"""
    registers: Annotated[tuple[AnyRegister, ...], Field(alias="register", strict=False)] = ()
    proof: Annotated[tuple[Proof, ...], Field(strict=False)]

    @property
    def keys(self) -> tuple[str, ...]:
        """The register keys in the order of the file."""
        return tuple(register.key for register in self.registers)

    @field_validator("registers")
    @classmethod
    def _has_each_key_once(cls, registers: tuple[AnyRegister, ...]) -> tuple[AnyRegister, ...]:
        twice = [key for key, times in Counter(register.key for register in registers).items() if times > 1]
        if twice:
            message = f"register keys occur twice: {', '.join(twice)}; give each register its own"
            raise ValueError(message)
        return registers

    @field_validator("proof")
    @classmethod
    def _expects_every_register(cls, proofs: tuple[Proof, ...], info: ValidationInfo) -> tuple[Proof, ...]:
        if not proofs:
            message = "a model has one [[proof]] or more: a raw answer and what must come out of it"
            raise ValueError(message)
        keys = {register.key for register in info.data.get("registers", ())}
        told = bool(keys) or info.data.get("unbilled") is not None  # else the registers are what is wrong
        wrong = [proof for proof in proofs if told and not proof.expects(keys)]
        if wrong and wrong[0].partial:
            message = f"a partial proof expects one or more of {some(sorted(keys))}, and serial where it shows it"
            raise ValueError(message)
        if wrong:
            message = f"a proof expects exactly {some([*sorted(_IDENTITY), *sorted(keys)])}{wrong[0].differs(keys)}"
            raise ValueError(message)
        if told and all(proof.partial for proof in proofs):
            message = "no proof is complete; put one beside the partial ones that expects every register"
            raise ValueError(message)
        return proofs

    @model_validator(mode="after")
    def _says_why_it_has_no_registers(self) -> MeterModel[AnyRegister]:
        if (self.unbilled is None) != bool(self.registers):
            message = "a model has registers, or says in `unbilled` why there are none"
            raise ValueError(message)
        return self


def given(
    registers: Iterable[AnyRegister], value: Callable[[AnyRegister], RegisterValue]
) -> tuple[tuple[RegisterValue, ...], tuple[NoValue, ...]]:
    """The registers that have a value, and those of which the meter says that they have none.

    `value` raises EmptyRegisterError for these. WrongAnswerError where none has one, and what else `value` raises.
    """
    values: list[RegisterValue] = []
    empty: list[tuple[NoValue, EmptyRegisterError]] = []
    for register in registers:
        try:
            values.append(value(register))
        except EmptyRegisterError as error:
            empty.append((NoValue(register=register.key, why=error.why), error))
    if empty and not values:
        raise WrongAnswerError(str(empty[0][1])) from empty[0][1]
    return tuple(values), tuple(each for each, _ in empty)


AnyModel = TypeVar("AnyModel", bound=BaseModel)


class ModelFiles(Mapping[str, AnyModel]):
    """Every `*.toml` of a folder by its name without the ending.

    A model is read when it is first asked for, ModelFileError where it does not fit: a site has few of them.
    """

    def __init__(self, folder: Path, schema: type[AnyModel]) -> None:
        self._paths = {path.stem: path for path in sorted(folder.glob("*.toml"))}
        self._schema = schema
        self._read: dict[str, AnyModel] = {}

    def __getitem__(self, name: str) -> AnyModel:
        if name not in self._read:
            self._read[name] = _model(self._paths[name], self._schema)
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class Counting(Protocol):
    """A model that has registers."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Their keys."""


class RegisterKeys(Mapping[str, tuple[str, ...]]):
    """The register keys of the models of several mappings by name; the first mapping that has a name is right."""

    def __init__(self, *models: Mapping[str, Counting]) -> None:
        self._models = models

    def __getitem__(self, name: str) -> tuple[str, ...]:
        for models in self._models:
            if name in models:
                return models[name].keys
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(name in models for models in self._models)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for models in self._models for name in models))

    def __len__(self) -> int:
        return len(set().union(*self._models))


def _model(path: Path, schema: type[AnyModel]) -> AnyModel:
    try:
        return schema.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise _unusable(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _unusable(path, "is not UTF-8 text; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _unusable(path, f"is not TOML: {error}") from error
    except ValidationError as error:
        raise _unusable(path, "; ".join(map(mistake, error.errors()))) from error


def _unusable(path: Path, text: str) -> ModelFileError:
    return ModelFileError(f"model file {path.name}: {text}")


def mistake(error: ErrorDetails) -> str:
    """What a schema refuses, where and why, in words for who wrote it."""
    match error["type"]:
        case "extra_forbidden":
            text = "this key is not known; remove it"
        case "missing":
            text = "is missing"
        case "value_error":
            text = error["msg"].removeprefix("Value error, ")
        case kind:
            text = f"{shown(error['input'])} {clause(kind, error.get('ctx', {}))}"
    return f"{dotted(error['loc']) or 'file'}: {text}"


def mismatches(proof: Proof, serial: str, status: int, values: Iterable[RegisterValue]) -> list[str]:
    """What a read of the proof's answer gave otherwise than expected; empty where the model is proven."""
    found: dict[str, str | int] = {"serial": serial, "status": status}
    found |= {value.register: str(value.index) for value in values}
    return [
        f"{proof.source}: {name} is {found.get(name)!r}, expected {expected!r}"
        for name, expected in proof.expect.items()
        if found.get(name) != expected
    ]


def stored_mismatches(proof: Proof, values: Iterable[StoredValue]) -> list[str]:
    """What the meter keeps itself otherwise than expected."""
    found = tuple(f"{value.register} {value.at.isoformat(timespec='minutes')} {value.index}" for value in values)
    if found == proof.stored:
        return []
    return [f"{proof.source}: stored is {'; '.join(found)!r}, expected {'; '.join(proof.stored)!r}"]


def instead(name: str, known: Iterable[str]) -> str:
    """What to do about a model's name that nobody knows, as the end of a sentence."""
    make = name.partition("-")[0]
    names = list(known)
    close = get_close_matches(name, names, n=3) or [each for each in names if each.partition("-")[0] == make][:3]
    listed = f"write e.g. {', '.join(close)}" if close else "`submeter check --schema` lists all"
    return f"{listed}, or add models/{name}.toml"
