"""Two wires with all slaves on them and a level converter at their end. Pure: it is told the time, in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulators.mbus.current_loop import BITS, Talk, overlay
from simulators.mbus.frames import Listener
from simulators.pace import Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulators.mbus.frames import Frame
    from simulators.mbus.slave import Slave

_KEYS = 256
"""from here on `Bus.slaves` has those whose address was taken already"""


class Bus:
    """A master's octets in, what it receives out.

    An octet that the master hands over goes on the wire when those before it have gone; the slaves hear a frame when
    its last octet is whole, and answer after the turnaround and their own lag. Several that talk at once collide as
    simulators/mbus/current_loop.py tells; master and slaves do not disturb each other (voltage here, current there).
    """

    def __init__(self, slaves: Iterable[Slave], *, baud: int = 2400, turnaround: float | None = None) -> None:
        """`baud` 0: octets take no time. `turnaround` in seconds; None for the least, 11 bits."""
        self.slaves: dict[int, Slave] = {}
        """by the address that they had at first; more of one address from 256 on"""
        for slave in slaves:
            self.slaves[slave.address if slave.address not in self.slaves else _KEYS + len(self.slaves)] = slave
        self.baud = baud
        """the master's speed, and that of every slave that has none of its own"""
        self.turnaround = turnaround
        self.echo = False
        """whether what is sent comes back first, as from simple level converters"""
        self.noise: Callable[[bytes], bytes] | None = None
        """in both directions"""
        self.requests = 0
        """good frames of the master"""
        self.changed: Callable[[], None] = _nobody
        """called whenever something new is under way to the master"""
        self._ears: dict[int, Listener] = {}
        self._sent = 0.0
        self._other_until = 0.0
        self._talks: list[Talk] = []
        self._arrivals = Arrivals()

    @property
    def bit(self) -> float:
        """Seconds that a bit takes."""
        return 1 / self.baud if self.baud else 0.0

    def send(self, octets: bytes, now: float) -> None:
        """The master hands over octets."""
        self._sent = max(self._sent, now)
        listener = self._ears.setdefault(self.baud, Listener())
        lost = self._sent < self._other_until
        if self.echo:
            self.talk(octets, self._sent)
        for octet in octets:
            self._sent += BITS * self.bit
            for heard in b"" if lost else self._noisy(bytes([octet])):
                frame = listener.feed(heard)
                if frame is not None:
                    self.requests += 1
                    self._hear(frame, self._sent)

    def intrude(self, octets: bytes, now: float) -> None:
        """A second master sends. Who begins while the other one sends is heard by nobody; the answers go to both."""
        if now < max(self._sent, self._other_until):
            return
        self._other_until = now + len(octets) * BITS * self.bit
        listener = Listener()
        for i, octet in enumerate(octets):
            frame = listener.feed(octet)
            if frame is not None:
                self._hear(frame, now + (i + 1) * BITS * self.bit)

    def talk(self, octets: bytes, start: float) -> None:
        """Put octets on the wire towards the master."""
        new = Talk(start=start, octets=octets, bit=self.bit)
        if all(talk.end <= start for talk in self._talks):
            self._talks = [new]
            self._arrivals.add(new.arrivals())
        else:
            self._talks.append(new)
            self._arrivals.cut(start)
            self._arrivals.add(arrival for arrival in overlay(self._talks, self.bit) if arrival[0] > start)
        self.changed()

    def due(self, grain: float) -> float | None:
        """See `simulators.pace.Source`."""
        return self._arrivals.due(grain)

    def take(self, now: float) -> bytes:
        """What the master has received until now and not yet taken."""
        return self._noisy(self._arrivals.take(now))

    def drop(self) -> None:
        """Forget all that is under way."""
        self._talks, self._ears, self._sent = [], {}, 0.0
        self._other_until = 0.0
        self._arrivals.clear()

    def _noisy(self, octets: bytes) -> bytes:
        return octets if self.noise is None else self.noise(octets)

    def _hear(self, frame: Frame, at: float) -> None:
        for slave in tuple(self.slaves.values()):
            if slave.baud not in {None, self.baud}:
                continue
            answer = slave.hear(frame)
            if answer:
                turnaround = BITS * self.bit if self.turnaround is None else self.turnaround
                self.talk(answer, at + turnaround + slave.delay)
            slave.answered()


def _nobody() -> None:
    """Nobody wants to know."""
