"""The line under the conversation: octets out, octets in."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.ports.field import LineDownError


class Line(Protocol):
    """An open line. LineDownError from any method once it is lost."""

    async def send(self, octets: bytes) -> None:
        """Put octets on the line."""

    async def receive(self, seconds: float) -> bytes:
        """The octets that have come, at least one; none where `seconds` pass in silence."""

    async def close(self) -> None:
        """Let go of the line."""


class Connect(Protocol):
    """Opens the line; LineDownError with one sentence where it cannot be opened."""

    async def __call__(self) -> Line:
        """Open it."""


class TcpLine:
    """An M-Bus level converter behind a TCP port."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._name = name
        self._reader = reader
        self._writer = writer

    async def send(self, octets: bytes) -> None:
        """Hand the octets to the network."""
        try:
            self._writer.write(octets)
            await self._writer.drain()
        except OSError as error:
            raise self._lost() from error

    async def receive(self, seconds: float) -> bytes:
        """Octets as they come from the network; cancelling loses none."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                octets = await self._reader.read(4096)
        except TimeoutError:
            return b""
        except OSError as error:
            raise self._lost() from error
        if not octets:
            raise self._lost()
        return octets

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:  # it was lost already: closed all the same
            return

    def _lost(self) -> LineDownError:
        return LineDownError(f"{self._name} closed the connection; check the level converter")


def tcp(host: str, port: int, seconds: float) -> Connect:
    """How to connect to a level converter, waiting at most `seconds`."""
    name = f"{host}:{port}"

    async def connect() -> Line:
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(host, port)
        except TimeoutError as error:
            message = f"{name} does not answer within {seconds:g} s; check network and power of the level converter"
            raise LineDownError(message) from error
        except OSError as error:
            message = f"{name} cannot be connected ({error.strerror or error}); check host, port and level converter"
            raise LineDownError(message) from error
        return TcpLine(name, reader, writer)

    return connect
