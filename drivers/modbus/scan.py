"""The search of a Modbus line: every unit id, at one baud rate and parity after the other, and what answers there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from drivers.modbus import sunspec
from drivers.modbus.pdu import RefusedError, answered_words, read_request
from drivers.modbus.plan import Request, split
from drivers.modbus.recognise import Verdict, fit, verdict
from drivers.modbus.recognise import sunspec as described
from drivers.modbus.sunspec import SunSpecMeter
from gateway.ports.field import (
    Device,
    FieldError,
    LineDownError,
    NoAnswerError,
    ScanProgress,
    ScanRefusedError,
    ScanTrouble,
    WrongAnswerError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from drivers.modbus.line import Line
    from drivers.modbus.model import RegisterMap
    from drivers.modbus.plan import Limits
    from drivers.modbus.recognise import Fit, Words
    from drivers.serial import Parity
    from gateway.ports.field import Scanned, ScanOrder

Way = Literal["line", "all"]
WAYS: tuple[Way, ...] = ("line", "all")
"""at the line's own baud rate and parity; at every usual one"""
UNITS = range(1, 248)
_DIRECT = 255
"""of a meter with a network socket of its own (Messaging on TCP/IP V1.0b, 4.4.2.6)"""
_NOBODYS = (245, 246, 247)
"""who answers for all of these answers for every unit id"""
_TRIES = 3
_UNREACHED = frozenset({10, 11})
"""exceptions of a gateway: nobody is there"""
_LOSSES = 3
"""a device may hang up when it is asked for another unit; so many in a row, and the line is gone"""
_MARK = Request(function=3, address=0, count=1, spans=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How octets travel on a serial line; None where a socket decides."""

    baud: int | None = None
    parity: Parity | None = None

    @property
    def told(self) -> str:
        """For the installer."""
        return "" if self.baud is None else f" at {self.baud} baud, parity {self.parity}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is searched."""

    open: Callable[[Speed], Line]
    wait: float
    """seconds for an answer"""
    models: Mapping[str, RegisterMap]


@dataclass(slots=True, kw_only=True)
class _Going:
    """How far the search has come."""

    left: list[Speed]
    unit: int = UNITS.start
    """the next one"""
    found: list[tuple[int | None, int]] = field(default_factory=list)
    """baud rate and unit: at another parity it is the same one"""

    def dump(self) -> str:
        left = [(speed.baud, speed.parity) for speed in self.left]
        return json.dumps({"left": left, "unit": self.unit, "found": self.found})


async def scan(place: Place, speeds: tuple[Speed, ...], order: ScanOrder) -> AsyncGenerator[Scanned, None]:
    """See `gateway.ports.field.Scanner`."""
    going = _begun(speeds, order)
    heard = False
    while going.left:
        line = place.open(going.left[0])
        talk = _Talk(line, place.wait, heard=heard)
        try:
            async for scanned in _one_speed(talk, place, going):
                yield scanned
        finally:
            await line.close()
        heard = talk.heard
        going.left, going.unit = going.left[1:], UNITS.start


def _begun(speeds: tuple[Speed, ...], order: ScanOrder) -> _Going:
    if not order.rest:
        return _Going(left=list(speeds))
    try:
        rest = json.loads(order.rest)
        left = [Speed(baud=baud, parity=parity) for baud, parity in rest["left"]]
        return _Going(left=left, unit=int(rest["unit"]), found=[(baud, unit) for baud, unit in rest["found"]])
    except (ValueError, KeyError, TypeError) as error:
        message = "what is kept of the earlier search cannot be read; search from the beginning"
        raise ScanRefusedError(message) from error


async def _one_speed(talk: _Talk, place: Place, going: _Going) -> AsyncGenerator[Scanned, None]:
    speed = going.left[0]
    units = [*UNITS] if speed.baud is not None else [*UNITS, _DIRECT]
    if speed.baud is None and going.unit == UNITS.start and await _answers_for_all(talk):
        units = [UNITS.start]
        text = "one device answers for every unit id: it is asked as unit 1 only"
        yield ScanTrouble(place="the line", text=text)
    for unit in units:
        if unit < going.unit or (speed.baud, unit) in going.found:
            continue
        state = await talk.presence(unit)
        if state == "damaged":
            yield ScanTrouble(place=f"unit {unit}{speed.told}", text=_DAMAGED)
        elif state == "there":
            async for device in _devices(talk, place, unit, speed):
                yield device
            going.found.append((speed.baud, unit))
        going.unit = unit + 1
        percent = 100 * (units.index(unit) + 1) // len(units)
        yield ScanProgress(place=f"unit {unit}{speed.told}", percent=percent, woken=0, rest=going.dump())


async def _answers_for_all(talk: _Talk) -> bool:
    for unit in _NOBODYS:
        if await talk.presence(unit) != "there":
            return False
    return True


_DAMAGED = (
    "something answers, but never whole: several devices have this unit id, or the baud rate or parity is another one;"
    " connect them one by one"
)


async def _devices(talk: _Talk, place: Place, unit: int, speed: Speed) -> AsyncGenerator[Device, None]:
    asker = _Asker(talk, unit)
    meters = await _sunspec_meters(asker)
    for instance, map_ in enumerate(meters, 1):
        serial = await _serial(asker, map_)
        wiring: dict[str, str | int] = {"address": unit, "model": sunspec.NAME}
        if instance > 1:
            wiring["instance"] = instance
        yield _device(asker, speed, described(instance), serial, wiring)
    if meters:
        return
    fits = [each for name, map_ in place.models.items() if (each := await _fitting(asker, name, map_)) is not None]
    judged = verdict(fits)
    known = judged.model
    serial = await _serial(asker, place.models[known]) if known else ""
    yield _device(asker, speed, judged, serial, {"address": unit, **({"model": known} if known else {})})


def _device(asker: _Asker, speed: Speed, judged: Verdict, serial: str, wiring: Mapping[str, str | int]) -> Device:
    facts = {
        "unit": wiring["address"],
        "serial": serial or None,
        "parity": speed.parity,
        "model": judged.model,
        "sure": judged.sure,
        "why": judged.why,
    }
    return Device(wiring=wiring, facts=facts, speed=speed.baud, raw=asker.raw)


async def _sunspec_meters(asker: _Asker) -> list[RegisterMap]:
    """The maps of its meters in order."""
    meters: list[RegisterMap] = []
    while True:
        walk = SunSpecMeter(instance=len(meters) + 1).walk()
        try:
            request = next(walk)
            while True:
                request = walk.send(await asker.words(request))
        except StopIteration as found:
            meters.append(found.value)
        except WrongAnswerError:
            return meters


async def _fitting(asker: _Asker, name: str, map_: RegisterMap) -> Fit | None:
    """The model, if its identity and two reads fit; nothing more is asked once something does not."""
    first: Words = {}
    for request in (*map_.identity_requests, *map_.requests(with_serial=False)):
        if not await asker.gather(request, map_.limits, first):
            return None
    if fit(name, map_, first, first) is None:
        return None
    second: Words = dict(first)
    for request in map_.requests(with_serial=False):
        if not await asker.gather(request, map_.limits, second, anew=True):
            return None
    return fit(name, map_, first, second)


async def _serial(asker: _Asker, map_: RegisterMap) -> str:
    if map_.serial is None:
        return ""
    words: Words = {}
    for request in map_.requests(with_serial=True):
        if not await asker.gather(request, map_.limits, words):
            return ""
    try:
        return map_.serial_in(words)
    except WrongAnswerError:
        return ""


class _Talk:
    """Questions to any unit of an open line."""

    def __init__(self, line: Line, wait: float, *, heard: bool) -> None:
        self._line = line
        self._wait = wait
        self._losses = 0
        self.heard = heard
        """whether anybody has ever answered: until then a line that fails is not there"""

    async def presence(self, unit: int) -> Literal["there", "silent", "damaged"]:
        """Whether somebody answers at this unit id; a refusal is an answer."""
        damaged = 0
        while damaged < _TRIES:
            try:
                _, pdu = await self.ask(unit, _MARK)
            except (NoAnswerError, LineDownError):
                return "damaged" if damaged else "silent"
            except WrongAnswerError:
                damaged += 1
                continue
            refused = len(pdu) == 2 and pdu[0] & 0x80 and pdu[1] in _UNREACHED
            return "silent" if refused else "there"
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


class _GoneError(FieldError):
    """The line itself is not there."""


class _Asker:
    """Questions to one unit; no register is asked for twice, unless anew."""

    def __init__(self, talk: _Talk, unit: int) -> None:
        self._talk = talk
        self._unit = unit
        self._known: dict[tuple[int, int, int], tuple[int, ...] | None] = {}
        self._raw: list[bytes] = []

    @property
    def raw(self) -> bytes:
        """The frames of all that it has answered."""
        return b"".join(self._raw)

    async def words(self, request: Request, *, anew: bool = False) -> tuple[int, ...] | None:
        """The words; None where it does not give them."""
        key = (request.function, request.address, request.count)
        if anew or key not in self._known:
            self._known[key] = await self._asked(request)
        return self._known[key]

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
        for _ in range(_TRIES):
            try:
                raw, pdu = await self._talk.ask(self._unit, request)
                words = answered_words(request, pdu)
            except (RefusedError, NoAnswerError, LineDownError):
                return None
            except WrongAnswerError:
                continue  # damaged, or another exception
            self._raw.append(raw)
            return words
        return None
