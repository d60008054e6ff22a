"""One meter on the bus: what it says to each frame that it hears.

Link layer as in the M-Bus documentation 4.8, chapter 5; what it is told (CI 50, 51, B8 to BF) as in 6.2 and 6.4;
addressing and selection as in 7.1.
"""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from simulators.mbus import records
from simulators.mbus.faults import spoilt
from simulators.mbus.frames import CONFIRM, long_frame
from simulators.mbus.secure import encrypted
from simulators.mbus.selection import matches
from simulators.mbus.telegrams import CI, bcd, type_f, type_f_time, type_g

if TYPE_CHECKING:
    from datetime import date, datetime

    from simulators.chance import Chance
    from simulators.mbus.faults import Fault
    from simulators.mbus.frames import Frame
    from simulators.mbus.secure import Mode
    from simulators.mbus.telegrams import Captured

Heard = Literal["reset", "read", "alarm", "data", "selection"]

_PRIMARY, _FCB, _FCV, _FUNCTION = 0x40, 0x20, 0x10, 0x0F
"""bits of C in what a master sends"""
_RSP_UD = 0x08
SELECTED, TEST, BROADCAST = 253, 254, 255
_RESET, _DATA, _ERROR, _ALARM = 0x50, 0x51, 0x70, 0x71
_BUSY = 8
_SELECTIONS = {0x52: "little", 0x56: "big"}
_BAUD = {0xB8: 300, 0xB9: 600, 0xBA: 1200, 0xBB: 2400, 0xBC: 4800, 0xBD: 9600, 0xBE: 19200, 0xBF: 38400}
_FOR_READOUT = 0x08
"""data field of a record that a master wants, and of which it sends no data"""


class _Function(IntEnum):
    """Function codes of C."""

    SND_NKE = 0x0
    SND_UD = 0x3
    REQ_UD1 = 0xA
    REQ_UD2 = 0xB


@dataclass(slots=True)
class _Image:
    """What a slave remembers of one kind of request at one kind of address, until SND_NKE."""

    fcb: int | None = None
    telegram: int | None = None
    """which one the last answer was"""
    answer: bytes = b""


