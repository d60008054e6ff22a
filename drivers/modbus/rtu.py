"""A Modbus line of RTU frames: RS-485 with the gateway as its only master.

It is at a serial device of this machine, or behind a converter that passes octets as they are.

RTU answers carry no number. That a late one is never taken for the next one is a matter of silence: after each
failure the line is left alone until no answer can come any more, and what came is thrown away. Some units answer later
than that: nothing is asked of them meanwhile whose answer would look like the one that they owe.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.modbus.line import Exchange
from drivers.modbus.rtu_frame import LONGEST, WRITES, find, is_whole, rtu_frame, shapes
from gateway.ports.field import FieldError, LineDownError, NoAnswerError, WrongAnswerError

if TYPE_CHECKING:
    from drivers.modbus.rtu_frame import Found, Shape
    from drivers.network import Connect
    from drivers.network import Line as Port

LATE_S = 0.25
"""at least so long after its time-out an answer may still begin; else as long again as the time-out"""
OWING = 8
"""so many times its time-out an answer that did not come may still come, and look like that to another question"""
_FAST_BAUD, _FAST_PAUSE_S = 19200, 0.00175


def frame_pause(baud: int) -> float:
    """t3.5, the silence between two frames (Modbus over Serial Line V1.02, 2.5.1.1): characters have 11 bits."""
    return _FAST_PAUSE_S if baud > _FAST_BAUD else 3.5 * 11 / baud


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How octets travel on the line and on the way to it."""

    octet_s: float
    pause_s: float
    """so long the line is silent between two frames: at least t3.5"""
    gap_s: float
    """a pause within a frame may be so long: octets are handed over in heaps"""

    def octets(self, count: int) -> float:
        """Seconds that `count` octets are under way."""
        return count * self.octet_s


class RtuLine:
    """One line, opened at the first question and again whenever it was lost."""

    numbered = False

    def __init__(self, connect: Connect, pace: Pace) -> None:
        self._connect = connect
        self._pace = pace
        self._port: Port | None = None
        self._answers_end = 0.0
        """on the event loop's clock: whoever has not begun to answer until then does not any more"""
        self._echo = False
        self._late: dict[int, dict[bytes, float]] = {}
        """the questions that a unit has left without their answer, and until when it may come yet"""

    def owed(self, unit: int, pdu: bytes, *, repeats: bool) -> float:
        """See `Line.owed`."""
        if pdu[0] in WRITES:  # a late answer says the same
            return 0.0
        wanted, now = shapes(unit, pdu)[0], asyncio.get_running_loop().time()
        owing = {each: until for each, until in self._late.get(unit, {}).items() if until > now}
        alike = [each for each in owing if shapes(unit, each)[0] == wanted and not (repeats and each == pdu)]
        return max((owing[each] - now for each in alike), default=0.0)

    async def ask(self, unit: int, pdu: bytes, wait: float) -> Exchange:
        """See `Line.ask`."""
        wanted, request = shapes(unit, pdu), rtu_frame(unit, pdu)
        port = await self._quiet(wait)
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._pace.octets(len(request)) + wait
        self._answers_end = deadline + max(wait, LATE_S)  # until the answer is there, whatever happens meanwhile
        late = self._late.setdefault(unit, {})
        is_one_of_two = late.get(pdu, 0.0) > clock()  # the answer may be that to the first: one is still to come
        late[pdu] = deadline + OWING * wait
        try:
            await port.send(request)
            found = await self._answer(port, request, wanted, deadline)
        except LineDownError:
            await self.close()
            raise
        except _DamagedError:
            if not is_one_of_two:
                del late[pdu]
            raise
        self._answers_end = 0.0
        if not is_one_of_two:
            del late[pdu]
        return Exchange(pdu=found.pdu, raw=request + found.frame)

    async def close(self) -> None:
        """See `Line.close`."""
        port, self._port = self._port, None
        if port is not None:
            await port.close()

    async def _quiet(self, wait: float) -> Port:
        """The open line, once nobody sends on it or is about to."""
        if self._port is not None:
            try:
                await self._drain(self._port)
            except LineDownError:  # lost since the last question, and perhaps there again
                await self.close()
            else:
                return self._port
        self._port = await self._connect()
        # An earlier master may have asked just before, a killed gateway for one: its answer is not ours.
        self._answers_end = max(self._answers_end, asyncio.get_running_loop().time() + wait)
        await self._drain(self._port)
        return self._port

    async def _drain(self, port: Port) -> None:
        clock = asyncio.get_running_loop().time
        last = max(clock(), self._answers_end) + 4 * self._pace.octets(LONGEST) + self._pace.gap_s
        silence = self._pace.pause_s if self._answers_end else 0.0  # it has followed the last answer already
        while await port.receive(max(silence, self._answers_end - clock())):
            silence = self._pace.gap_s  # what has begun may go on
            if clock() > last:
                message = "cannot be asked: the line never falls silent; look for a second master or a wrong baud rate"
                raise WrongAnswerError(message)

    async def _answer(self, port: Port, request: bytes, wanted: tuple[Shape, Shape], deadline: float) -> Found:
        clock = asyncio.get_running_loop().time
        last = deadline + self._pace.octets(LONGEST) + self._pace.gap_s
        heard, own = b"", request if self._echo else b""
        while clock() < deadline:
            octets = await port.receive(deadline - clock())
            if octets:
                heard += octets
                silent_until = clock() + self._pace.pause_s  # what the octets are is found out meanwhile
                found = find(heard.removeprefix(own), wanted)
                if found is not None:
                    return await self._ended(port, request, heard, found, silent_until)
                deadline = min(max(deadline, clock() + self._pace.octets(wanted[0].length) + self._pace.gap_s), last)
        raise _problem(heard.removeprefix(request), wanted)

    async def _ended(self, port: Port, request: bytes, heard: bytes, found: Found, silent_until: float) -> Found:
        """The answer, if silence follows: who goes on has answered more than was asked."""
        if found.surplus or await port.receive(silent_until - asyncio.get_running_loop().time()):
            message = "goes on after its answer; look for a second unit with its address, or an adapter with echo"
            raise WrongAnswerError(message)
        if found.frame != request:  # the answer to a write looks like its echo: reads tell whether there is one
            self._echo = heard.startswith(request)
        return found


class _DamagedError(WrongAnswerError):
    """The answer has come, and cannot be read: none is owed."""


def _problem(heard: bytes, wanted: tuple[Shape, Shape]) -> FieldError:
    if not heard:
        return NoAnswerError("gives no answer; check its address, its wiring, its power, baud rate and parity")
    shown = heard[:16].hex() + ("..." if len(heard) > 16 else "")
    if is_whole(heard):
        return WrongAnswerError(f"is asked and unit {heard[0]} answers {shown}, which is not what was asked for")
    begun = any(shape.head[:2] in heard for shape in wanted)  # a glitch at a time-out is no answer
    kind = _DamagedError if begun else WrongAnswerError
    return kind(f"is answered for by {shown}, which is damaged; check wiring, baud rate and parity")
