"""The conversation with the meters of one Modbus line."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drivers.modbus.model import ModbusModel, RegisterMap
from drivers.modbus.pdu import NoFunctionError, RefusedError, answered_words, read_request
from drivers.modbus.plan import Request, Span, split
from drivers.modbus.sunspec import SunSpecMap, SunSpecMeter
from gateway.ports.field import Answer, FieldError, LineDownError, NoAnswerError, OwingError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from drivers.modbus.line import Exchange, Line
    from gateway.ports.clock import Clock

IDENTITY_S = 60.0
"""after so long a meter is asked again who it is; in between its answers carry what it said then"""
LEAST_WAIT_S = 0.1
PATIENCE = 4
"""an answer may take so many times the usual latency before it is asked for again"""
_SMOOTHING = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WiredMeter:
    """One meter as it is wired to the line."""

    id: str
    unit: int
    model: ModbusModel | SunSpecMeter
    """its registers, or the meter to find in a device that tells where they are"""
    serial: str = ""
    """what the meter's serial number register must hold at each read; "" for any number, or none"""
    is_swapped: bool = False
    """its export is import, and the other way: it was connected the other way round"""


def swapped(key: str) -> str:
    """The register that counts the other direction: "import" and "export", "import-t1" and "export-t1"."""
    first, *rest = key.split("-", 1)
    return "-".join([{"import": "export", "export": "import"}.get(first, first), *rest])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identity:
    """Who a meter has said it is, and when."""

    serial: str
    """"" where it gives no number; where the settings name one it is read with the values instead"""
    map: RegisterMap
    since_s: float
    at: datetime


class _Partner:
    """What the bus has learned about one meter."""

    def __init__(self, wired: WiredMeter) -> None:
        self.wired = wired
        self.latency_s: float | None = None
        self.map = RegisterMap()
        self.requests: tuple[Request, ...] = ()
        self.turn = asyncio.Lock()
        self.waits_for_it = True
        """whether its reader waits where it owes an answer"""
        self.identity: _Identity | None = None
        """None before the first read and after each failure: it may have been exchanged"""
        if isinstance(wired.model, RegisterMap):
            self.take(wired.model)

    def take(self, found: RegisterMap) -> None:
        """Where its registers are; what it has refused is remembered as long as they stay there."""
        if found != self.map:
            self.map = found
            self.requests = found.requests(with_serial=bool(self.wired.serial))

    def learn(self, latency_s: float) -> None:
        usual = self.latency_s
        self.latency_s = latency_s if usual is None else usual + (latency_s - usual) / _SMOOTHING

    def waits(self, longest: float, *, numbered: bool) -> tuple[float, ...]:
        """How long to wait for the first answer and for its repeat.

        Together never more than `longest` where answers are numbered. Where they are not, a repeat may begin only
        after the whole time; a meter that was silent the last time gets none.
        """
        if self.latency_s is None:
            return (longest,)
        if not numbered:
            return (longest, longest)
        first = max(LEAST_WAIT_S, PATIENCE * self.latency_s)
        return (first, longest - first) if 2 * first <= longest else (longest,)


