"""The search of a Modbus line: every unit id, at one baud rate and parity after the other, and what answers there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from drivers.modbus import sunspec
from drivers.modbus.recognise import Verdict, fit, verdict
from drivers.modbus.recognise import sunspec as described
from drivers.modbus.sunspec import SunSpecMeter
from drivers.modbus.talk import Asker, Talk
from gateway.ports.field import Device, ScanProgress, ScanRefusedError, ScanTrouble, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from drivers.modbus.line import Line
    from drivers.modbus.model import RegisterMap
    from drivers.modbus.recognise import Fit
    from drivers.modbus.talk import Words
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
        talk = Talk(line, place.wait, heard=heard)
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


async def _one_speed(talk: Talk, place: Place, going: _Going) -> AsyncGenerator[Scanned, None]:
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


async def _answers_for_all(talk: Talk) -> bool:
    for unit in _NOBODYS:
        if await talk.presence(unit) != "there":
            return False
    return True


_DAMAGED = (
    "something answers, but never whole: several devices have this unit id, or the baud rate or parity is another one;"
    " connect them one by one"
)


async def _devices(talk: Talk, place: Place, unit: int, speed: Speed) -> AsyncGenerator[Device, None]:
    asker = Asker(talk, unit)
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


def _device(asker: Asker, speed: Speed, judged: Verdict, serial: str, wiring: Mapping[str, str | int]) -> Device:
    facts = {
        "unit": wiring["address"],
        "serial": serial or None,
        "parity": speed.parity,
        "model": judged.model,
        "sure": judged.sure,
        "why": judged.why,
    }
    return Device(wiring=wiring, facts=facts, speed=speed.baud, raw=asker.raw)


async def _sunspec_meters(asker: Asker) -> list[RegisterMap]:
    """The maps of its meters in order."""
    meters: list[RegisterMap] = []
    while True:
        try:
            meters.append(await asker.walked(SunSpecMeter(instance=len(meters) + 1)))
        except WrongAnswerError:
            return meters


async def _fitting(asker: Asker, name: str, map_: RegisterMap) -> Fit | None:
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


async def _serial(asker: Asker, map_: RegisterMap) -> str:
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
