"""A Modbus line over TCP."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING, cast

from drivers.modbus.frame import FrameError, frame_bytes, take_frame
from drivers.modbus.line import Exchange
from gateway.ports.field import FieldError, LineDownError, NoAnswerError, WrongAnswerError

if TYPE_CHECKING:
    from drivers.modbus.frame import Frame

CONNECT_S = 3.0
SILENCES = 3
"""so many questions in a row without a single frame, and the connection is made anew: it may be dead itself"""
_LATE = 64
"""so many questions without an answer are remembered, to tell a late answer from a strange one"""


class TcpLine:
    """One TCP connection to a gateway or meter, opened at the first question and again whenever it is lost."""

    numbered = True

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._socket: _Socket | None = None
        self._transaction = 0
        self._silences = 0

    def owed(self, unit: int, pdu: bytes, *, repeats: bool) -> float:  # noqa: ARG002 - the line's
        """See `Line.owed`: no answer is taken for another one."""
        return 0.0

    async def ask(self, unit: int, pdu: bytes, wait: float) -> Exchange:
        """See `Line.ask`. Late answers are known by their transaction number."""
        socket = await self._connected()
        self._transaction = self._transaction % 0xFFFF + 1
        request = frame_bytes(self._transaction, unit, pdu)
        answer = socket.ask(self._transaction, request)
        try:
            async with asyncio.timeout(wait):
                frame = await answer
        except TimeoutError:
            raise self._silent(socket) from None
        self._silences = 0
        if frame.unit != unit:
            message = f"is answered for by unit {frame.unit}"
            raise WrongAnswerError(message)
        return Exchange(pdu=frame.pdu, raw=request + frame.raw)

    async def close(self) -> None:
        """See `Line.close`."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.drop(LineDownError(f"{self._host}:{self._port}: closed"))
            await socket.closed()

    async def _connected(self) -> _Socket:
        if self._socket is not None and self._socket.lost is None:
            return self._socket
        place = f"{self._host}:{self._port}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, self._socket = await loop.create_connection(lambda: _Socket(place), self._host, self._port)
        except TimeoutError:
            message = f"{place}: no connection within {CONNECT_S:g} s; check the address, the cable and the power"
            raise LineDownError(message) from None
        except (OSError, UnicodeError) as error:  # UnicodeError: the address can be no host name
            message = f"{place}: no connection ({_reason(error)}); check the address, the cable and the power"
            raise LineDownError(message) from None
        self._silences = 0
        return self._socket

    def _silent(self, socket: _Socket) -> FieldError:
        """What a time-out means, and whether the connection can still be trusted after it."""
        self._silences = 0 if socket.heard else self._silences + 1
        half = socket.half
        if half or self._silences >= SILENCES:
            socket.drop(LineDownError(f"{self._host}:{self._port}: given up after a time-out"))
        if half:
            return WrongAnswerError(f"breaks off after {half} bytes of its answer")
        if socket.strange is not None:
            return WrongAnswerError(f"answers with transaction number {socket.strange}, which nobody asked")
        return NoAnswerError("gives no answer; check its address, its wiring and its power")


def _reason(error: OSError | UnicodeError) -> str:
    """The system's own words; asyncio puts the address in their place, which the sentence has already."""
    if isinstance(error, ConnectionError | PermissionError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


class _Socket(asyncio.Protocol):
    """Cuts the stream into frames and gives the one that is waited for; all others are late and dropped."""

    def __init__(self, place: str) -> None:
        self.lost: FieldError | None = None
        """why nothing more comes from here"""
        self.heard = False
        """whether any frame came since the last question"""
        self.strange: int | None = None
        """transaction number of a frame since the last question that answers no question at all"""
        self._place = place
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._question: tuple[int, asyncio.Future[Frame]] | None = None
        self._given_up: deque[int] = deque(maxlen=_LATE)
        self._closed = asyncio.get_running_loop().create_future()

    @property
    def half(self) -> int:
        """How many bytes of an incomplete frame have come."""
        return len(self._buffer)

    def ask(self, transaction: int, request: bytes) -> asyncio.Future[Frame]:
        """Send the request; the future gets its answer, or fails at once when the connection goes."""
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        if self._question is not None:
            self._given_up.append(self._question[0])
        self._question = (transaction, answer)
        self.heard, self.strange = False, None
        if self._transport is not None:
            self._transport.write(request)
        return answer

    def drop(self, why: FieldError) -> None:
        """Close; whoever waits fails with `why`."""
        self.lost = self.lost or why
        if self._question is not None and not self._question[1].done():
            self._question[1].set_exception(self.lost)
        self._question = None
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        """Return once the connection is gone."""
        await self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection stands."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes have come."""
        self._buffer += data
        frames: list[Frame] = []
        try:
            while (frame := take_frame(self._buffer)) is not None:
                frames.append(frame)
        except FrameError as error:  # what stands before it is not believed either: octets may have slipped in
            self.drop(WrongAnswerError(f"answers with {error}"))
            return
        if self._buffer and self._question is not None and self._question[0] in {one.transaction for one in frames}:
            self.drop(WrongAnswerError(f"answers with {self.half} bytes more than its frame"))
            return
        for frame in frames:
            self._deliver(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the peer or the network has ended the connection."""
        reason = f" ({exc})" if exc else ""
        self.drop(LineDownError(f"{self._place}: the connection was lost{reason}"))
        self._closed.set_result(None)

    def _deliver(self, frame: Frame) -> None:
        self.heard = True
        if self._question is not None and frame.transaction == self._question[0]:
            answer, self._question = self._question[1], None
            if not answer.done():  # done: the question was given up, its answer is late
                answer.set_result(frame)
        elif frame.transaction not in self._given_up:
            self.strange = frame.transaction
