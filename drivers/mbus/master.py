"""The master's half of the conversation with one meter after the other, over an open line.

M-Bus documentation 4.8, 5.4 to 5.7: time-outs, repeats, frame count bit, multi-telegram answers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drivers.mbus.frame import ACK, LONGEST, FrameError
from drivers.mbus.link import Receiver, req_ud1, req_ud2, select, snd_nke, snd_ud, split
from drivers.mbus.secondary import SELECTED, Pattern, identity
from drivers.mbus.security import EncryptedError
from drivers.mbus.tally import Tally
from drivers.mbus.telegram import APPLICATION_BUSY, Telegram, decode, header_of
from gateway.ports.field import NoAnswerError, UnreadableAnswerError, WrongAnswerError

if TYPE_CHECKING:
    from drivers.mbus.link import Awaited, Timing
    from drivers.network import Line

Asked = int | Pattern
"""a primary address, or what is selected"""
_Direction = Literal["req_ud", "snd_ud"]
"""a meter counts both apart (M-Bus documentation 4.8, 5.5)"""
_DIRECTIONS: tuple[_Direction, ...] = ("req_ud", "snd_ud")
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
    """Asks meters on one open line. Not for two conversations at a time; a cancelled one harms no later one.

    Who is asked is a primary address, or a pattern: then the meters that fit it are selected first.
    """

    def __init__(self, line: Line, timing: Timing, tallies: dict[Asked, Tally] | None = None) -> None:
        """`tallies`: where to go on counting."""
        self.tallies: dict[Asked, Tally] = {} if tallies is None else tallies
        self._last: Tally | None = None
        """of whom was asked last"""
        self._damaged = False
        """whether what still comes is the rest of an answer that counts as damaged"""
        self._line = line
        self._timing = timing
        self._next_fcb: dict[tuple[int, _Direction], bool] = {}
        """only of meters whose last answer was good and complete: all others get SND_NKE first"""
        self._met: dict[int, str] = {}
        """who answered last at a primary address"""
        self._selected = False
        """a meter may still be: it is deselected by the next selection, or before another meter is spoken to"""
        self._silent = True
        """nobody can be sending or about to"""
        self._answers_end = 0.0
        """on the event loop's clock: who has not begun to answer until then does not any more"""
        self.echo = False
        """whether requests come back, as from simple level converters"""

    async def read(self, asked: Asked, key: bytes | None = None) -> tuple[Taken, ...]:
        """All telegrams of one answer, in their order, decrypted with the meter's key.

        NoAnswerError, WrongAnswerError (UnreadableAnswerError: another key is needed), or LineDownError of the line.
        """
        taken = await self._telegrams(asked, key, fcb=await self._fcb(asked, "req_ud"))
        if isinstance(asked, int):
            self._meet(asked, taken[0])
        if len(taken) > 1:  # SND_NKE leads back to the first telegram
            await self._forget(asked)
        return taken

    async def tell(self, asked: Asked, user_data: bytes) -> None:
        """Send data to a meter, from the CI field on (SND_UD); it has understood them when this returns.

        NoAnswerError, WrongAnswerError, or LineDownError of the line.
        """
        fcb = await self._fcb(asked, "snd_ud")
        await self.exchange(asked, snd_ud(_address(asked), user_data, fcb=fcb), "ack")
        self._keep(asked, "snd_ud", fcb=not fcb)

    async def alarm(self, asked: Asked) -> int | None:
        """The alarm that a meter reports (REQ_UD1); None where it acknowledges only: it has none."""
        octets = await self.exchange(asked, req_ud1(_address(asked), fcb=await self._fcb(asked, "req_ud")), "any")
        if octets == ACK:
            return None
        telegram = _decoded(asked, octets)
        if telegram.kind != "alarm":
            message = f"{told(asked)} answers with other data than its alarm"
            raise WrongAnswerError(message)
        return telegram.code

    async def select(self, pattern: Pattern) -> None:
        """Select the meters that fit; NoAnswerError where none acknowledges, WrongAnswerError for anything else."""
        self._selected = True
        await self.exchange(pattern, select(pattern), "ack")

    async def deselect(self) -> None:
        """Leave no meter selected. Nobody acknowledges where none was."""
        await self.attempt(SELECTED, snd_nke(SELECTED), "ack")
        self._selected = False

    async def exchange(self, asked: Asked, request: bytes, awaited: Awaited) -> bytes:
        """The answer to a request and its two repeats."""
        problem = None
        for attempt in range(TRIES):
            self._tally(asked).repeats += attempt > 0
            octets, found = await self.attempt(asked, request, awaited)
            if octets is not None:
                self._silent = attempt == 0  # otherwise the answer to the earlier request may still come
                return octets
            problem = found or problem
        if problem is None:
            message = f"{told(asked)} stays silent through {TRIES} requests; check address, wiring and power"
            raise NoAnswerError(message)
        message = f"{told(asked)} gives no answer that can be believed: {problem}"
        raise WrongAnswerError(message)

    async def attempt(self, asked: Asked, request: bytes, awaited: Awaited) -> tuple[bytes | None, str | None]:
        """Ask once: the answer, or None with what was wrong with what came; (None, None) for silence."""
        await self._quiet()
        self._last = tally = self._tally(asked)
        tally.requests += 1
        self._silent = False
        await self._line.send(request)
        receiver = Receiver(asked, awaited)
        octets = await self._listen(receiver, len(request))
        self.echo = self.echo or receiver.echo
        self._damaged = octets is None and receiver.problem is not None
        tally.damaged += receiver.problem is not None
        for address in receiver.strangers:
            self._tally(address).unasked += 1
        self._silent = octets is not None or receiver.problem is None  # otherwise who sent it may go on
        return octets, receiver.problem

    async def surplus(self) -> bool:
        """Whether anybody goes on after an answer, or still begins one of his own."""
        octets = await self._line.receive(max(0, self._answers_end - asyncio.get_running_loop().time()))
        self._silent = not octets
        return bool(octets)

    async def _telegrams(self, asked: Asked, key: bytes | None, *, fcb: bool) -> tuple[Taken, ...]:
        taken: list[Taken] = []
        while not taken or taken[-1].telegram.more_records_follow:
            _refuse_endless(asked, taken)
            octets = await self.exchange(asked, req_ud2(_address(asked), fcb=fcb), "data")
            taken.append(_readable(asked, octets, key))
            fcb = not fcb
        self._keep(asked, "req_ud", fcb=fcb)
        return tuple(taken)

    async def _fcb(self, asked: Asked, direction: _Direction) -> bool:
        """The next frame count bit, 1 after SND_NKE or a selection."""
        if not isinstance(asked, int):
            await self.select(asked)
            return True
        if self._selected:
            await self.deselect()
        known = self._next_fcb.pop((asked, direction), None)
        if known is not None:
            return known
        await self.exchange(asked, snd_nke(asked), "ack")
        self._next_fcb.update({(asked, each): True for each in _DIRECTIONS if each != direction})
        return True

    def _meet(self, address: int, taken: Taken) -> None:
        """Forget the frame count bits of a meter that has moved: it has heard others elsewhere.

        With one that it knows it would say once more what it said then, and an old reading would be taken for new.
        """
        found = identity(taken.octets[6:-2])
        if found is None:
            return
        who = str(found)
        moved = {at for at, known in self._met.items() if (at == address) != (known == who)}
        self._met = {at: known for at, known in self._met.items() if at not in moved} | {address: who}
        for at in moved | {address} if moved else ():
            self._next_fcb.pop((at, "req_ud"), None)

    def _keep(self, asked: Asked, direction: _Direction, *, fcb: bool) -> None:
        if isinstance(asked, int):
            self._next_fcb[asked, direction] = fcb

    async def _forget(self, asked: Asked) -> None:
        if isinstance(asked, int):
            self._next_fcb.pop((asked, "req_ud"), None)
        else:
            await self.deselect()

    async def _listen(self, receiver: Receiver, request: int) -> bytes | None:
        """The answer, or None once it is too late for one and the line is silent."""
        clock = asyncio.get_running_loop().time
        self._answers_end = deadline = clock() + self._timing.octets(request) + self._timing.answer()
        last = deadline + self._timing.octets(LONGEST) + self._timing.latency
        overdue = False
        whole = 0.0  # when a frame that has begun must be: until then a pause is an adapter's or this machine's
        while octets := await self._line.receive(max(0, deadline - clock())):
            found = receiver.feed(octets)
            if found is not None:
                return found
            if not whole and receiver.missing:
                whole = clock() + self._timing.octets(receiver.missing)
            deadline = min(max(deadline, clock() + self._timing.silence(), whole + self._timing.silence()), last)
            if overdue:
                break
            overdue = clock() > last  # what has come by now is looked at all the same
        return receiver.finish()

    def _tally(self, asked: Asked) -> Tally:
        return self.tallies.setdefault(asked, Tally())

    async def _quiet(self) -> None:
        """Throw away what came unasked; wait for the end of whatever may still be under way."""
        clock = asyncio.get_running_loop().time
        last = clock() + 2 * (self._timing.answer() + self._timing.octets(LONGEST))
        counted = self._damaged
        while await self._line.receive(0 if self._silent else max(self._timing.silence(), self._answers_end - clock())):
            if not counted and self._last is not None:
                counted, self._last.unasked = True, self._last.unasked + 1
            if clock() > last:
                message = "the line never falls silent; look for a second master or a short circuit"
                raise WrongAnswerError(message)
        self._silent = True


