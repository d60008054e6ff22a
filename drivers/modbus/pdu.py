"""Read requests and their answers, without what carries them (Modbus Application Protocol V1.1b3, 6.3, 6.4, 7).

The texts of errors say what the unit does: "refuses ...". Who it is belongs in front of them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from gateway.ports.field import FieldError, NoAnswerError, WrongAnswerError

if TYPE_CHECKING:
    from drivers.modbus.plan import Function, Request

_REQUESTS = {3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge, not done yet",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "the device behind the gateway does not respond",
}
_NO_FUNCTION = 1
_REFUSED = frozenset({2, 3})
_NOT_NOW = frozenset({5, 6, 10, 11})


class RefusedError(WrongAnswerError):
    """The device refuses these registers; after exception 2 or 3 a smaller request may pass."""


class NoFunctionError(RefusedError):
    """It refuses every register of this kind, holding or input: exception 1. No request passes."""


def read_request(function: Function, address: int, count: int) -> bytes:
    """The request PDU for `count` words from the zero-based `address`."""
    return bytes([function]) + _REQUESTS[function](address=address, count=count).encode()


def answered_words(request: Request, pdu: bytes) -> tuple[int, ...]:
    """The words of an answer PDU, `request.count` of them.

    A library would hand over whatever words came: function, byte count and length are checked here against the
    request. RefusedError for exception 1 to 3, NoAnswerError where the device is busy or not reached by its
    gateway, WrongAnswerError for everything else.
    """
    if pdu[:1] == bytes([request.function | 0x80]):
        raise _exception(pdu)
    if pdu[:1] != bytes([request.function]):
        message = f"answers function {pdu[:1].hex() or 'none'} to a read with function {request.function:02x}"
        raise WrongAnswerError(message)
    data = pdu[2:]
    if pdu[1:2] != bytes([2 * request.count]) or len(data) != 2 * request.count:
        message = (
            f"answers {len(data)} bytes (it says {pdu[1:2].hex() or 'nothing'}) where {2 * request.count} were asked"
        )
        raise WrongAnswerError(message)
    return struct.unpack(f">{request.count}H", data)


def _exception(pdu: bytes) -> FieldError:
    if len(pdu) != 2:
        return WrongAnswerError(f"answers an exception of {len(pdu)} bytes instead of 2")
    code = pdu[1]
    text = f"refuses: exception {code} ({_EXCEPTIONS.get(code, 'unknown')})"
    if code == _NO_FUNCTION:
        return NoFunctionError(text)
    if code in _REFUSED:
        return RefusedError(text)
    return NoAnswerError(text) if code in _NOT_NOW else WrongAnswerError(text)
