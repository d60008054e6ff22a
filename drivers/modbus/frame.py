"""Frames of Modbus TCP: the MBAP header before a PDU (Messaging on TCP/IP V1.0b, 3.1.3); both kinds decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU

from drivers.modbus.rtu_frame import is_whole, rtu_pdu

_HEADER = 7
_MAX_PDU = 253
_ENCODER = FramerSocket(DecodePDU(is_server=False))


class FrameError(ValueError):
    """Bytes that cannot begin a Modbus TCP frame; what follows them cannot be told apart either."""


NO_FRAME = "no Modbus TCP frame"
"""how the text of a FrameError begins"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One Modbus TCP frame."""

    transaction: int
    unit: int
    pdu: bytes
    raw: bytes


def frame_bytes(transaction: int, unit: int, pdu: bytes) -> bytes:
    """The frame as it goes over the wire."""
    return _ENCODER.encode(pdu, unit, transaction)


def take_frame(buffer: bytearray) -> Frame | None:
    """Cut the first frame off the buffer; None while it is not complete, FrameError where no frame can begin."""
    if len(buffer) < _HEADER:
        return None
    protocol, length = int.from_bytes(buffer[2:4], "big"), int.from_bytes(buffer[4:6], "big")
    if protocol or not 2 <= length <= 1 + _MAX_PDU:
        message = f"{NO_FRAME}: protocol {protocol}, length {length}"
        raise FrameError(message)
    end = 6 + length
    if len(buffer) < end:
        return None
    raw = bytes(buffer[:end])
    del buffer[:end]
    return Frame(transaction=int.from_bytes(raw[:2], "big"), unit=raw[6], pdu=raw[_HEADER:], raw=raw)


def decoded(octets: bytes) -> dict[str, Any]:
    """One frame of a register read as a JSON-ready object: kind "request", "answer" or "exception".

    What is no whole frame of TCP may be one of RTU: then it has no transaction.
    """
    buffer = bytearray(octets)
    try:
        frame = take_frame(buffer)
    except FrameError as error:
        return _decoded_rtu(octets) or {"ok": False, "error": str(error)}
    if frame is None or buffer:
        text = f"no Modbus TCP frame: {len(octets)} bytes do not fit its length field"
        return _decoded_rtu(octets) or {"ok": False, "error": text}
    return _told({"transaction": frame.transaction, "unit": frame.unit}, frame.pdu)


def _decoded_rtu(octets: bytes) -> dict[str, Any] | None:
    return _told({"unit": octets[0]}, rtu_pdu(octets)) if is_whole(octets) else None


def _told(header: dict[str, Any], pdu: bytes) -> dict[str, Any]:
    body = _body(pdu)
    if body is None:
        return {"ok": False, "error": f"no request, answer or exception of function 3 or 4: {pdu.hex()}"}
    return {"ok": True, **header, **body}


def _body(pdu: bytes) -> dict[str, Any] | None:
    function, data = pdu[0], pdu[1:]
    if function in (0x83, 0x84) and len(data) == 1:
        return {"kind": "exception", "function": function & 0x7F, "exception": data[0]}
    if function not in (3, 4):
        return None
    if len(data) == 4:  # an answer is never so long: one byte and whole words
        address, count = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big")
        return {"kind": "request", "function": function, "address": address, "count": count}
    if len(data) > 1 and data[0] == len(data) - 1 and data[0] % 2 == 0:
        words = [int.from_bytes(data[at : at + 2], "big") for at in range(1, len(data), 2)]
        return {"kind": "answer", "function": function, "words": words}
    return None
