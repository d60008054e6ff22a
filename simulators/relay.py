"""A Modbus relay board with one relay (Modbus Application Protocol V1.1b3, 6.1 and 6.5): off without power."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field

from simulators.modbus import Device, refusal

_QUESTION = struct.Struct(">BHH")
_READ, _WRITE = 1, 5
_ON, _OFF = 0xFF00, 0x0000
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3


@dataclass(slots=True, kw_only=True)
class Relay(Device):
    """Shaped like a meter on the line. Its coil is number 0."""

    on: bool = False
    stuck: bool = False
    """it acknowledges and does not move"""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """set whenever it is written to"""
    looked_at: asyncio.Event = field(default_factory=asyncio.Event)
    """set when it is read after that"""

    def answer(self, request: bytes) -> bytes:
        """See `Device.answer`."""
        function = request[0]
        if function not in {_READ, _WRITE} or len(request) != _QUESTION.size:
            return refusal(function, _ILLEGAL_FUNCTION)
        _, coil, value = _QUESTION.unpack(request)
        if coil != 0:
            return refusal(function, _ILLEGAL_ADDRESS)
        if function == _READ:
            self.looked_at.set()
            return bytes((_READ, 1, self.on)) if value == 1 else refusal(function, _ILLEGAL_VALUE)
        if value not in {_ON, _OFF}:
            return refusal(function, _ILLEGAL_VALUE)
        self.on = self.on if self.stuck else value == _ON
        self.looked_at.clear()
        self.moved.set()
        return request
