"""Which words a meter has, and how its counters are written into them.

A register is a 16-bit word; which words make a number, and in which order, is the maker's choice (Modbus Application
Protocol V1.1b3, 4.2).
"""

from __future__ import annotations

import struct
import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

REGISTERS = Path(__file__).parents[1] / "registers.toml"
MODELS = Path(__file__).parents[2] / "drivers" / "modbus" / "models"
MOST_WORDS = 125
"""of one request (Modbus Application Protocol V1.1b3, 6.3 and 6.4)"""
_BITS = {"u16": 16, "i16": 16, "u32": 32, "i32": 32, "u64": 64, "i64": 64, "float32": 32, "float64": 64}
_FLOATS = {"float32": ">f", "float64": ">d"}
_HEADER = 7

Type = Literal["u16", "i16", "u32", "i32", "u64", "i64", "float32", "float64"]
Place = tuple[int, int]
"""function (3 holding, 4 input registers) and zero-based address"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Where a counter stands and how its words are written."""

    function: int
    address: int
    type: Type
    order: Literal["big", "little"] = "big"
    """whether the most significant word comes first or last"""
    step: str
    """what one count means, as a number of `unit`"""
    scale: str
    """what the raw number is multiplied by to count in `unit`"""
    unit: str
    modulus: str | None = None
    """the index at which it begins again at 0; None: where its words are full"""
    absent: int | None = None
    """the bits that mean "no value"; None: all ones"""

    @property
    def size(self) -> int:
        """Words."""
        return _BITS[self.type] // 16

    @property
    def end(self) -> int | None:
        """The count that shows as 0 again: the sign bit never counts. None for a float that names no modulus."""
        if self.modulus is not None:
            return (Fraction(self.modulus) / Fraction(self.step)).__floor__()
        if self.type in _FLOATS:
            return None
        full = 1 << (_BITS[self.type] - self.type.startswith("i"))
        return (full * Fraction(self.scale) / Fraction(self.step)).__floor__()

    def encode(self, counts: int) -> tuple[int, ...]:
        """The words as they travel. What does not fit rolls over, as in the meter; a float is the nearest there is."""
        rolled = counts if self.end is None or counts < 0 else counts % self.end
        raw = rolled * Fraction(self.step) / Fraction(self.scale)
        if self.type in _FLOATS:
            return self._words(int.from_bytes(struct.pack(_FLOATS[self.type], raw), "big"))
        return self._words(raw.__floor__())

    def nothing(self) -> tuple[int, ...]:
        """The words while there is no value."""
        return self._words(-1 if self.absent is None else self.absent)

    def _words(self, bits: int) -> tuple[int, ...]:
        words = tuple(bits >> 16 * n & 0xFFFF for n in range(self.size))
        return words if self.order == "little" else words[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialNumber:
    """Where the serial number stands."""

    function: int
    address: int
    words: int
    form: Literal["letters", "text", "number"]
    """ASCII, a letter in the low byte of each word; two in a word; a whole number, most significant word first"""

    def encode(self, serial: str) -> dict[Place, int]:
        """Its words; ValueError for what they cannot hold."""
        size = 1 if self.form == "letters" else 2
        length = self.words * size
        try:
            octets = int(serial).to_bytes(length, "big") if self.form == "number" else serial.encode("ascii")
        except OverflowError:
            octets = bytes(length + 1)
        if len(octets) > length:
            message = f"serial number {serial!r} does not fit {self.words} registers"
            raise ValueError(message)
        octets = octets.ljust(length, b"\0")
        return {
            (self.function, self.address + n): int.from_bytes(octets[n * size : (n + 1) * size], "big")
            for n in range(self.words)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the meter lets one request ask for. Too many words, or an odd count where that must be even: exception 3."""

    max_words: int = MOST_WORDS
    even_counts: bool = False
    barriers: frozenset[int] = frozenset()
    """no request reads across one, or a part of a counter: exception 2"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that can be read of a model. Other words are refused with exception 2, other functions with exception 1."""

    counters: dict[str, Counter]
    image: dict[Place, int] = field(default_factory=dict)
    """words that no counter and no serial number fills"""
    serial: SerialNumber | None = None
    limits: Limits = Limits()

    @property
    def functions(self) -> frozenset[int]:
        """By which the meter can be read."""
        return frozenset(counter.function for counter in self.counters.values()) | {place[0] for place in self.image}


def layouts(path: Path = REGISTERS) -> dict[str, Layout]:
    """Model name -> where its counters stand, of the simulated buildings' meters."""
    with path.open("rb") as file:
        return {
            model: Layout(
                counters={
                    key: Counter(function=entry["function"], **value) for key, value in entry["registers"].items()
                }
            )
            for model, entry in tomllib.load(file).items()
        }


def layouts_of_models(folder: Path = MODELS) -> dict[str, Layout]:
    """The gateway's model files, read as data; model name -> its counters amid the words of the file's raw answers."""
    found = {}
    for path in sorted(folder.glob("*.toml")):
        with path.open("rb") as file:
            entry = tomllib.load(file)
        if "register" in entry:
            found[path.stem] = _of_model(entry)
    return found


def _of_model(entry: dict[str, Any]) -> Layout:
    image: dict[Place, int] = {}
    for proof in reversed([proof for proof in entry["proof"] if not proof.get("partial")]):
        image |= _answered(bytes.fromhex(proof["raw"]))
    asked = entry.get("request", {})
    return Layout(
        counters={register["key"]: _counter(register, image) for register in entry["register"]},
        image=image,
        serial=SerialNumber(**entry["serial"]) if "serial" in entry else None,
        limits=Limits(
            max_words=asked.get("max_words", MOST_WORDS),
            even_counts=asked.get("even_counts", False),
            barriers=frozenset(asked.get("barriers", ())),
        ),
    )


def _counter(register: dict[str, Any], image: dict[Place, int]) -> Counter:
    scale = Fraction(register["scale"])
    if "scale_register" in register:
        place = register["scale_register"]["function"], register["scale_register"]["address"]
        scale *= Fraction(10) ** int.from_bytes(image[place].to_bytes(2, "big"), "big", signed=True)
    absent = register.get("not_available", ())
    return Counter(
        function=register["function"],
        address=register["address"],
        type=register["type"],
        order=register["order"],
        step=f"1e{register['exponent']}" if register["type"] in _FLOATS else str(scale),
        scale=str(scale),
        unit=register["unit"],
        modulus=register.get("modulus"),
        absent=int(absent[0], 16) if absent else None,
    )


def _answered(raw: bytes) -> dict[Place, int]:
    """The words that Modbus TCP frames, request and answer by turns, tell of."""
    frames = []
    while raw:
        end = 6 + int.from_bytes(raw[4:6], "big")
        frames.append(raw[_HEADER:end])
        raw = raw[end:]
    found = {}
    for request, answer in zip(frames[::2], frames[1::2], strict=True):
        first = int.from_bytes(request[1:3], "big")
        for n in range(answer[1] // 2):
            found[request[0], first + n] = int.from_bytes(answer[2 + 2 * n : 4 + 2 * n], "big")
    return found
