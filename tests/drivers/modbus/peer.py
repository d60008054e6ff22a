"""A Modbus TCP peer that does what a test tells it. Its framing is its own: it imports nothing of the drivers."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Asked:
    """One request as it came, and the answer that would be right."""

    transaction: int
    unit: int
    function: int
    address: int
    count: int
    right: bytes

    def frame(self, pdu: bytes, *, transaction: int | None = None, unit: int | None = None) -> bytes:
        number = self.transaction if transaction is None else transaction
        return struct.pack(">HHHB", number, 0, len(pdu) + 1, self.unit if unit is None else unit) + pdu

    @property
    def answer(self) -> bytes:
        return self.frame(self.right)


class Last(bytes):
    """What is sent before it hangs up."""

    __slots__ = ()


class Peer:
    """Words by (unit, function, address); a unit without words is silent, a missing word is exception 2."""

    def __init__(self) -> None:
        self.words: dict[tuple[int, int, int], int] = {}
        self.script: list[Callable[[Asked], bytes | None]] = []
        """one reaction for each coming request: bytes to send, or None to close; then it answers rightly"""
        self.asked: list[Asked] = []
        self.connections = 0
        self.most_at_once = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._came = asyncio.Condition()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            await _close(writer)
        await self._server.wait_closed()

    async def send(self, octets: bytes) -> None:
        """Send without having been asked."""
        for writer in self._writers:
            writer.write(octets)
            await writer.drain()

    async def until_asked(self, times: int) -> None:
        async with self._came:
            await self._came.wait_for(lambda: len(self.asked) >= times)

    def put(self, unit: int, function: int, address: int, *words: int) -> None:
        for offset, word in enumerate(words):
            self.words[unit, function, address + offset] = word

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        self.most_at_once = max(self.most_at_once, len(self._writers))
        try:
            while True:
                header = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", header)
                asked = self._understood(transaction, unit, await reader.readexactly(length - 1))
                async with self._came:
                    self.asked.append(asked)
                    self._came.notify_all()
                reaction = self.script.pop(0)(asked) if self.script else self._usual(asked)
                if reaction is None:
                    return
                writer.write(reaction)
                await writer.drain()
                if isinstance(reaction, Last):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has gone
        finally:
            self._writers.discard(writer)
            await _close(writer)

    def _usual(self, asked: Asked) -> bytes:
        return asked.answer if any(unit == asked.unit for unit, _, _ in self.words) else b""

    def _understood(self, transaction: int, unit: int, pdu: bytes) -> Asked:
        function, address, count = struct.unpack(">BHH", pdu)
        places = [(unit, function, address + offset) for offset in range(count)]
        if all(place in self.words for place in places):
            right = struct.pack(f">BB{count}H", function, 2 * count, *(self.words[place] for place in places))
        else:
            right = bytes([function | 0x80, 2])
        return Asked(transaction, unit, function, address, count, right)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        return  # closed by the client before
