"""The master's half of the conversation with one meter after the other, over an open line.

M-Bus documentation 4.8, 5.4 to 5.7: time-outs, repeats, frame count bit, multi-telegram answers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drivers.mbus.frame import LONGEST, SHORT_LENGTH, FrameError
from drivers.mbus.link import Receiver, req_ud2, snd_nke
from drivers.mbus.telegram import APPLICATION_BUSY, Telegram, decode
from gateway.ports.field import NoAnswerError, WrongAnswerError

if TYPE_CHECKING:
    from drivers.mbus.link import Timing
    from drivers.mbus.transport import Line

TRIES = 3
"""the request and two repeats"""
MOST_TELEGRAMS = 16
_ACCESS_NO = slice(9, 10)
"""of the user data with the long header: counts on even where a telegram is repeated"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One telegram of an answer as it came."""

    telegram: Telegram
    octets: bytes


class Master:
    """Asks meters on one open line. Not for two conversations at a time; a cancelled one harms no later one."""

    def __init__(self, line: Line, timing: Timing) -> None:
        self._line = line
        self._timing = timing
        self._next_fcb: dict[int, bool] = {}
        """only of meters whose last answer was good and complete: all others get SND_NKE first"""
        self._silent = True
        """nobody can be sending or about to"""
        self._answers_end = 0.0
        """on the event loop's clock: who has not begun to answer until then does not any more"""

    async def read(self, address: int) -> tuple[Taken, ...]:
        """All telegrams of one answer, in their order.

        NoAnswerError, WrongAnswerError, or LineDownError of the line.
        """
        fcb = self._next_fcb.pop(address, None)
        if fcb is None:
            await self._exchange(address, snd_nke(address), "ack")
            fcb = True
        taken: list[Taken] = []
        while not taken or taken[-1].telegram.more_records_follow:
            _refuse_endless(address, taken)
            octets = await self._exchange(address, req_ud2(address, fcb=fcb), "data")
            taken.append(_readable(address, octets))
            fcb = not fcb
        if len(taken) == 1:  # after a multi-telegram answer SND_NKE leads back to the first telegram
            self._next_fcb[address] = fcb
        return tuple(taken)

    async def _exchange(self, address: int, request: bytes, awaited: Literal["ack", "data"]) -> bytes:
        problem = None
        for attempt in range(TRIES):
            await self._quiet()
            self._silent = False
            await self._line.send(request)
            receiver = Receiver(address, awaited)
            octets = await self._listen(receiver)
            if octets is not None:
                self._silent = attempt == 0  # otherwise the answer to the earlier request may still come
                return octets
            problem = receiver.problem or problem
        if problem is None:
            message = f"address {address} stays silent through {TRIES} requests; check address, wiring and power"
            raise NoAnswerError(message)
        message = f"address {address} gives no answer that can be believed: {problem}"
        raise WrongAnswerError(message)

    async def _listen(self, receiver: Receiver) -> bytes | None:
        """The answer, or None once it is too late for one and the line is silent."""
        clock = asyncio.get_running_loop().time
        self._answers_end = deadline = clock() + self._timing.octets(SHORT_LENGTH) + self._timing.answer()
        last = deadline + self._timing.octets(LONGEST) + self._timing.latency
        while clock() < deadline:
            octets = await self._line.receive(deadline - clock())
            if octets:
                found = receiver.feed(octets)
                if found is not None:
                    return found
                deadline = min(max(deadline, clock() + self._timing.silence()), last)
        found = receiver.finish()
        self._silent = receiver.problem is None  # otherwise who sent it may go on
        return found

    async def _quiet(self) -> None:
        """Throw away what came unasked; wait for the end of whatever may still be under way."""
        clock = asyncio.get_running_loop().time
        last = clock() + 2 * (self._timing.answer() + self._timing.octets(LONGEST))
        while await self._line.receive(0 if self._silent else max(self._timing.silence(), self._answers_end - clock())):
            if clock() > last:
                message = "the line never falls silent; look for a second master or a short circuit"
                raise WrongAnswerError(message)
        self._silent = True


def _refuse_endless(address: int, taken: list[Taken]) -> None:
    if len(taken) == MOST_TELEGRAMS:
        message = f"address {address} announces more than {MOST_TELEGRAMS} telegrams; its answer is not used"
        raise WrongAnswerError(message)
    if any(_content(earlier) == _content(taken[-1]) for earlier in taken[:-1]):
        message = f"address {address} repeats a telegram instead of sending the next; its answer is not used"
        raise WrongAnswerError(message)


def _content(taken: Taken) -> bytes:
    content = bytearray(taken.octets[6:-2])
    if taken.telegram.header.id is not None:
        del content[_ACCESS_NO]
    return bytes(content)


def _readable(address: int, octets: bytes) -> Taken:
    try:
        telegram = decode(octets)
    except FrameError as error:
        message = f"address {address} sends a telegram that cannot be read: {error}"
        raise WrongAnswerError(message) from error
    if telegram.kind == "application_error":
        reason = "is busy" if telegram.code == APPLICATION_BUSY else "reports an error of its application"
        message = f"address {address} {reason} (application error {telegram.code}); it is asked again at the next poll"
        raise WrongAnswerError(message)
    if telegram.kind == "alarm":
        message = f"address {address} answers with the alarm {telegram.code}; it is asked again at the next poll"
        raise WrongAnswerError(message)
    return Taken(telegram=telegram, octets=octets)
