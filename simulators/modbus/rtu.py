"""A serial line with Modbus RTU devices on it (Modbus over Serial Line V1.02, 2.5.1). Pure: it is told the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulators.modbus.device import Devices
from simulators.modbus.faults import spoilt
from simulators.pace import Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulators.modbus.device import Device, Reply

BITS = 11
"""of an octet: start, eight of data, parity or a second stop bit, stop"""
_REQUEST = 8
"""octets of a request to read registers or coils, or to write one: unit, function, two words, CRC"""
_FAST_BAUD, _FAST_PAUSE = 19200, 0.00175
_ROUNDING = 1e-9
_EVER = float("-inf")


def with_crc(octets: bytes) -> bytes:
    """The frame with its CRC: polynomial A001 from FFFF on, low byte first (Modbus over Serial Line, 6.2.2)."""
    crc = 0xFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return octets + crc.to_bytes(2, "little")


def octet_time(baud: int, bits: int = BITS) -> float:
    """Seconds that an octet takes; none for 0."""
    return bits / baud if baud else 0.0


def frame_pause(baud: int, bits: int = BITS) -> float:
    """Seconds of silence that part two frames (2.5.1.1): 3.5 octets, above 19200 Bd 1.75 ms."""
    return _FAST_PAUSE if baud > _FAST_BAUD else 3.5 * octet_time(baud, bits)


class RtuBus(Devices):
    """A master's octets in, what it receives out.

    An octet that the master hands over goes on the wire when those before it have gone. A device knows that a request
    has ended by the silence behind it, and answers after that and the turnaround. It hears a request behind whatever
    noise, and answers one that comes too early as well, as most meters do; `too_early` counts those.
    """

    def __init__(self, units: Iterable[Device], *, baud: int = 9600, turnaround: float = 0.005) -> None:
        """`baud` 0: octets take no time. `turnaround` in seconds."""
        super().__init__(units)
        self.baud = baud
        """the master's speed"""
        self.bits = BITS
        """of an octet: 10 where there is neither parity nor a second stop bit"""
        self.turnaround = turnaround
        self.echo = False
        """whether what is sent comes back first, as from simple level converters"""
        self.noise: Callable[[bytes], bytes] | None = None
        """in both directions"""
        self.too_early = 0
        """requests that began less than the frame pause after what was on the wire before"""
        self.changed: Callable[[], None] = _nobody
        """called whenever something new is under way to the master"""
        self._heard = b""
        self._began = _EVER
        self._sent = _EVER
        self._at = 0.0
        self._reply: Reply | None = None
        """to the request before"""
        self._talks: list[tuple[float, float]] = []
        self._arrivals = Arrivals()

    def send(self, octets: bytes, now: float) -> None:
        """The master hands over octets."""
        self._sent = max(self._sent, now)
        if self.echo:
            self._arrive(octets, self._sent)
        for octet in octets:
            for heard in self._noisy(bytes([octet])):
                if not self._heard:
                    self._began = self._sent
                self._heard += bytes([heard])
            self._sent += octet_time(self.baud, self.bits)
            found, self._heard = _requests(self._heard)
            for frame in found:
                self._hear(frame, self._sent)

    def talk(self, octets: bytes, start: float) -> None:
        """Put octets on the wire towards the master."""
        self._talks.append((start, start + len(octets) * octet_time(self.baud, self.bits)))
        self._arrive(octets, start)

    def due(self, grain: float) -> float | None:
        """See `simulators.pace.Source`."""
        return self._arrivals.due(grain)

    def take(self, now: float) -> bytes:
        """What the master has received until now and not yet taken."""
        return self._noisy(self._arrivals.take(now))

    def drop(self) -> None:
        """Forget all that is under way."""
        self._heard, self._sent, self._talks = b"", _EVER, []
        self._arrivals.clear()

    def answers(self, heard: bytes) -> tuple[list[bytes], bytes]:
        """The answers to the whole requests in what was heard (b"" for silence), and the rest."""
        found, rest = _requests(heard)
        return [self.answer(frame[0], frame[1:-2]) for frame in found], rest

    def answer(self, address: int, request: bytes) -> bytes:
        """The frame that answers a request PDU."""
        self._reply = None
        unit = self.units.get(address)
        if unit is not None and unit.baud not in {None, self.baud}:
            return b""
        reply = self._reply = self.reply(address, request, self._at)
        if reply is None:
            return b""
        return spoilt(with_crc(bytes([reply.address]) + reply.pdu), reply.fault)

    def _hear(self, frame: bytes, at: float) -> None:
        pause = frame_pause(self.baud, self.bits)
        before = [end for start, end in self._talks if start <= self._began]
        if any(self._began - end < pause - _ROUNDING for end in before):
            self.too_early += 1
        self._talks = [(start, end) for start, end in self._talks if end > at]
        self._talks.append((self._began, at))
        self._at = at + pause
        answer = self.answer(frame[0], frame[1:-2])
        if answer:
            delay = 0.0 if self._reply is None else self._reply.delay
            self.talk(answer, self._at + self.turnaround + delay)

    def _arrive(self, octets: bytes, start: float) -> None:
        whole = octet_time(self.baud, self.bits)
        self._arrivals.add((start + (n + 1) * whole, octet) for n, octet in enumerate(octets))
        self.changed()

    def _noisy(self, octets: bytes) -> bytes:
        return octets if self.noise is None else self.noise(octets)


def _requests(heard: bytes) -> tuple[list[bytes], bytes]:
    """The whole requests, whatever stands between them, and what may be the beginning of one."""
    found = []
    while len(heard) >= _REQUEST:
        frame = heard[:_REQUEST]
        good = with_crc(frame[:-2]) == frame
        if good:
            found.append(frame)
        heard = heard[_REQUEST if good else 1 :]
    return found, heard


def _nobody() -> None:
    """Nobody wants to know."""
