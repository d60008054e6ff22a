"""Link frames: octets <-> control, address and user data. No I/O.

M-Bus documentation 4.8, chapter 5; EN 13757-2. A frame is accepted only whole: both starts, both lengths,
checksum and stop.
"""

from __future__ import annotations

from dataclasses import dataclass

SHORT_START = 0x10
LONG_START = 0x68
STOP = 0x16
ACK = b"\xe5"
SHORT_LENGTH = 5
LONG_OVERHEAD = 6
"""start, length, length, start before the user data; checksum, stop behind"""
USER_DATA_AT = 6
"""octet of a long frame: the CI field"""
LONGEST = LONG_OVERHEAD + 255


class FrameError(ValueError):
    """The octets are no telegram that can be believed. The text says why and where."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(f"{reason} (octet {offset})")
        self.reason = reason
        self.offset = offset
        """the octet of the frame that is wrong, counted from 0; its length where one is missing at its end"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A checked short or long frame."""

    control: int
    address: int
    user_data: bytes
    """from the CI field on, which is octet 6 of the frame; empty in a short frame"""

    @property
    def from_master(self) -> bool:
        """The direction bit of the C field."""
        return bool(self.control & 0x40)

    @property
    def is_answer(self) -> bool:
        """RSP_UD: C = 08, 18, 28 or 38 (access demand and data flow bits are free)."""
        return self.control & 0xCF == 0x08


def short_frame(control: int, address: int) -> bytes:
    """The five octets of a short frame."""
    return bytes([SHORT_START, control, address, (control + address) & 0xFF, STOP])


def parse_frame(octets: bytes) -> Frame:
    """Check one whole frame; FrameError says the first thing that is wrong."""
    if not octets:
        message = "no octets at all"
        raise FrameError(message)
    if octets[0] == LONG_START:
        return _parse_long(octets)
    if octets[0] == SHORT_START:
        return _parse_short(octets)
    if octets == ACK:
        message = "e5 is an acknowledgement: a device has heard what it was told; it holds no records"
        raise FrameError(message)
    message = f"a frame starts with 68 or 10, not with {octets[0]:02x}"
    raise FrameError(message)


def _parse_long(octets: bytes) -> Frame:
    count = long_length(octets)
    if len(octets) != count:
        message = f"the frame has {len(octets)} octets, its length field says {count}"
        raise FrameError(message, min(len(octets), count))
    if octets[-1] != STOP:
        message = f"the frame stops with {octets[-1]:02x} instead of 16"
        raise FrameError(message, count - 1)
    if sum(octets[4:-2]) & 0xFF != octets[-2]:
        message = f"the checksum is {octets[-2]:02x}, the octets give {sum(octets[4:-2]) & 0xFF:02x}"
        raise FrameError(message, count - 2)
    return Frame(control=octets[4], address=octets[5], user_data=octets[6:-2])


def long_length(octets: bytes) -> int:
    """Octets of the long frame that begins here; FrameError where none can begin. Needs 4 octets."""
    if len(octets) < 4:
        message = f"the frame ends after {len(octets)} octets"
        raise FrameError(message, len(octets))
    if octets[1] != octets[2]:
        message = f"the two lengths differ: {octets[1]:02x} and {octets[2]:02x}"
        raise FrameError(message, 2)
    if octets[3] != LONG_START:
        message = f"the second start is {octets[3]:02x} instead of 68"
        raise FrameError(message, 3)
    if octets[1] < 3:
        message = f"a length of {octets[1]} has no room for C, A and CI"
        raise FrameError(message, 1)
    return octets[1] + LONG_OVERHEAD


def _parse_short(octets: bytes) -> Frame:
    if len(octets) != SHORT_LENGTH:
        message = f"a short frame has 5 octets, not {len(octets)}"
        raise FrameError(message, min(len(octets), SHORT_LENGTH))
    if octets[4] != STOP:
        message = f"the short frame stops with {octets[4]:02x} instead of 16"
        raise FrameError(message, 4)
    if (octets[1] + octets[2]) & 0xFF != octets[3]:
        message = f"the checksum is {octets[3]:02x}, the octets give {(octets[1] + octets[2]) & 0xFF:02x}"
        raise FrameError(message, 3)
    return Frame(control=octets[1], address=octets[2], user_data=b"")
