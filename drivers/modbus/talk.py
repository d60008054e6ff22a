"""Questions to whoever may be on a line: what a search and an installer ask, not what is billed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from drivers.modbus.frame import NO_FRAME
from drivers.modbus.pdu import RefusedError, answered_words, read_request
from drivers.modbus.plan import Request, Span, split
from gateway.ports.field import FieldError, LineDownError, NoAnswerError, WrongAnswerError

if TYPE_CHECKING:
    from drivers.modbus.line import Line
    from drivers.modbus.model import RegisterMap
    from drivers.modbus.plan import Limits
    from drivers.modbus.sunspec import SunSpecMeter

Words = dict[Span, tuple[int, ...]]

_TRIES = 3
_SILENCES = 2
"""so many in a row are no lost answer"""
_UNREACHED = frozenset({10, 11})
"""exceptions of a gateway: nobody is there"""
_LOSSES = 3
"""a device may hang up when it is asked for another unit; so many in a row, and the line is gone"""
_MARK = Request(function=3, address=0, count=1, spans=())


class Talk:
    """Questions to any unit of an open line."""

    def __init__(self, line: Line, wait: float, *, heard: bool) -> None:
        self._line = line
        self._wait = wait
        self._losses = 0
        self.heard = heard
        """whether anybody has ever answered: until then a line that fails is not there"""
        self.foreign = ""
        """how the last answer that was no frame of Modbus TCP is told"""

    async def presence(self, unit: int) -> Literal["there", "silent", "damaged"]:
        """Whether somebody answers at this unit id; a refusal is an answer."""
        damaged = 0
        while damaged < _TRIES:
            try:
                _, pdu = await self.ask(unit, _MARK)
            except (NoAnswerError, LineDownError):
                return "damaged" if damaged else "silent"
            except WrongAnswerError as error:
                damaged += 1
                if NO_FRAME in str(error):
                    self.foreign = str(error)
                continue
            refused = len(pdu) == 2 and pdu[0] & 0x80 and pdu[1] in _UNREACHED
            return "silent" if refused else "there"
        if self.foreign and not self.heard:
            raise WrongAnswerError(no_modbus(self.foreign))
        return "damaged"

    async def ask(self, unit: int, request: Request) -> tuple[bytes, bytes]:
        """The frames and the answer PDU; FieldError. LineDownError ends the search only where the line is gone."""
        pdu = read_request(request.function, request.address, request.count)
        try:
            exchange = await self._line.ask(unit, pdu, self._wait)
        except LineDownError as error:
            self._losses += 1
            if not self.heard or self._losses == _LOSSES:
                raise _GoneError(str(error)) from error
            raise
        except NoAnswerError:
            self._losses = 0
            raise
        self.heard, self._losses = True, 0
        return exchange.raw, exchange.pdu


def no_modbus(foreign: str) -> str:
    """What to say of a TCP port where nobody has ever spoken Modbus TCP; `foreign`: what something there does."""
    heard = f"what is there {foreign}; " if foreign else ""
    ask = "is it a converter that passes RTU frames (--framing rtu), or another port?"
    return f"nobody speaks Modbus TCP there: {heard}{ask}"


class _GoneError(FieldError):
    """The line itself is not there."""


class Asker:
    """Questions to one unit; no register is asked for twice, unless anew."""

    def __init__(self, talk: Talk, unit: int) -> None:
        self._talk = talk
        self._unit = unit
        self._known: dict[tuple[int, int, int], tuple[int, ...] | None] = {}
        self._raw: list[bytes] = []
        self._is_taciturn = False
        """whether it stays silent where others refuse: what it says nothing to is not asked again"""

    @property
    def raw(self) -> bytes:
        """The frames of all that it has answered."""
        return b"".join(self._raw)

    async def words(self, request: Request, *, anew: bool = False) -> tuple[int, ...] | None:
        """The words as they were read first, or anew; None where it does not give them."""
        key = (request.function, request.address, request.count)
        if anew:
            return await self._asked(request)
        if key not in self._known:
            self._known[key] = await self._asked(request)
        return self._known[key]

    async def walked(self, meter: SunSpecMeter) -> RegisterMap:
        """Where the registers of a SunSpec meter stand; WrongAnswerError where there is no such meter."""
        walk = meter.walk()
        try:
            request = next(walk)
            while True:
                request = walk.send(await self.words(request))
        except StopIteration as found:
            map_: RegisterMap = found.value
            return map_

    async def gather(self, request: Request, limits: Limits, into: Words, *, anew: bool = False) -> bool:
        """Put the words of the spans with the others, in smaller requests where it refuses; whether all came."""
        words = await self.words(request, anew=anew)
        if words is not None:
            into |= request.parts(words)
            return True
        if len(request.spans) == 1:
            return False
        for part in split(request, limits):
            if not await self.gather(part, limits, into, anew=anew):
                return False
        return True

    async def _asked(self, request: Request) -> tuple[int, ...] | None:
        silences = 0
        for _ in range(_TRIES):
            try:
                raw, pdu = await self._talk.ask(self._unit, request)
                words = answered_words(request, pdu)
            except (RefusedError, LineDownError):
                return None
            except NoAnswerError:
                silences += 1
                if self._is_taciturn or silences == _SILENCES:
                    self._is_taciturn = True
                    return None
                continue
            except WrongAnswerError:
                continue  # damaged, or another exception
            self._raw.append(raw)
            return words
        return None
