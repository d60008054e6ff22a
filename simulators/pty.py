"""Serial lines with meters on them, each a pseudo-terminal behind a link that looks like an adapter's device file.

Octets take as long as at the line's baud rate. M-Bus as in simulators/mbus, Modbus RTU as in simulators/modbus. A pty
holds no parity: `Noise` plays what it would catch.
"""

from __future__ import annotations

import asyncio
import os
import pty
import termios
import tty
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulators.mbus import Bus
from simulators.modbus import RtuBus, with_crc
from simulators.pace import Pacer

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from pathlib import Path

    from simulators.mbus import Slave
    from simulators.modbus import Device

__all__ = ["MBusWire", "Noise", "PacedWire", "RtuWire", "Wire", "with_crc"]

_INPUT_SPEED, _OUTPUT_SPEED = 4, 5
"""places in what termios.tcgetattr gives"""
_SPEEDS: dict[int, int] = {
    getattr(termios, f"B{baud}"): baud for baud in (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}


@dataclass(kw_only=True)
class Noise:
    """Spoils octets: one bit flips, the octet is lost, or a random one comes before it."""

    chance: random.Random
    rate: float
    """part of the octets that is spoilt"""
    parity: bool
    """a flipped bit is caught: the octet is lost"""
    hits: int = field(default=0, init=False)

    def __call__(self, octets: bytes) -> bytes:
        """What arrives of the octets."""
        return b"".join(self._octet(octet) for octet in octets)

    def _octet(self, octet: int) -> bytes:
        if self.chance.random() >= self.rate:
            return bytes([octet])
        self.hits += 1
        match self.chance.randrange(3):
            case 0:
                return b"" if self.parity else bytes([octet ^ 1 << self.chance.randrange(8)])
            case 1:
                return b""
            case _:
                return bytes([self.chance.randrange(256), octet])


class Wire(ABC):
    """One serial line. Nothing is there before `plug`."""

    def __init__(self, link: Path) -> None:
        """`link` will point to the pseudo-terminal."""
        self.link = link
        self._ends: tuple[int, int] | None = None

    @abstractmethod
    def hear(self, octets: bytes) -> None:
        """Take what the master has written."""

    @abstractmethod
    def say(self, octets: bytes, after: float = 0.0) -> None:
        """Put octets on the line, as fast as they travel, in so many seconds."""

    @abstractmethod
    def fall_silent(self) -> None:
        """Forget what is still under way."""

    def plug(self) -> None:
        """Make the device appear."""
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        self._ends = (ours, theirs)
        asyncio.get_running_loop().add_reader(ours, self._read)
        self.link.symlink_to(os.ttyname(theirs))

    def unplug(self) -> None:
        """Make it vanish, in the middle of whatever it does."""
        if self._ends is None:
            return
        asyncio.get_running_loop().remove_reader(self._ends[0])
        self.fall_silent()
        for end in self._ends:
            os.close(end)
        self._ends = None
        self.link.unlink()

    def put(self, octets: bytes) -> None:
        """Let the master have octets now."""
        if self._ends is not None:
            with suppress(BlockingIOError):  # nobody reads: the octets are lost, as on a wire
                os.write(self._ends[0], octets)

    def _read(self) -> None:
        if self._ends is not None:
            self.hear(os.read(self._ends[0], 4096))


class PacedWire(Wire):
    """A wire with a bus on it that knows when its octets arrive.

    Once it is plugged in, `baud` is the speed that the master has set on the device.
    """

    baud: int

    def __init__(self, link: Path) -> None:
        """See `Wire`."""
        super().__init__(link)
        self.pacer = Pacer(self, self.put)

    @abstractmethod
    def send(self, octets: bytes, now: float) -> None:
        """The master hands over octets."""

    @abstractmethod
    def talk(self, octets: bytes, start: float) -> None:
        """Put octets on the wire towards the master."""

    @abstractmethod
    def due(self, grain: float) -> float | None:
        """See `simulators.pace.Source`."""

    @abstractmethod
    def take(self, now: float) -> bytes:
        """See `simulators.pace.Source`."""

    @abstractmethod
    def drop(self) -> None:
        """Forget all that is under way."""

    def plug(self) -> None:
        """See `Wire.plug`."""
        super().plug()
        if self._ends is not None:
            _set_speed(self._ends[1], self.baud)

    def hear(self, octets: bytes) -> None:
        """See `Wire.hear`."""
        if self._ends is not None:
            self.baud = _speed(self._ends[0])
        self.send(octets, asyncio.get_running_loop().time())

    def say(self, octets: bytes, after: float = 0.0) -> None:
        """See `Wire.say`."""
        self.talk(octets, asyncio.get_running_loop().time() + after)

    def fall_silent(self) -> None:
        """See `Wire.fall_silent`."""
        self.pacer.stop()
        self.drop()


class MBusWire(Bus, PacedWire):
    """M-Bus slaves behind a level converter at a serial line."""

    def __init__(
        self, link: Path, slaves: Iterable[Slave], *, baud: int = 2400, turnaround: float | None = 0.005
    ) -> None:
        """As `Bus`. A master that sets no speed has `baud`."""
        PacedWire.__init__(self, link)
        Bus.__init__(self, slaves, baud=baud, turnaround=turnaround)
        self.changed = self.pacer.look


class RtuWire(RtuBus, PacedWire):
    """Modbus RTU devices on RS-485."""

    def __init__(self, link: Path, units: Iterable[Device], *, baud: int = 9600, turnaround: float = 0.005) -> None:
        """As `RtuBus`. A master that sets no speed has `baud`."""
        PacedWire.__init__(self, link)
        RtuBus.__init__(self, units, baud=baud, turnaround=turnaround)
        self.changed = self.pacer.look


def _speed(fd: int) -> int:
    """What the device is set to; 0 for a speed that termios has no name for."""
    return _SPEEDS.get(termios.tcgetattr(fd)[_OUTPUT_SPEED], 0)


def _set_speed(fd: int, baud: int) -> None:
    attributes = termios.tcgetattr(fd)
    attributes[_INPUT_SPEED] = attributes[_OUTPUT_SPEED] = getattr(termios, f"B{baud}")
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