def told(asked: Asked) -> str:
    """Who is asked, in a sentence."""
    return f"address {asked}" if isinstance(asked, int) else f"secondary address {asked}"


def _address(asked: Asked) -> int:
    return asked if isinstance(asked, int) else SELECTED


def _refuse_endless(asked: Asked, taken: list[Taken]) -> None:
    if len(taken) == MOST_TELEGRAMS:
        message = f"{told(asked)} announces more than {MOST_TELEGRAMS} telegrams; its answer is not used"
        raise WrongAnswerError(message)
    if any(_content(earlier) == _content(taken[-1]) for earlier in taken[:-1]):
        message = f"{told(asked)} repeats a telegram instead of sending the next; its answer is not used"
        raise WrongAnswerError(message)


def _content(taken: Taken) -> bytes:
    content = bytearray(taken.octets[6:-2])
    if taken.telegram.header.id is not None:
        del content[_ACCESS_NO]
    return bytes(content)


def kept(asked: Asked, octets: bytes, key: bytes | None) -> tuple[Taken, ...]:
    """The telegrams of an answer as it came; WrongAnswerError."""
    try:
        frames = split(octets)
    except FrameError as error:
        message = f"{told(asked)}: the answer that was kept cannot be read: {error}"
        raise WrongAnswerError(message) from error
    return tuple(_readable(asked, frame, key) for frame in frames)


def _readable(asked: Asked, octets: bytes, key: bytes | None) -> Taken:
    telegram = _decoded(asked, octets, key)
    if telegram.kind == "application_error":
        reason = "is busy" if telegram.code == APPLICATION_BUSY else "reports an error of its application"
        message = f"{told(asked)} {reason} (application error {telegram.code}); it is asked again at the next poll"
        raise WrongAnswerError(message)
    if telegram.kind == "alarm":
        message = f"{told(asked)} answers with the alarm {telegram.code}; it is asked again at the next poll"
        raise WrongAnswerError(message)
    return Taken(telegram=telegram, octets=octets)


def _decoded(asked: Asked, octets: bytes, key: bytes | None = None) -> Telegram:
    try:
        return decode(octets, key)
    except EncryptedError as error:
        header = header_of(octets)
        message = f"{told(asked)}: {error}"
        raise UnreadableAnswerError(message, serial=header.id or "", status=header.status or 0, raw=octets) from error
    except FrameError as error:
        message = f"{told(asked)} sends a telegram that cannot be read: {error}"
        raise WrongAnswerError(message) from error
