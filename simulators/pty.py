"""Serial lines with meters on them, each a pseudo-terminal behind a link that looks like an adapter's device file.

Octets take as long as at the line's baud rate. M-Bus as in simulators/mbus; Modbus RTU frames as in Modbus over
Serial Line V1.02, 2.5.1. A pty holds no parity: `Noise` plays what it would catch.
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
from simulators.pace import Pacer

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from pathlib import Path

    from simulators.mbus import Slave
    from simulators.modbus import Unit
    from simulators.relay import Relay

_RTU_REQUEST = 8
"""octets of a request to read registers or coils, or to write one: unit, function, two words, CRC"""
_BITS = 11
_LEAST_PAUSE = 0.002
"""octets that are due within it are sent together: the machine cannot wait for less"""
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


class MBusWire(Wire, Bus):
    """M-Bus slaves behind a level converter at a serial line.

    Once it is plugged in, `baud` is the speed that the master has set on the device.
    """

    def __init__(
        self, link: Path, slaves: Iterable[Slave], *, baud: int = 2400, turnaround: float | None = 0.005
    ) -> None:
        """As `Bus`. A master that sets no speed has `baud`."""
        Wire.__init__(self, link)
        Bus.__init__(self, slaves, baud=baud, turnaround=turnaround)
        self._pacer = Pacer(self, self.put)
        self.changed = self._pacer.look

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
        self._pacer.stop()
        self.drop()


class RtuWire(Wire):
    """Modbus RTU slaves on RS-485."""

    def __init__(self, link: Path, units: Iterable[Unit | Relay], *, baud: int = 9600) -> None:
        super().__init__(link)
        self.baud = baud
        self.units: dict[int, Unit | Relay] = {unit.address: unit for unit in units}
        self.turnaround = 0.005
        """seconds from the end of a request to the beginning of its answer"""
        self.echo = False
        """whether what is sent comes back first, as from simple level converters"""
        self.noise: Noise | None = None
        """in both directions"""
        self.requests = 0
        self._heard = b""
        self._answers: set[asyncio.Task[None]] = set()

    def say(self, octets: bytes, after: float = 0.0) -> None:
        """See `Wire.say`."""
        answer = asyncio.get_running_loop().create_task(self._say(octets, after))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    def fall_silent(self) -> None:
        """See `Wire.fall_silent`."""
        self._heard = b""
        for answer in self._answers:
            answer.cancel()

    def hear(self, octets: bytes) -> None:
        """See `Wire.hear`."""
        under_way = len(octets) * _BITS / self.baud
        if self.echo:
            self.say(octets)
        found, self._heard = self.answers(self._heard + self._noisy(octets))
        self.requests += len(found)
        for answer in found:
            if answer:
                self.say(self._noisy(answer), under_way + self.turnaround)

    def answers(self, heard: bytes) -> tuple[list[bytes], bytes]:
        """The answers to the whole requests in what was heard (b"" for silence), and the rest."""
        found = []
        while len(heard) >= _RTU_REQUEST:
            frame = heard[:_RTU_REQUEST]
            good = with_crc(frame[:-2]) == frame
            if good:
                found.append(self.answer(frame[0], frame[1:-2]))
            heard = heard[_RTU_REQUEST if good else 1 :]
        return found, heard

    def answer(self, address: int, request: bytes) -> bytes:
        """The frame that answers a request PDU."""
        unit = self.units.get(address)
        if unit is None or unit.fault == "silence":
            return b""
        shown = address % 247 + 1 if unit.fault == "wrong_unit" else address
        return with_crc(bytes([shown]) + unit.answer(request))

    def _noisy(self, octets: bytes) -> bytes:
        return octets if self.noise is None else self.noise(octets)

    async def _say(self, octets: bytes, after: float) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time() + after
        sent = 0
        while sent < len(octets):
            await asyncio.sleep(max(start + (sent + 1) * _BITS / self.baud - loop.time(), _LEAST_PAUSE))
            due = min(int((loop.time() - start) * self.baud / _BITS), len(octets))
            if due > sent:
                self.put(octets[sent:due])
            sent = max(sent, due)


def _speed(fd: int) -> int:
    """What the device is set to; 0 for a speed that termios has no name for."""
    return _SPEEDS.get(termios.tcgetattr(fd)[_OUTPUT_SPEED], 0)


def _set_speed(fd: int, baud: int) -> None:
    attributes = termios.tcgetattr(fd)
    attributes[_INPUT_SPEED] = attributes[_OUTPUT_SPEED] = getattr(termios, f"B{baud}")
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def with_crc(octets: bytes) -> bytes:
    """The frame with its CRC: polynomial A001 from FFFF on, low byte first (Modbus over Serial Line, 6.2.2)."""
    crc = 0xFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return octets + crc.to_bytes(2, "little")
