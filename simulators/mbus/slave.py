"""One meter on the bus: what it says to each frame that it hears.

Link layer as in the M-Bus documentation 4.8, chapter 5; addressing and selection as in 7.1.
"""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from simulators.mbus.frames import CONFIRM
from simulators.mbus.selection import matches
from simulators.mbus.telegrams import ACCESS, ADDRESS, NUMBER, STATUS, bcd, type_f, with_checksum

if TYPE_CHECKING:
    from datetime import datetime

    from simulators.mbus.frames import Frame
    from simulators.mbus.telegrams import Captured

Fault = Literal["silence", "bad_checksum", "half_frame", "wrong_address", "noise"]
Heard = Literal["reset", "read", "alarm", "data", "selection"]

_SND_NKE, _SND_UD, _REQ_UD1, _REQ_UD2 = 0x40, 0x53, 0x5A, 0x5B
_FCB = 0x20
SELECTED, TEST, BROADCAST = 253, 254, 255
_SELECTIONS = {0x52: "little", 0x56: "big"}
_BAUD = {0xB8: 300, 0xB9: 600, 0xBA: 1200, 0xBB: 2400, 0xBC: 4800, 0xBD: 9600, 0xBE: 19200, 0xBF: 38400}
_GARBAGE = bytes.fromhex("00ff6803a7")


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
    lag: float = 0.0
    """seconds by which it answers later than the line's turnaround"""
    baud: int | None = None
    """the only speed at which it hears and answers; None: it finds out the speed of each request"""
    heard: Tally[Heard] = field(default_factory=Tally)
    """what it has heard that was meant for it; a selection is meant for every slave"""
    selected: bool = False
    _last_fcb: int | None = None
    _last: bytes = b""
    _next_baud: int | None = None

    @property
    def wakes(self) -> int:
        """How often its battery paid: requests for data, repeated ones too, and everybody's selections."""
        return self.heard["read"] + self.heard["selection"]

    def hear(self, frame: Frame) -> bytes:
        """The answer to a frame, b"" for none. At once: when it is sent is the line's business."""
        control = frame.control & ~_FCB
        if control == _SND_UD and frame.address == SELECTED and frame.data and frame.data[0] in _SELECTIONS:
            return self._select(frame.data)
        if not self._is_meant(frame.address):
            return b""
        answer = self._act(control, frame)
        return b"" if frame.address == BROADCAST else answer

    def answered(self) -> None:
        """Its answer has gone out: a new speed holds from now on."""
        if self._next_baud is not None:
            self.baud, self._next_baud = self._next_baud, None

    def reset(self) -> bytes:
        """SND_NKE: whatever FCB comes next asks for a new telegram."""
        self._last_fcb = None
        return self._spoiled(CONFIRM)

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
        frame[ADDRESS] = self.address
        frame[ACCESS] = self.access
        frame[STATUS] = 0  # one was captured without its sensors and says so; the demo's meters are well
        for place in (NUMBER, self.captured.serial_place):
            if place is not None:
                frame[place : place + 4] = number
        if self.captured.time_place is not None and self.at is not None:
            frame[self.captured.time_place : self.captured.time_place + 4] = type_f(self.at)
        for name, counts in self.counts.items():
            counter = self.captured.counters[name]
            frame[counter.place : counter.place + counter.size] = counter.encode(counts)
        return with_checksum(frame)

    def secondary(self) -> bytes:
        """Its secondary address as in a selection: number, manufacturer, version, medium."""
        return self.telegram()[NUMBER : NUMBER + 8]

    def _is_meant(self, address: int) -> bool:
        return address in {self.address, TEST, BROADCAST} or (address == SELECTED and self.selected)

    def _act(self, control: int, frame: Frame) -> bytes:
        if control == _SND_NKE:
            self.heard["reset"] += 1
            self.selected = self.selected and frame.address != SELECTED
            return self.reset()
        if control == _REQ_UD2:
            self.heard["read"] += 1
            return self.request(frame.control & _FCB)
        if control == _SND_UD and frame.data:
            self.heard["data"] += 1
            return self._take(frame.data)
        return b""

    def _select(self, data: bytes) -> bytes:
        self.heard["selection"] += 1
        number = self.serial if self.captured.serial_place is not None else None
        mask = data[1:] if _SELECTIONS[data[0]] == "little" else _turned(data[1:])
        self.selected = matches(mask, self.secondary(), number)
        if not self.selected:
            return b""
        self._last_fcb = None
        return self._spoiled(CONFIRM)

    def _take(self, data: bytes) -> bytes:
        self._next_baud = _BAUD.get(data[0])
        return self._spoiled(CONFIRM)

    def _spoiled(self, answer: bytes) -> bytes:
        """The answer as the fault leaves it on the line."""
        if self.fault == "silence":
            return b""
        if self.fault == "noise":
            return _GARBAGE + answer
        if self.fault is None or answer == CONFIRM:
            return answer
        if self.fault == "half_frame":
            return answer[: len(answer) // 2]
        frame = bytearray(answer)
        if self.fault == "wrong_address":
            frame[ADDRESS] = self.address % 250 + 1
            return with_checksum(frame)
        frame[-2] ^= 0xFF
        return bytes(frame)


def _turned(mask: bytes) -> bytes:
    """Mode 2, high byte first, as mode 1: number and manufacturer turned round."""
    return mask[3::-1] + mask[5:3:-1] + mask[6:]
