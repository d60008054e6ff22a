"""A TCP port that several masters may call, and one that hands on what comes from a bus."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

from simulators.pace import Pacer


class Port(ABC):
    """Listens; each caller gets a conversation of its own, ended with the port."""

    def __init__(self) -> None:
        self.most_callers: int | None = None
        """who calls when so many are there is hung up on at once"""
        self.turned_away = 0
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one caller until he hangs up; EOFError and ConnectionError end it as well."""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; the port that was taken (a free one for 0)."""
        self._server = await asyncio.start_server(self._accept, host, port)
        taken: int = self._server.sockets[0].getsockname()[1]
        return taken

    async def close(self) -> None:
        """Hang up and stop listening."""
        if self._server is not None:
            self._server.close()
        for conversation in tuple(self._conversations):
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.most_callers is not None and len(self._conversations) >= self.most_callers:
            self.turned_away += 1
            writer.close()
            return
        conversation = asyncio.create_task(self._end_with(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _end_with(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, EOFError):
                await self.converse(reader, writer)
        finally:
            writer.close()


@dataclass(kw_only=True)
class Converter:
    """How a converter hands on what comes from the bus. Times in seconds."""

    gather: float = 0.0
    """it sends what has come when so much silence has passed"""
    packet: int = 1460
    """octets that it sends together at most"""
    gap: float = 0.0
    """between two packets"""
    hang_up_after: int | None = None
    """once, when so many octets have been sent: in the middle of whatever it is"""


class ConverterPort(Port):
    """A converter with an Ethernet socket in front of a bus. Whoever calls hears all that comes from the bus."""

    def __init__(self) -> None:
        super().__init__()
        self.converter: Converter | None = None
        """None: octets are handed on as they come"""
        self.pacer = Pacer(self, self.put)
        self._kept = b""
        self._flushing: asyncio.TimerHandle | None = None
        self._callers: set[asyncio.StreamWriter] = set()

    @abstractmethod
    def send(self, octets: bytes, now: float) -> None:
        """A caller hands over octets."""

    @abstractmethod
    def due(self, grain: float) -> float | None:
        """See `simulators.pace.Source`."""

    @abstractmethod
    def take(self, now: float) -> bytes:
        """See `simulators.pace.Source`."""

    @abstractmethod
    def drop(self) -> None:
        """Forget all that is under way."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what the caller sends, as long as he stays."""
        self._callers.add(writer)
        try:
            while data := await reader.read(4096):
                self.send(data, asyncio.get_running_loop().time())
            await self.pacer.idle()
        finally:
            self._callers.discard(writer)

    async def close(self) -> None:
        """Hang up and stop listening."""
        self.pacer.stop()
        if self._flushing is not None:
            self._flushing.cancel()
        await super().close()

    def put(self, octets: bytes) -> None:
        """Hand on what has come from the bus."""
        if self.converter is None:
            self._write(octets)
        else:
            self._kept += octets
            self._flush_in(self.converter.gather, self.converter)

    def hang_up(self) -> None:
        """End all conversations; what is under way is lost."""
        self._kept = b""
        self.drop()
        for writer in self._callers:
            writer.close()

    def _flush_in(self, seconds: float, converter: Converter) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
        self._flushing = asyncio.get_running_loop().call_later(seconds, self._flush, converter)

    def _flush(self, converter: Converter) -> None:
        left = converter.hang_up_after
        size = converter.packet if left is None else min(converter.packet, left)
        packet, self._kept = self._kept[:size], self._kept[size:]
        self._write(packet)
        if left is not None:
            converter.hang_up_after = left - len(packet) or None
            if converter.hang_up_after is None:
                self.hang_up()
        if self._kept:
            self._flush_in(converter.gap, converter)

    def _write(self, octets: bytes) -> None:
        for writer in self._callers:
            writer.write(octets)
