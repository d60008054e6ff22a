"""What a serial wedge reader sends: STX, the identifier in hex digits, ETX (ASCII 02 and 03). No I/O here.

Blanks, CR and LF inside a frame are dropped, as some readers add them. Whatever is no identifier of 4, 7 or 10 bytes
is noise and reported to nobody.
"""

from __future__ import annotations

import re

STX, ETX = b"\x02", b"\x03"
MOST = 64
"""octets of a frame; more are noise"""
_IDENTIFIER = re.compile(rb"[0-9A-Fa-f]{8}|[0-9A-Fa-f]{14}|[0-9A-Fa-f]{20}")
_FILLING = b" \r\n\t"


class Frames:
    """Cuts the octets of one line into identifiers."""

    def __init__(self, *, reverse: bool) -> None:
        """`reverse`: the reader sends the last byte first."""
        self._reverse = reverse
        self._heard = b""
        self.noise = 0
        """frames that held no identifier"""

    def feed(self, octets: bytes) -> list[str]:
        """The identifiers that are complete with these octets, in ISO 14443 order."""
        *whole, rest = (self._heard + octets).split(ETX)
        _, mark, begun = rest.rpartition(STX)
        self._heard = mark + begun[:MOST] if mark else b""
        return [found for frame in whole if (found := self._identifier(frame)) is not None]

    def _identifier(self, frame: bytes) -> str | None:
        digits = frame.rpartition(STX)[2].translate(None, _FILLING) if STX in frame else b""
        if not _IDENTIFIER.fullmatch(digits):
            self.noise += 1
            return None
        number = bytes.fromhex(digits.decode("ascii"))
        return (number[::-1] if self._reverse else number).hex().upper()
