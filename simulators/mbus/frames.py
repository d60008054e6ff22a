"""Frames as a slave hears them: octets in, good frames out. M-Bus documentation 4.8, 5.2 to 5.4 (IEC 870, FT1.2)."""

from __future__ import annotations

from dataclasses import dataclass

SHORT, LONG, STOP, CONFIRM = 0x10, 0x68, 0x16, b"\xe5"
_SHORT_LENGTH = 5
_AROUND = 6
"""octets of a long frame that its length does not count: two starts, two lengths, checksum, stop"""


@dataclass(frozen=True, slots=True)
class Frame:
    """A good frame. `data` is what follows A: CI first; nothing in a short frame."""

    control: int
    address: int
    data: bytes = b""


class Listener:
    """Finds the good frames in what comes octet by octet; garbage between them is passed over."""

    def __init__(self) -> None:
        self._heard = bytearray()

    def feed(self, octet: int) -> Frame | None:
        """The frame that ends with this octet."""
        self._heard.append(octet)
        while self._heard:
            whole = _length(self._heard)
            if whole is not None:
                if len(self._heard) < whole:
                    return None
                frame = _parse(self._heard[:whole])
                if frame is not None:
                    self._heard.clear()
                    return frame
            del self._heard[0]
        return None


def _length(heard: bytearray) -> int | None:
    """The whole length of the frame that begins here, the least it can have while that is open; None for no frame."""
    if heard[0] == SHORT:
        return _SHORT_LENGTH
    if heard[0] != LONG:
        return None
    if len(heard) < 4:
        return 4 + 1
    alike = heard[1] == heard[2] and heard[3] == LONG and heard[1] >= 3
    return heard[1] + _AROUND if alike else None


def _parse(octets: bytearray) -> Frame | None:
    body = octets[1:-2] if octets[0] == SHORT else octets[4:-2]
    if octets[-1] != STOP or sum(body) % 256 != octets[-2]:
        return None
    return Frame(body[0], body[1], bytes(body[2:]))


def short_frame(control: int, address: int) -> bytes:
    """A frame without data."""
    return bytes((SHORT, control, address, (control + address) % 256, STOP))


def long_frame(control: int, address: int, data: bytes) -> bytes:
    """A frame with data, CI first; a control frame where CI is all there is."""
    body = bytes((control, address)) + data
    size = len(body)
    return bytes((LONG, size, size, LONG)) + body + bytes((sum(body) % 256, STOP))
