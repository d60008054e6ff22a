"""Ways from a master to a bus: a TCP port, and none at all for tests that must not wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from simulators.mbus.bus import Bus
from simulators.pace import GRAIN, Pacer
from simulators.tcp import ConverterPort

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulators.mbus.slave import Slave


class Line(Bus, ConverterPort):
    """A level converter with an Ethernet socket. Whoever calls hears all that comes from the bus."""

    def __init__(self, slaves: Iterable[Slave], *, baud: int = 0, turnaround: float | None = None) -> None:
        """As `Bus`; without `baud` everything is there at once."""
        Bus.__init__(self, slaves, baud=baud, turnaround=turnaround)
        ConverterPort.__init__(self)
        self.changed = self.pacer.look


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
