"""The link layer without a line: what is sent, and which frames are in the octets that come back. Pure.

M-Bus documentation 4.8, chapter 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drivers.mbus.frame import (
    ACK,
    LONG_START,
    SHORT_LENGTH,
    SHORT_START,
    STOP,
    Frame,
    FrameError,
    long_length,
    parse_frame,
    short_frame,
)
from drivers.mbus.secondary import SELECTED

if TYPE_CHECKING:
    from drivers.mbus.secondary import Pattern

Awaited = Literal["ack", "data", "any"]

_SND_NKE, _SND_UD, _REQ_UD1, _REQ_UD2, _FCB = 0x40, 0x53, 0x5A, 0x5B, 0x20
_SELECTION = 0x52
_REPORTS = frozenset({0x70, 0x71})
"""CI fields of application errors and alarms: they carry no identity"""
_BITS = 11
"""of one octet on the wire: start, eight, parity, stop"""


def long_frame(control: int, address: int, user_data: bytes) -> bytes:
    """A long frame with its lengths and its checksum; the user data begin with the CI field."""
    body = bytes([control, address]) + user_data
    return bytes([LONG_START, len(body), len(body), LONG_START]) + body + bytes([sum(body) & 0xFF, STOP])


def snd_nke(address: int) -> bytes:
    """Link reset: the meter's next expected frame count bit is 1."""
    return short_frame(_SND_NKE, address)


def req_ud2(address: int, *, fcb: bool) -> bytes:
    """Ask for the data; a repeated frame count bit asks for the previous telegram again."""
    return short_frame(_REQ_UD2 | (_FCB if fcb else 0), address)


def req_ud1(address: int, *, fcb: bool) -> bytes:
    """Ask for the alarm; a meter without one acknowledges (M-Bus documentation 4.8, 5.4 and 6.6.1)."""
    return short_frame(_REQ_UD1 | (_FCB if fcb else 0), address)


def snd_ud(address: int, user_data: bytes, *, fcb: bool) -> bytes:
    """Tell the meter something; acknowledged once it has understood it."""
    return long_frame(_SND_UD | (_FCB if fcb else 0), address, user_data)


def select(pattern: Pattern) -> bytes:
    """Select the meters that fit; all others are deselected. Every one that fits acknowledges."""
    return long_frame(_SND_UD, SELECTED, bytes([_SELECTION]) + pattern.octets)


def split(octets: bytes) -> list[bytes]:
    """The long frames that stand one behind the other; FrameError where they do not."""
    frames = []
    while octets:
        count = long_length(octets)
        frames.append(octets[:count])
        octets = octets[count:]
    return frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things take on a line, in seconds."""

    baud: int
    latency: float
    """that network and level converter add"""
    timeout: float | None = None
    """instead of what the standard allows"""

    def answer(self) -> float:
        """Longest wait for the first octet of an answer: 330 bit times and 50 ms, and the latency."""
        return 330 / self.baud + 0.05 + self.latency if self.timeout is None else self.timeout

    def octets(self, count: int) -> float:
        """How long `count` octets are under way."""
        return count * _BITS / self.baud

    def silence(self) -> float:
        """No octet for so long: nobody sends any more."""
        return 33 / self.baud + self.latency


class Receiver:
    """Finds the answer to one request in the octets that arrive.

    Skipped are: the echo of the request, noise before the answer, and late answers of other meters. A frame
    that is damaged is skipped octet by octet, so that a whole one behind it is still found.
    """

    def __init__(self, asked: int | Pattern, awaited: Awaited) -> None:
        """`asked`: a primary address, or what was selected: then the header of the answer must fit."""
        self._asked = asked
        self._awaited = awaited
        self._octets = b""
        self.missing = 0
        """octets that the frame that has begun still lacks"""
        self.problem: str | None = None
        """what was wrong with what came, where anything but an echo came"""
        self.strangers: list[int] = []
        """addresses of meters that have answered without being asked"""
        self.echo = False
        """whether a request came back"""

    def feed(self, octets: bytes) -> bytes | None:
        """Take in more octets; the answer as soon as it is whole."""
        self._octets += octets
        return self._search(final=False)

    def finish(self) -> bytes | None:
        """Nothing more will come: search what is left without waiting for the rest of any frame."""
        return self._search(final=True)

    def _search(self, *, final: bool) -> bytes | None:
        while self._octets:
            if self._octets[:1] == ACK and self._awaited != "data":
                return ACK
            try:
                count = self._frame_length()
                self.missing = max(0, count - len(self._octets))
                if self.missing and not final:
                    return None
                octets = self._octets[:count]
                frame = parse_frame(octets)
            except FrameError as error:
                self.problem = self.problem or str(error)
                self._octets = self._octets[1:]
                continue
            self._octets = self._octets[count:]
            if self._is_answer(frame):
                return octets
        return None

    def _frame_length(self) -> int:
        """Octets of the frame that begins here, or of the part of it that says so; FrameError where none begins."""
        if self._octets[0] == SHORT_START:
            return SHORT_LENGTH
        if self._octets[0] != LONG_START:
            message = f"octets {self._octets[:8].hex()} begin no frame"
            raise FrameError(message)
        return 4 if len(self._octets) < 4 else long_length(self._octets)

    def _is_answer(self, frame: Frame) -> bool:
        if frame.from_master:  # the echo of the request
            self.echo = True
            return False
        objection = self._objection(frame)
        self.problem = objection or self.problem
        return objection is None

    def _objection(self, frame: Frame) -> str | None:
        if not frame.is_answer:
            return f"C field {frame.control:02x} is no answer of a meter"
        if isinstance(self._asked, int) and frame.address != self._asked:
            self.strangers.append(frame.address)
            return f"the answer comes from address {frame.address}"
        if self._awaited == "ack":
            return "data came instead of an acknowledgement"
        if isinstance(self._asked, int) or frame.user_data[0] in _REPORTS:
            return None
        return self._asked.objection(frame.user_data)
