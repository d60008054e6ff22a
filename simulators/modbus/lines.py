"""TCP ports with Modbus devices behind them: Modbus TCP, and RTU frames as a plain converter hands them on.

Modbus TCP as in the Messaging on TCP/IP Implementation Guide 1.0b, chapter 3: MBAP header (transaction, protocol 0,
length, unit) and PDU.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

from simulators.modbus.device import Devices
from simulators.modbus.faults import spoilt
from simulators.modbus.rtu import BITS, RtuBus, frame_pause, octet_time
from simulators.tcp import ConverterPort, Port

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulators.modbus.device import Device, Reply

_HEADER = struct.Struct(">HHHB")
_AROUND_PDU = 3
"""octets of an RTU frame: unit and CRC"""


class Line(Devices, Port):
    """Several units behind one port: like a meter with Ethernet, or with `baud` a gateway to a serial line.

    The gateway asks one device after the other, for whomever; every answer goes to who asked.
    """

    def __init__(self, units: Iterable[Device], *, baud: int = 0, turnaround: float = 0.0) -> None:
        """As `RtuBus`; without `baud` and `turnaround` answers come at once."""
        Devices.__init__(self, units)
        Port.__init__(self)
        self.baud = baud
        self.bits = BITS
        self.turnaround = turnaround
        self._free = 0.0
        self._transactions: dict[int, int] = {}
        """of the request before, by unit"""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request, as long as the client stays and speaks Modbus."""
        while True:
            transaction, protocol, length, address = _HEADER.unpack(await reader.readexactly(_HEADER.size))
            if protocol != 0 or length < 2:
                return  # not Modbus: nothing after this can be read
            request = await reader.readexactly(length - 1)
            self._serve(transaction, address, request, writer)
            await writer.drain()

    def _serve(self, transaction: int, address: int, request: bytes, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        pause = frame_pause(self.baud, self.bits)
        heard = max(loop.time(), self._free) + self._travels(request) + pause
        reply = self.reply(address, request, heard)
        before = self._transactions.get(address, transaction)
        self._transactions[address], self._free = transaction, heard
        if reply is None:
            return
        said = heard + self.turnaround + self._travels(reply.pdu)
        self._free = said + pause
        shown = before if reply.fault == "other_request" else transaction
        if said + reply.delay > loop.time():
            loop.call_at(said + reply.delay, _write, writer, shown, reply)
        else:
            _write(writer, shown, reply)

    def _travels(self, pdu: bytes) -> float:
        return (len(pdu) + _AROUND_PDU) * octet_time(self.baud, self.bits)


class RtuLine(RtuBus, ConverterPort):
    """A serial line behind a converter with an Ethernet socket, which hands octets on as they are."""

    def __init__(self, units: Iterable[Device], *, baud: int = 0, turnaround: float = 0.0) -> None:
        """As `RtuBus`; without `baud` and `turnaround` everything is there at once."""
        RtuBus.__init__(self, units, baud=baud, turnaround=turnaround)
        ConverterPort.__init__(self)
        self.changed = self.pacer.look

    def put(self, octets: bytes) -> None:
        """See `ConverterPort.put`."""
        ConverterPort.put(self, octets)
        if self._reply is not None and self._reply.fault == "close" and self.due(0.0) is None:
            self.hang_up()


def _write(writer: asyncio.StreamWriter, transaction: int, reply: Reply) -> None:
    if writer.is_closing():
        return
    frame = _HEADER.pack(transaction, 0, len(reply.pdu) + 1, reply.address) + reply.pdu
    writer.write(spoilt(frame, reply.fault))
    if reply.fault == "close":
        writer.close()
