"""Modbus TCP servers: one port with several units, registers encoded from the building's truth.

Framing as in the Modbus Messaging on TCP/IP Implementation Guide 1.0b, chapter 3: MBAP header (transaction,
protocol 0, length, unit) and PDU. Faults are switched on per unit.
"""

from __future__ import annotations

import struct
import tomllib
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simulators.tcp import Port

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from simulators.relay import Relay

Fault = Literal["silence", "wrong_unit", "exception"]

REGISTERS = Path(__file__).parent / "registers.toml"
_HEADER = struct.Struct(">HHHB")
_QUESTION = struct.Struct(">BHH")
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE, _DEVICE_FAILURE = 1, 2, 3, 4
_MOST_REGISTERS = 125


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Where a counter stands and how its two registers are written."""

    address: int
    coding: Literal["float32", "int32_low_word_first"]
    step: str
    """what one count means, as a decimal of `unit`"""
    unit: str

    def encode(self, counts: int) -> bytes:
        """The two registers as they travel."""
        if self.coding == "float32":
            return struct.pack(">f", counts * Decimal(self.step))
        high, low = divmod(counts % (1 << 32), 1 << 16)
        return struct.pack(">HH", low, high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The counters of a model and the function that reads them."""

    function: int
    counters: dict[str, Counter]


@dataclass(slots=True, kw_only=True)
class Unit:
    """One meter. `counts` are whole steps per register; a register without counts shows 0."""

    address: int
    layout: Layout
    counts: dict[str, int] = field(default_factory=dict)
    fault: Fault | None = None

    def answer(self, request: bytes) -> bytes:
        """The answer PDU to a request PDU; an exception PDU for what this meter does not offer."""
        function = request[0]
        if self.fault == "exception":
            return refusal(function, _DEVICE_FAILURE)
        if function != self.layout.function or len(request) != _QUESTION.size:
            return refusal(function, _ILLEGAL_FUNCTION)
        _, first, count = _QUESTION.unpack(request)
        if not 1 <= count <= _MOST_REGISTERS:
            return refusal(function, _ILLEGAL_VALUE)
        words = self.words()
        if any(address not in words for address in range(first, first + count)):
            return refusal(function, _ILLEGAL_ADDRESS)
        data = b"".join(words[address] for address in range(first, first + count))
        return bytes((function, len(data))) + data

    def words(self) -> dict[int, bytes]:
        """Register address -> its two bytes."""
        words = {}
        for name, counter in self.layout.counters.items():
            data = counter.encode(self.counts.get(name, 0))
            words[counter.address], words[counter.address + 1] = data[:2], data[2:]
        return words


class Line(Port):
    """Several units behind one TCP port, like a gateway to a serial line."""

    def __init__(self, units: Sequence[Unit | Relay]) -> None:
        super().__init__()
        self.units: dict[int, Unit | Relay] = {unit.address: unit for unit in units}

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request, as long as the client stays and speaks Modbus."""
        while True:
            transaction, protocol, length, address = _HEADER.unpack(await reader.readexactly(_HEADER.size))
            if protocol != 0 or length < 2:
                return  # not Modbus: nothing after this can be read
            writer.write(self._answer(transaction, address, await reader.readexactly(length - 1)))
            await writer.drain()

    def _answer(self, transaction: int, address: int, request: bytes) -> bytes:
        unit = self.units.get(address)
        if unit is None or unit.fault == "silence":
            return b""
        pdu = unit.answer(request)
        shown = address % 247 + 1 if unit.fault == "wrong_unit" else address
        return _HEADER.pack(transaction, 0, len(pdu) + 1, shown) + pdu


def refusal(function: int, code: int) -> bytes:
    """An exception PDU."""
    return bytes((function | 0x80, code))


def layouts(path: Path = REGISTERS) -> dict[str, Layout]:
    """Model name -> where its counters stand."""
    with path.open("rb") as file:
        return {model: _layout(entry) for model, entry in tomllib.load(file).items()}


def _layout(entry: dict[str, Any]) -> Layout:
    return Layout(
        function=entry["function"],
        counters={key: Counter(**value) for key, value in entry["registers"].items()},
    )