@dataclass(slots=True, kw_only=True)
class Slave:
    """One meter. `counts` are whole steps per register; `at` is the meter's own time, without a zone."""

    address: int
    captured: Captured
    serial: str
    counts: dict[str, int] = field(default_factory=dict)
    at: datetime | None = None
    due: date | None = None
    """its last due date; what it keeps of that is `kept`, whole steps per register"""
    kept: dict[str, int] = field(default_factory=dict)
    fault: Fault | None = None
    chance: Chance[Fault] | None = None
    """draws a fault for each answer while `fault` is None"""
    access: int = 0
    status: int = 0
    more: tuple[Captured, ...] = ()
    """telegrams that follow the first, each asked for with a toggled FCB"""
    readouts: dict[int, tuple[Captured, ...]] = field(default_factory=dict)
    """what an application reset with this sub-code leads to, by its high half; the low half counts telegrams from 1"""
    alarm: int | None = None
    """what REQ_UD1 is answered with; None: no data of class 1, a confirmation"""
    key: bytes | None = None
    """encrypts its answers with this AES-128 key"""
    mode: Mode = 5
    lag: float = 0.0
    """seconds by which it answers later than the line's turnaround"""
    late: float = 0.5
    """seconds more of an answer with the fault `late`"""
    baud: int | None = None
    """the only speed at which it hears and answers; None: it finds out the speed of each request"""
    heard: Tally[Heard] = field(default_factory=Tally)
    """what it has heard that was meant for it; a selection is meant for every slave"""
    selected: bool = False
    _images: dict[tuple[int, bool], _Image] = field(default_factory=dict)
    """by function code, and whether it was asked as the selected one"""
    _asked: tuple[int, bool] = (_Function.REQ_UD2, False)
    _subcode: int = 0
    _chosen: list[records.Record] = field(default_factory=list)
    _next_baud: int | None = None
    _fault: Fault | None = None

    @property
    def wakes(self) -> int:
        """How often its battery paid: requests for data, repeated ones too, and everybody's selections."""
        return self.heard["read"] + self.heard["selection"]

    @property
    def delay(self) -> float:
        """Seconds that the answer just given comes later than the line's turnaround."""
        return self.lag + (self.late if self._fault == "late" else 0.0)

    def hear(self, frame: Frame) -> bytes:
        """The answer to a frame, b"" for none. At once: when it is sent is the line's business."""
        function = frame.control & _FUNCTION
        self._fault = self.fault or (self.chance() if self.chance is not None else None)
        if function == _Function.SND_UD and frame.address == SELECTED and frame.data and frame.data[0] in _SELECTIONS:
            return self._select(frame.data)
        if not self._is_meant(frame.address):
            return b""
        self._asked = (function, frame.address == SELECTED)
        answer = self._act(function, frame)
        return b"" if frame.address == BROADCAST else answer

    def answered(self) -> None:
        """Its answer has gone out: a new speed holds from now on."""
        if self._next_baud is not None:
            self.baud, self._next_baud = self._next_baud, None

    def reset(self) -> bytes:
        """SND_NKE: whatever FCB comes next asks for a new telegram, the first one."""
        self._forget(selected=self._asked[1])
        return self._sent(CONFIRM)

    def request(self, fcb: int) -> bytes:
        """REQ_UD2: the next telegram when the FCB has changed, else the previous one once more."""
        image = self._images.setdefault(self._asked, _Image())
        if fcb != image.fcb:
            following = 0 if image.telegram is None else image.telegram + 1
            self.access = (self.access + 1) % 256
            image.fcb, image.telegram = fcb, following % len(self._telegrams())
            image.answer = self.telegram(image.telegram)
        if self._fault == "busy":
            return self._sent(long_frame(_RSP_UD, self.address, bytes((_ERROR, _BUSY))))
        return self._sent(image.answer)

    def telegram(self, number: int = 0) -> bytes:
        """A telegram of its answer with this meter's address, number, time and counters."""
        telegrams = self._telegrams()
        captured = telegrams[number]
        frame = self._filled(captured)
        data = bytes(frame[captured.header.records : -2])
        if self._chosen:
            data = b"".join(each.octets for each in records.split(data)[0] if self._wants(each))
        if self._fault == "more_follows":
            data = records.with_more_to_come(data + bytes((0x01, 0xFD, 0x08, self.access)))
        elif number + 1 < len(telegrams):
            data = records.with_more_to_come(data)
        plain = long_frame(frame[4], self.address, bytes(frame[CI : captured.header.records]) + data)
        return plain if self.key is None else encrypted(plain, self.key, self.mode)

    def secondary(self) -> bytes:
        """Its secondary address as in a selection: number, manufacturer, version, medium; b"" without one."""
        header = self.captured.header
        if header.number is None:
            return b""
        return bytes(self._filled(self.captured)[header.number : header.number + header.secondary])

    def _filled(self, captured: Captured) -> bytearray:
        frame = bytearray(captured.raw)
        number, header = bcd(int(self.serial), 4), captured.header
        for place in (header.number, captured.serial_place):
            if place is not None:
                frame[place : place + 4] = number
        if header.access is not None and header.status is not None:
            frame[header.access], frame[header.status] = self.access, self.status
        if captured.time_place is not None and self.at is not None:
            frame[captured.time_place : captured.time_place + 4] = type_f(self.at)
        if captured.due_place is not None and self.due is not None:
            frame[captured.due_place : captured.due_place + 2] = type_g(self.due)
        for name, counter in captured.counters.items():
            for place, counts in ((counter.place, self.counts.get(name)), (counter.kept, self.kept.get(name))):
                if place is not None and counts is not None:
                    frame[place : place + counter.size] = counter.encode(counts)
        return frame

    def _telegrams(self) -> tuple[Captured, ...]:
        return self.readouts.get(self._subcode >> 4, (self.captured, *self.more))

    def _wants(self, record: records.Record) -> bool:
        return any(record.is_chosen_by(chosen) for chosen in self._chosen)

    def _is_meant(self, address: int) -> bool:
        return address in {self.address, TEST, BROADCAST} or (address == SELECTED and self.selected)

    def _forget(self, *, selected: bool) -> None:
        self._images = {asked: image for asked, image in self._images.items() if asked[1] != selected}

    def _act(self, function: int, frame: Frame) -> bytes:
        fcb = frame.control & _FCB if frame.control & _FCV else None
        if not frame.control & _PRIMARY:
            return b""
        match function:
            case _Function.SND_NKE:
                self.heard["reset"] += 1
                self.selected = self.selected and frame.address != SELECTED
                return self.reset()
            case _Function.REQ_UD2:
                self.heard["read"] += 1
                return self.request(fcb) if fcb is not None else self._first()
            case _Function.REQ_UD1:
                self.heard["alarm"] += 1
                return self._class_1()
            case _Function.SND_UD if frame.data:
                self.heard["data"] += 1
                return self._told(frame.data, fcb)
        return b""

    def _first(self) -> bytes:
        """REQ_UD2 of a master that does without FCB: from the first telegram on, and any FCB is a changed one."""
        self._images.pop(self._asked, None)
        answer = self.request(0)
        self._images[self._asked].fcb = None
        return answer

    def _class_1(self) -> bytes:
        if self.alarm is None:
            return self._sent(CONFIRM)
        return self._sent(long_frame(_RSP_UD, self.address, bytes((_ALARM, self.alarm))))

    def _select(self, data: bytes) -> bytes:
        self.heard["selection"] += 1
        number = self.serial if self.captured.serial_place is not None else None
        mask = data[1:] if _SELECTIONS[data[0]] == "little" else _turned(data[1:])
        self.selected = matches(mask, self.secondary(), number)
        if not self.selected:
            return b""
        self._forget(selected=True)
        return self._sent(CONFIRM)

    def _told(self, data: bytes, fcb: int | None) -> bytes:
        """SND_UD; with the FCB of the one before it is that one again, and is confirmed without effect."""
        image = self._images.setdefault(self._asked, _Image())
        if fcb is None or fcb != image.fcb:
            image.fcb = fcb
            self._obey(data)
        return self._sent(CONFIRM)

    def _obey(self, data: bytes) -> None:
        if data[0] == _RESET:
            self._subcode = data[1] if len(data) > 1 else 0
            self._chosen = []
            self._start_at(self._subcode & 0x0F)
        elif data[0] == _DATA:
            self._take(data[1:])
        elif data[0] in _BAUD:
            self._next_baud = _BAUD[data[0]]

    def _start_at(self, number: int) -> None:
        """The next telegram is this one, from 1 on, whatever the FCB; 0: the first as well."""
        for selected in (False, True):
            self._images[_Function.REQ_UD2, selected] = _Image(telegram=number - 2 if number > 1 else None)

    def _take(self, data: bytes) -> None:
        told = records.split(data)[0]
        chosen = [each for each in told if each.dib[0] & 0x0F == _FOR_READOUT]
        if chosen or any(each.dib[0] == records.GLOBAL_READOUT for each in told):
            self._chosen = chosen
            self._start_at(1)
        for each in told:
            match (each.dib[0], each.vib):
                case (0x01, b"\x7a"):
                    self.address = each.data[0]
                case (0x04, b"\x6d"):
                    self.at = type_f_time(each.data)
                case (0x0C, b"\x79"):
                    self.serial = each.data[::-1].hex()

    def _sent(self, answer: bytes) -> bytes:
        return spoilt(answer, self._fault)


def _turned(mask: bytes) -> bytes:
    """Mode 2, high byte first, as mode 1: number and manufacturer turned round."""
    return mask[3::-1] + mask[5:3:-1] + mask[6:]
