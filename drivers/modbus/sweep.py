"""Who is on a line of RTU frames: one short question after the other. For a search, never for what is billed.

An RTU answer names its unit. A late one, which must never be taken for the next one where values are read, does no
harm here: it tells that the unit asked before is there. So no silence is kept after a question that nobody answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from drivers.modbus.pdu import read_request
from drivers.modbus.rtu_frame import LONGEST, is_whole, rtu_frame
from gateway.ports.field import LineDownError

if TYPE_CHECKING:
    from drivers.modbus.rtu import Pace
    from drivers.network import Connect
    from drivers.network import Line as Port

FUNCTION: Final = 3
UNREACHED = frozenset({10, 11})
"""exceptions of a gateway: nobody is there"""
QUESTION = 8
"""octets of it"""
_WORD, _REFUSAL = 7, 5
"""octets of an answer with one word, of an exception"""
_TRIES = 3
_MUCH = 5
"""so often heard what nobody was asked for, and what comes damaged is not asked for again: it would take hours"""
_LATELY = 3
"""of so many questions before, an answer may come late"""
_LOSSES = 3
"""a converter may hang up at a strange unit; so many in a row, and the line is gone"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a question has shown."""

    there: tuple[int, ...] = ()
    """units that answer; a refusal is an answer"""
    damaged: bool = False
    """somebody answers, but never whole"""


class SharedPort:
    """An open line for the questions of a sweep and for those of an `RtuLine`, by turns."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._port: Port | None = None

    async def opened(self) -> SharedPort:
        """Open it, unless it is; LineDownError."""
        await self._open()
        return self

    async def send(self, octets: bytes) -> None:
        """See `drivers.network.Line`."""
        await (await self._open()).send(octets)

    async def receive(self, seconds: float) -> bytes:
        """See `drivers.network.Line`."""
        return await (await self._open()).receive(seconds)

    async def close(self) -> None:
        """See `drivers.network.Line`; it is opened anew when it is asked for again."""
        port, self._port = self._port, None
        if port is not None:
            await port.close()

    async def _open(self) -> Port:
        if self._port is None:
            self._port = await self._connect()
        return self._port


@dataclass(slots=True, kw_only=True)
class Sweep:
    """Questions to one unit after the other, on an open line at one speed."""

    port: SharedPort
    pace: Pace
    wait: float
    """seconds until an answer begins"""
    longest: float
    """until that of the slowest meters does"""
    heard: bool = False
    """whether anybody has ever answered: until then a line that fails is not there"""
    noise: int = 0
    """how often octets came that are no answer"""
    _losses: int = 0
    _lately: deque[int] = field(default_factory=lambda: deque(maxlen=_LATELY))

    async def presence(self, unit: int, *, patient: bool = False) -> Heard:
        """Who answers a question to this unit. What comes damaged is asked for again; LineDownError."""
        first = await self._asked(unit, self.longest if patient else self.wait)
        if not first.damaged:
            return first
        for _ in range(1, _TRIES if self.noise < _MUCH else 1):
            again = await self._asked(unit, self.longest)
            if not again.damaged:
                self.noise += not again.there
                return again
        if self.noise < _MUCH and not await self._chatters():
            return first
        self.noise += 1
        return Heard()

    async def _chatters(self) -> bool:
        """Whether octets come that nobody was asked for."""
        try:
            return bool(await (await self.port.opened()).receive(_TRIES * self.longest))
        except LineDownError:  # the next question tells
            return False

    async def _asked(self, unit: int, wait: float) -> Heard:
        try:
            octets = await self._question(unit, wait)
        except LineDownError:
            await self.port.close()
            self._losses += 1
            if not self.heard or self._losses == _LOSSES:
                raise
            return Heard()
        finally:
            self._lately.append(unit)
        self._losses = 0
        answers, spoilt = found(octets)
        known = {unit, *self._lately}
        there = tuple(each for each, is_there in dict.fromkeys(answers) if is_there)
        self.heard = self.heard or bool(there)
        strange = len(answers) != len({each for each, _ in answers} & known)
        return Heard(there=() if spoilt or strange else there, damaged=spoilt or strange)

    async def _question(self, unit: int, wait: float) -> bytes:
        """What comes behind it, until silence; its own echo is left out."""
        request = rtu_frame(unit, read_request(FUNCTION, 0, 1))
        port = await self.port.opened()
        await port.send(request)
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.pace.octets(len(request)) + wait
        last = deadline + self.pace.octets(LONGEST) + self.pace.gap_s
        heard, silence = b"", deadline - clock()
        while octets := await port.receive(silence):
            heard = (heard + octets).removeprefix(request)
            if any(each == unit for each, _ in found(heard)[0]):
                silence = self.pace.pause_s
            else:
                silence = min(max(deadline, clock() + self.pace.gap_s if heard else 0.0), last) - clock()
            if clock() > last:
                break
        return heard


def found(octets: bytes) -> tuple[list[tuple[int, bool]], bool]:
    """The units of the whole answers among the octets, and whether what stands behind them may be one spoilt.

    A unit is not there where a gateway answers for it. Noise before an answer is common where a driver is switched on.
    """
    units, at, behind = [], 0, 0
    while at < len(octets):
        size = _answer(octets[at:])
        if size:
            units.append((octets[at], not (size == _REFUSAL and octets[at + 2] in UNREACHED)))
        at += size or 1
        behind = 0 if size else behind + 1
    return units, behind > 0


def _answer(octets: bytes) -> int:
    """How long the answer is that they begin with; 0 for none."""
    for head, size in ((bytes((FUNCTION, 2)), _WORD), (bytes((FUNCTION | 0x80,)), _REFUSAL)):
        if octets[1:].startswith(head) and len(octets) >= size and is_whole(octets[:size]):
            return size
    return 0
