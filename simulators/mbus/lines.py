"""Ways from a master to a bus: a TCP port, and none at all for tests that must not wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulators.mbus.bus import Bus
from simulators.pace import GRAIN, Pacer
from simulators.tcp import Port

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulators.mbus.slave import Slave


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


class Line(Bus, Port):
    """A level converter with an Ethernet socket. Whoever calls hears all that comes from the bus."""

    def __init__(self, slaves: Iterable[Slave], *, baud: int = 0, turnaround: float | None = None) -> None:
        """As `Bus`; without `baud` everything is there at once."""
        Bus.__init__(self, slaves, baud=baud, turnaround=turnaround)
        Port.__init__(self)
        self.converter: Converter | None = None
        """None: octets are handed on as they come"""
        self._kept = b""
        self._flushing: asyncio.TimerHandle | None = None
        self._callers: set[asyncio.StreamWriter] = set()
        self._pacer = Pacer(self, self._put)
        self.changed = self._pacer.look

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what the caller sends, as long as he stays."""
        self._callers.add(writer)
        try:
            while data := await reader.read(4096):
                self.send(data, asyncio.get_running_loop().time())
            await self._pacer.idle()
        finally:
            self._callers.discard(writer)

    async def close(self) -> None:
        """Hang up and stop listening."""
        self._pacer.stop()
        if self._flushing is not None:
            self._flushing.cancel()
        await Port.close(self)

    def _put(self, octets: bytes) -> None:
        if self.converter is None:
            self._write(octets)
        else:
            self._kept += octets
            self._flush_in(self.converter.gather, self.converter)

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
                self._hang_up()
        if self._kept:
            self._flush_in(converter.gap, converter)

    def _write(self, octets: bytes) -> None:
        for writer in self._callers:
            writer.write(octets)

    def _hang_up(self) -> None:
        self._kept = b""
        self.drop()
        for writer in self._callers:
            writer.close()


class Direct:
    """A bus at hand: what a driver asks of an open line (send, receive, close), on the event loop's clock.

    Nothing goes through the machine, so on a loop whose time jumps (tests/virtual_time.py) hours of a bus pass in
    seconds.
    """

    def __init__(self, bus: Bus, *, grain: float = GRAIN) -> None:
        """`grain` in seconds: octets that come within it come together."""
        self.bus = bus
        self._heard = bytearray()
        self._came = asyncio.Event()
        self._pacer = Pacer(bus, self._put, grain=grain)
        bus.changed = self._pacer.look

    async def send(self, octets: bytes) -> None:
        """Put octets on the bus; returns at once."""
        self.bus.send(octets, asyncio.get_running_loop().time())

    async def receive(self, seconds: float) -> bytes:
        """What has come, at least one octet; none where `seconds` pass in silence."""
        if not self._heard and seconds > 0:
            self._came.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._came.wait()
            except TimeoutError:
                return b""
        heard = bytes(self._heard)
        self._heard.clear()
        return heard

    async def close(self) -> None:
        """Leave the bus."""
        self._pacer.stop()

    def _put(self, octets: bytes) -> None:
        self._heard += octets
        self._came.set()
