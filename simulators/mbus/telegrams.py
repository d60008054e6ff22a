"""Captured telegrams, and the places in them that a simulated meter fills in."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

TELEGRAMS = Path(__file__).parent / "telegrams.toml"
ADDRESS, NUMBER, ACCESS, STATUS, RECORDS = 5, 7, 15, 16, 19
"""places in a captured long frame with the long header: A, identification number, access number, status, records"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Where a counter stands in a telegram and how it is written."""

    place: int
    size: int
    coding: Literal["binary", "bcd"]
    step: str
    """what one count means, as a decimal of `unit`"""
    unit: str

    def encode(self, counts: int) -> bytes:
        """The counter's bytes, least significant first; what does not fit rolls over, as in the meter."""
        if self.coding == "bcd":
            return bcd(counts % 10 ** (2 * self.size), self.size)
        return (counts % (1 << 8 * self.size)).to_bytes(self.size, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A telegram of a real meter and the places in it that change."""

    raw: bytes
    serial_place: int | None
    """the fabrication number, 0C 78"""
    time_place: int | None
    counters: dict[str, Counter]


def bcd(number: int, size: int) -> bytes:
    """Type A: `2 * size` decimal digits, least significant byte first."""
    return bytes.fromhex(str(number).rjust(2 * size, "0"))[::-1]


def type_f(at: datetime) -> bytes:
    """Type F: minute, hour, day, month and year (two digits) of a meter's clock; CP32 of the documentation."""
    year = at.year % 100
    return bytes((at.minute, at.hour, at.day | (year & 0x07) << 5, at.month | (year >> 3) << 4))


def with_checksum(frame: bytearray) -> bytes:
    """The long frame with the checksum that its bytes need: the sum from C to the last user byte."""
    frame[-2] = sum(frame[4:-2]) % 256
    return bytes(frame)


def captured_telegrams(path: Path = TELEGRAMS) -> dict[str, Captured]:
    """Model name -> its telegram."""
    with path.open("rb") as file:
        return {model: _captured(entry) for model, entry in tomllib.load(file).items()}


def _captured(entry: dict[str, object]) -> Captured:
    raw = bytes.fromhex(str(entry["raw"]))
    registers = entry["registers"]
    if not isinstance(registers, dict):
        raise TypeError(registers)
    return Captured(
        raw=raw,
        serial_place=_place(raw, str(entry["serial_after"])),
        time_place=_place(raw, str(entry["time_after"])) if "time_after" in entry else None,
        counters={
            key: Counter(
                place=_place(raw, value["after"]),
                size=value["bytes"],
                coding=value["coding"],
                step=value["step"],
                unit=value["unit"],
            )
            for key, value in registers.items()
        },
    )


def _place(raw: bytes, after: str) -> int:
    """Where the data of the record that begins with these bytes stand."""
    head = bytes.fromhex(after)
    return raw.index(head, RECORDS) + len(head)
