"""Frames of Modbus RTU: unit, PDU, CRC (Modbus over Serial Line V1.02, 2.5.1). No I/O.

They carry neither a length nor a number. An answer is known by what the question makes it look like: unit, function,
byte count, length, CRC.
"""

from __future__ import annotations

from dataclasses import dataclass

from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU

LONGEST = 256
WRITES = (5, 6)
"""one coil, one register: their answer is the request"""
_CRC = 2
_EXCEPTION = 5
_ENCODER = FramerRTU(DecodePDU(is_server=False))


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    """The frame as it goes over the wire."""
    return _ENCODER.encode(pdu, unit, 0)


def is_whole(frame: bytes) -> bool:
    """Whether the CRC at its end is that of the octets before."""
    return len(frame) > 1 + _CRC and FramerRTU.check_CRC(frame[:-_CRC], int.from_bytes(frame[-_CRC:], "big"))


def rtu_pdu(frame: bytes) -> bytes:
    """What a whole frame carries, from the function code on."""
    return frame[1:-_CRC]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the answer to one question begins with, and how long it is."""

    head: bytes
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer among the octets that came."""

    frame: bytes
    surplus: int
    """octets behind it"""

    @property
    def pdu(self) -> bytes:
        """The answer from its function code on."""
        return rtu_pdu(self.frame)


def shapes(unit: int, pdu: bytes) -> tuple[Shape, Shape]:
    """How the answer to a request PDU looks, and how a refusal does. ValueError for a function that nobody asks."""
    function, count = pdu[0], int.from_bytes(pdu[3:5], "big")
    refusal = Shape(head=bytes([unit, function | 0x80]), length=_EXCEPTION)
    if function in WRITES:
        return Shape(head=bytes([unit]) + pdu, length=1 + len(pdu) + _CRC), refusal
    if function not in (1, 2, 3, 4):
        message = f"function {function} is not asked over a serial line"
        raise ValueError(message)
    octets = 2 * count if function in (3, 4) else (count + 7) // 8
    return Shape(head=bytes([unit, function, octets]), length=3 + octets + _CRC), refusal


def find(octets: bytes, wanted: tuple[Shape, ...]) -> Found | None:
    """The first whole frame of a wanted shape; noise may stand before it."""
    for at in range(len(octets)):
        for shape in wanted:
            frame = octets[at : at + shape.length]
            if len(frame) == shape.length and frame.startswith(shape.head) and is_whole(frame):
                return Found(frame=frame, surplus=len(octets) - at - shape.length)
    return None