class ModbusBus:
    """A line with its meters: one request at a time, each brought to its end even when the reader is cancelled.

    A silent meter costs its neighbours at most `longest_wait` seconds; on a line whose answers carry no number twice
    that, as silence follows, and once twice more when it has just fallen silent. What a meter refuses to be asked in
    one request is asked in smaller ones from then on.
    """

    def __init__(self, line: Line, meters: Mapping[str, WiredMeter], *, longest_wait: float, clock: Clock) -> None:
        self._line = line
        self._partners = {key: _Partner(wired) for key, wired in meters.items()}
        self._longest_wait = longest_wait
        self._clock = clock
        self._turn = asyncio.Lock()
        self._question: asyncio.Task[Exchange] | None = None
        self._closed = False

    async def read(self, meter: str) -> Answer:
        """See `MeterBus.read`. NoAnswerError, WrongAnswerError or LineDownError.

        Who the meter is, by the words and the serial number of its model, is asked first: before the first read, after
        each failure, and after a minute. So values never are those of another meter than the answer's serial says.
        """
        return await self._read_of(self._partners[meter], waits=True)

    async def read_now(self, meter: str) -> Answer:
        """See `Deferrer.read_now`."""
        return await self._read_of(self._partners[meter], waits=False)

    async def _read_of(self, partner: _Partner, *, waits: bool) -> Answer:
        try:
            async with partner.turn:
                partner.waits_for_it = waits
                return await self._read(partner)
        except (LineDownError, OwingError):
            raise
        except FieldError as error:
            message = f"unit {partner.wired.unit} {error}"
            raise type(error)(message) from error

    async def ask(self, unit: int, pdu: bytes) -> bytes:
        """The answer PDU of a unit that is no meter, such as a relay; FieldError otherwise."""
        exchange, _ = await self._exchange(unit, pdu, self._longest_wait, repeats=True)
        return exchange.pdu

    async def close(self) -> None:
        """See `MeterBus.close`. Readers under way fail with LineDownError."""
        self._closed = True
        if self._question is not None and not self._question.done():
            self._question.cancel()
            await asyncio.wait({self._question})
        await self._line.close()

    async def _read(self, partner: _Partner) -> Answer:
        wired, raw = partner.wired, list[bytes]()
        known, partner.identity = partner.identity, None  # until all has come, also where the reader is cancelled
        identity = await self._identity(partner, known, raw)
        words = await self._fetch(partner, raw)
        serial = self._as_named(partner, words) if wired.serial else identity.serial
        values, without = partner.map.given(words)
        if wired.is_swapped:
            values = tuple(replace(value, register=swapped(value.register)) for value in values)
            without = tuple(replace(each, register=swapped(each.register)) for each in without)
        partner.identity = identity
        device = _device(partner, serial)
        return Answer(
            meter=wired.id,
            serial=serial,
            status=0,
            values=values,
            raw=b"".join(raw),
            device=device,
            without=without,
        )

    async def _identity(self, partner: _Partner, known: _Identity | None, raw: list[bytes]) -> _Identity:
        """Who the meter is: as it has said within the last minute, or as it says now."""
        since_s, at = self._clock.monotonic(), self._clock.now()
        if known is not None and max(since_s - known.since_s, (at - known.at).total_seconds()) <= IDENTITY_S:
            return known  # by either clock: a simulation steps the one of the day
        if isinstance(partner.wired.model, SunSpecMeter):
            await self._find(partner, partner.wired.model, raw)
        await self._compare(partner, raw)
        if known is not None and not known.serial and known.map is partner.map:
            serial = ""  # it gives none, or the values bring it: the settings name it
        else:
            serial = await self._serial(partner, raw)
        return _Identity(serial=serial, map=partner.map, since_s=since_s, at=at)

    async def _compare(self, partner: _Partner, raw: list[bytes]) -> None:
        """See that the words which tell its model from others are the model's."""
        words: dict[Span, tuple[int, ...]] = {}
        for request in partner.map.identity_requests:
            try:
                words |= request.parts(await self._words(partner, request, raw))
            except RefusedError as error:
                message = f"{error} at register {request.address}, which tells its model from others; correct the model"
                raise WrongAnswerError(message) from error
        partner.map.check_identity(words)

    async def _serial(self, partner: _Partner, raw: list[bytes]) -> str:
        """The serial number; "" where the settings name one, and where its firmware has none."""
        words: dict[Span, tuple[int, ...]] = {}
        for request in () if partner.wired.serial else partner.map.serial_requests:
            try:
                words |= request.parts(await self._words(partner, request, raw))
            except RefusedError:
                return ""
        try:
            return partner.map.serial_in(words)
        except WrongAnswerError:  # words that are no text
            return ""

    async def _find(self, partner: _Partner, meter: SunSpecMeter, raw: list[bytes]) -> None:
        walk = meter.walk()
        words: tuple[int, ...] | None = None
        try:
            request = next(walk)
            while True:
                try:
                    words = await self._words(partner, request, raw)
                except RefusedError:
                    words = None
                request = walk.send(words)
        except StopIteration as found:
            partner.take(found.value)

    async def _words(self, partner: _Partner, request: Request, raw: list[bytes]) -> tuple[int, ...]:
        exchange = await self._ask(partner, read_request(request.function, request.address, request.count))
        words = answered_words(request, exchange.pdu)
        raw.append(exchange.raw)
        return words

    async def _fetch(self, partner: _Partner, raw: list[bytes]) -> dict[Span, tuple[int, ...]]:
        words: dict[Span, tuple[int, ...]] = {}
        done: list[Request] = []
        open_ = list(partner.requests)
        while open_:
            request = open_.pop(0)
            try:
                words |= request.parts(await self._words(partner, request, raw))
            except RefusedError as error:
                if len(request.spans) == 1 or isinstance(error, NoFunctionError):
                    raise
                open_ = [*split(request, partner.map.limits), *open_]
                partner.requests = (*done, *open_)
            else:
                done.append(request)
        return words

    async def _ask(self, partner: _Partner, pdu: bytes) -> Exchange:
        numbered = self._line.numbered
        *early, last = partner.waits(self._longest_wait, numbered=numbered)
        for wait in early:  # one, or none
            try:
                return await self._timed(partner, pdu, wait, repeats=False)
            except OwingError:
                raise
            except NoAnswerError:
                continue
            except WrongAnswerError:
                if numbered:
                    raise
        try:
            return await self._timed(partner, pdu, last, repeats=bool(early))
        except OwingError:
            raise
        except NoAnswerError:
            partner.latency_s = None  # whatever was usual is no more: the next read waits its full time
            raise

    async def _timed(self, partner: _Partner, pdu: bytes, wait: float, *, repeats: bool) -> Exchange:
        unit = partner.wired.unit
        owed = 0.0 if partner.waits_for_it else self._line.owed(unit, pdu, repeats=repeats)
        if owed > 0:
            message = f"unit {unit} may yet answer an earlier question: it is asked again when that can come no more"
            raise OwingError(message, owed)
        exchange, latency_s = await self._exchange(unit, pdu, wait, repeats=repeats)
        partner.learn(latency_s)
        return exchange

    async def _exchange(self, unit: int, pdu: bytes, wait: float, *, repeats: bool) -> tuple[Exchange, float]:
        await self._acquire(unit, pdu, repeats=repeats)
        if self._closed:
            self._turn.release()
            raise LineDownError(_CLOSED)
        start = self._clock.monotonic()
        self._question = asyncio.create_task(self._line.ask(unit, pdu, wait))
        self._question.add_done_callback(self._ended)
        exchange = await _outcome(self._question)
        return exchange, self._clock.monotonic() - start

    async def _acquire(self, unit: int, pdu: bytes, *, repeats: bool) -> None:
        """The turn, once no late answer can be taken for the one to this question; others are asked meanwhile."""
        await self._turn.acquire()
        while not self._closed and (left := self._line.owed(unit, pdu, repeats=repeats)) > 0:
            self._turn.release()
            await asyncio.sleep(left)
            await self._turn.acquire()

    def _ended(self, question: asyncio.Task[Exchange]) -> None:
        self._turn.release()
        if not question.cancelled():
            question.exception()  # a reader that was cancelled fetches no error

    @staticmethod
    def _as_named(partner: _Partner, words: Mapping[Span, tuple[int, ...]]) -> str:
        """The serial number, where the map has one that of the settings; WrongAnswerError for another."""
        wired, serial = partner.wired, partner.map.serial_in(words)
        if partner.map.serial is not None and serial != wired.serial:
            found = serial or "(no number)"
            message = f"is meter {found}, the settings say {wired.serial}; correct the serial or the address"
            raise WrongAnswerError(message)
        return serial


def _device(partner: _Partner, serial: str) -> str:
    """Maker and serial number, and which meter of a SunSpec device; a TCP meter may answer for every unit id."""
    model, found = partner.wired.model, partner.map
    if not serial:
        return ""
    if isinstance(model, SunSpecMeter):
        make = found.make if isinstance(found, SunSpecMap) else ""
        return f"SunSpec {make} {serial}, instance {model.instance}"
    return f"{model.make} {serial}"


_CLOSED = "the line was closed"


async def _outcome(question: asyncio.Task[Exchange]) -> Exchange:
    """The question's outcome; a reader that is cancelled here leaves the question alone."""
    await asyncio.wait({question})
    if question.cancelled():
        raise LineDownError(_CLOSED)
    return question.result()
