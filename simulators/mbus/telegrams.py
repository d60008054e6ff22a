"""Captured telegrams, and the places in them that a simulated meter fills in."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

TELEGRAMS = Path(__file__).parent / "telegrams.toml"
MODELS = Path(__file__).parents[2] / "drivers" / "mbus" / "models"
ADDRESS, CI, NUMBER, SIGNATURE, RECORDS = 5, 6, 7, 17, 19
"""places in a long frame with the long header"""
_FABRICATION = bytes.fromhex("0c78")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Places in a long frame, None for what its header lacks. M-Bus documentation 4.8, 6.1 to 6.3."""

    number: int | None
    access: int | None
    status: int | None
    records: int
    secondary: int = 0
    """octets from the number on that a selection compares"""


_LONG = Header(number=7, access=15, status=16, records=RECORDS, secondary=8)
_FIXED = Header(number=7, access=11, status=12, records=15, secondary=4)
_HEADERS = {
    0x72: _LONG,
    0x76: _LONG,
    0x73: _FIXED,
    0x77: _FIXED,
    0x7A: Header(number=None, access=7, status=8, records=11),
}
_NONE = Header(number=None, access=None, status=None, records=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Where a counter stands in a telegram and how it is written."""

    place: int
    size: int
    coding: Literal["binary", "bcd"]
    step: str
    """what one count means, as a decimal of `unit`"""
    unit: str
    kept: int | None = None
    """where the meter shows what this counter was at its due date, written in the same way"""

    def encode(self, counts: int) -> bytes:
        """The counter's bytes, least significant first; what does not fit rolls over, as in the meter."""
        if self.coding == "bcd":
            return bcd(counts % 10 ** (2 * self.size), self.size)
        return (counts % (1 << 8 * self.size)).to_bytes(self.size, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A telegram of a real meter and the places in it that change."""

    raw: bytes
    serial_place: int | None = None
    """the fabrication number, 0C 78"""
    time_place: int | None = None
    due_place: int | None = None
    """the due date for which it keeps its counters, type G"""
    counters: dict[str, Counter] = field(default_factory=dict)

    @property
    def header(self) -> Header:
        """By its CI field."""
        return _HEADERS.get(self.raw[CI], _NONE)


def bcd(number: int, size: int) -> bytes:
    """Type A: `2 * size` decimal digits, least significant byte first."""
    return bytes.fromhex(str(number).rjust(2 * size, "0"))[::-1]


def type_f(at: datetime) -> bytes:
    """Type F: minute, hour, day, month and year (two digits) of a meter's clock; CP32 of the documentation."""
    year = at.year % 100
    return bytes((at.minute, at.hour, at.day | (year & 0x07) << 5, at.month | (year >> 3) << 4))


def type_g(day: date) -> bytes:
    """Type G: day, month and year (two digits); CP16 of the documentation."""
    year = day.year % 100
    return bytes((day.day | (year & 0x07) << 5, day.month | (year >> 3) << 4))


def with_checksum(frame: bytearray) -> bytes:
    """The long frame with the checksum that its bytes need: the sum from C to the last user byte."""
    frame[-2] = sum(frame[4:-2]) % 256
    return bytes(frame)


def type_f_time(octets: bytes) -> datetime:
    """The time that four octets of type F say. ValueError for none."""
    minute, hour, day, month = octets
    year = 2000 + (day >> 5 | (month >> 4) << 3)
    return datetime(year, month & 0x0F, day & 0x1F, hour & 0x1F, minute & 0x3F, tzinfo=UTC)


def captured(raw: bytes) -> Captured:
    """A telegram of which only the header and the fabrication number change."""
    start = _HEADERS.get(raw[CI], _NONE).records
    place = raw.find(_FABRICATION, start)
    return Captured(raw=raw, serial_place=place + len(_FABRICATION) if place >= 0 else None)


def captured_telegrams(path: Path = TELEGRAMS) -> dict[str, Captured]:
    """Model name -> its telegram."""
    with path.open("rb") as file:
        return {model: _captured(entry) for model, entry in tomllib.load(file).items()}


def telegrams_of_models(folder: Path = MODELS) -> dict[str, Captured]:
    """The captured telegrams that prove the models, as data; model name -> telegram with the long header."""
    found = {}
    for path in sorted(folder.glob("*.toml")):
        with path.open("rb") as file:
            for proof in tomllib.load(file).get("proof", ()):
                raw = bytes.fromhex(proof["raw"])
                if proof["origin"] == "captured" and raw[CI] == 0x72:
                    found[path.stem] = captured(raw)
    return found


def _captured(entry: dict[str, object]) -> Captured:
    raw = bytes.fromhex(str(entry["raw"]))
    registers = entry["registers"]
    if not isinstance(registers, dict):
        raise TypeError(registers)
    return Captured(
        raw=raw,
        serial_place=_place(raw, entry.get("serial_after")),
        time_place=_place(raw, entry.get("time_after")),
        due_place=_place(raw, entry.get("due_after")),
        counters={
            key: Counter(
                place=_data(raw, value["after"]),
                size=value["bytes"],
                coding=value["coding"],
                step=value["step"],
                unit=value["unit"],
                kept=_place(raw, value.get("kept_after")),
            )
            for key, value in registers.items()
        },
    )


def _place(raw: bytes, after: object) -> int | None:
    return None if after is None else _data(raw, str(after))


def _data(raw: bytes, after: str) -> int:
    """Where the data of the record that begins with these bytes stand."""
    head = bytes.fromhex(after)
    return raw.index(head, RECORDS) + len(head)
