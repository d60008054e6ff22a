"""M-Bus slaves on a TCP line: captured telegrams, played with the counters that the building has just now.

Link layer as in the M-Bus documentation 4.8, chapter 5: SND_NKE is confirmed, REQ_UD2 is answered, a repeated FCB
gets the previous telegram again. Faults are switched on per slave.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simulators.tcp import Port

if TYPE_CHECKING:
    import asyncio
    from datetime import datetime

Fault = Literal["silence", "bad_checksum", "half_frame", "wrong_address", "noise"]

TELEGRAMS = Path(__file__).parent / "telegrams.toml"
_SHORT, _LONG, _STOP, _CONFIRM = 0x10, 0x68, 0x16, b"\xe5"
_SND_NKE, _REQ_UD2, _FCB = 0x40, 0x5B, 0x20
_SHORT_LENGTH = 5
_ADDRESS, _NUMBER, _ACCESS, _STATUS, _RECORDS = 5, 7, 15, 16, 19
"""places in a captured long frame with the long header: A, identification number, access number, status, records"""
_GARBAGE = bytes.fromhex("00ff6803a7")


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
    serial_place: int
    time_place: int | None
    counters: dict[str, Counter]


@dataclass(slots=True, kw_only=True)
class Slave:
    """One meter. `counts` are whole steps per register; `at` is the meter's own time, without a zone."""

    address: int
    captured: Captured
    serial: str
    counts: dict[str, int] = field(default_factory=dict)
    at: datetime | None = None
    fault: Fault | None = None
    access: int = 0
    _last_fcb: int | None = None
    _last: bytes = b""

    def reset(self) -> bytes:
        """SND_NKE: whatever FCB comes next asks for a new telegram."""
        self._last_fcb = None
        return self._spoiled(_CONFIRM)

    def request(self, fcb: int) -> bytes:
        """REQ_UD2: a new telegram when the FCB has changed, else the previous one once more."""
        if fcb != self._last_fcb:
            self.access = (self.access + 1) % 256
            self._last_fcb, self._last = fcb, self.telegram()
        return self._spoiled(self._last)

    def telegram(self) -> bytes:
        """The captured telegram with this meter's address, number, time and counters."""
        frame = bytearray(self.captured.raw)
        number = bcd(int(self.serial), 4)
        frame[_ADDRESS] = self.address
        frame[_ACCESS] = self.access
        frame[_STATUS] = 0  # one was captured without its sensors and says so; the demo's meters are well
        for place in (_NUMBER, self.captured.serial_place):
            frame[place : place + 4] = number
        if self.captured.time_place is not None and self.at is not None:
            frame[self.captured.time_place : self.captured.time_place + 4] = type_f(self.at)
        for name, counts in self.counts.items():
            counter = self.captured.counters[name]
            frame[counter.place : counter.place + counter.size] = counter.encode(counts)
        return with_checksum(frame)

    def _spoiled(self, answer: bytes) -> bytes:
        """The answer as the fault leaves it on the line."""
        if self.fault == "silence":
            return b""
        if self.fault == "noise":
            return _GARBAGE + answer
        if self.fault is None or answer == _CONFIRM:
            return answer
        if self.fault == "half_frame":
            return answer[: len(answer) // 2]
        frame = bytearray(answer)
        if self.fault == "wrong_address":
            frame[_ADDRESS] = self.address % 250 + 1
            return with_checksum(frame)
        frame[-2] ^= 0xFF
        return bytes(frame)


class Line(Port):
    """Several slaves behind one TCP port, like a level converter with an Ethernet socket."""

    def __init__(self, slaves: list[Slave]) -> None:
        super().__init__()
        self.slaves = {slave.address: slave for slave in slaves}

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every good short frame, as long as the master stays."""
        buffer = b""
        while data := await reader.read(256):
            requests, buffer = short_frames(buffer + data)
            for control, address in requests:
                writer.write(self._answer(control, address))
            await writer.drain()

    def _answer(self, control: int, address: int) -> bytes:
        slave = self.slaves.get(address)
        if slave is None:
            return b""
        if control == _SND_NKE:
            return slave.reset()
        if control & ~_FCB == _REQ_UD2:
            return slave.request(control & _FCB)
        return b""


def short_frames(buffer: bytes) -> tuple[list[tuple[int, int]], bytes]:
    """The (C, A) of every good short frame in the buffer, and the rest that may still become one."""
    found: list[tuple[int, int]] = []
    while (start := buffer.find(_SHORT)) >= 0 and len(buffer) >= start + _SHORT_LENGTH:
        frame = buffer[start : start + _SHORT_LENGTH]
        good = frame[4] == _STOP and (frame[1] + frame[2]) % 256 == frame[3]
        if good:
            found.append((frame[1], frame[2]))
        buffer = buffer[start + (_SHORT_LENGTH if good else 1) :]
    return found, buffer[start:] if start >= 0 else b""


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
    return raw.index(head, _RECORDS) + len(head)
