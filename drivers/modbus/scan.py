"""The search of a Modbus line: every unit id, at one baud rate and parity after the other, and what answers there.

A serial line is gone through quickly at each of them first. At the first of them, and where anything was heard, whom
nobody has heard is then asked once more, with as much time to answer as the slowest meters need.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drivers.modbus import sunspec
from drivers.modbus.passes import DIRECT, UNITS, Pass, begun
from drivers.modbus.recognise import fit, verdict
from drivers.modbus.recognise import sunspec as described
from drivers.modbus.rtu import RtuLine
from drivers.modbus.sunspec import SunSpecMeter
from drivers.modbus.sweep import QUESTION, Heard, SharedPort, Sweep
from drivers.modbus.talk import Asker, Talk, no_modbus
from gateway.ports.field import Device, ScanProgress, ScanTrouble, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from drivers.modbus.line import Line
    from drivers.modbus.model import RegisterMap
    from drivers.modbus.passes import Going
    from drivers.modbus.recognise import Fit, Verdict
    from drivers.modbus.rtu import Pace
    from drivers.modbus.speeds import Speed
    from drivers.modbus.talk import Words
    from drivers.network import Connect
    from gateway.ports.field import Scanned, ScanOrder

Way = Literal["line", "all"]
WAYS: tuple[Way, ...] = ("line", "all")
"""at the line's own baud rate and parity; at every usual one"""
_NOBODYS = (247, 246, 245, 211, 151, 97)
"""who answers for all of these answers for every unit id"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A line of RTU frames at one speed."""

    connect: Connect
    pace: Pace
    brief: float
    """seconds after which most meters have begun to answer"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is searched."""

    open: Callable[[Speed], Line | Wire]
    wait: float
    """seconds for an answer"""
    models: Mapping[str, RegisterMap]


class _Caller(ABC):
    """Asks on an open line at one speed."""

    talk: Talk

    @abstractmethod
    async def presence(self, unit: int, *, patient: bool) -> Heard:
        """See `Sweep.presence`."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the line."""

    @property
    def heard(self) -> bool:
        """Whether anybody has ever answered."""
        return self.talk.heard

    @property
    def noise(self) -> int:
        """How often octets came that are no answer."""
        return 0


class _TcpCaller(_Caller):
    def __init__(self, line: Line, wait: float, *, heard: bool) -> None:
        self._line = line
        self.talk = Talk(line, wait, heard=heard)

    async def presence(self, unit: int, *, patient: bool) -> Heard:  # noqa: ARG002 - the gateway's time-out decides
        state = await self.talk.presence(unit)
        return Heard(there=(unit,) if state == "there" else (), damaged=state == "damaged")

    async def close(self) -> None:
        await self._line.close()


class _RtuCaller(_Caller):
    def __init__(self, wire: Wire, wait: float, *, heard: bool) -> None:
        port = SharedPort(wire.connect)
        brief = min(wire.brief, wait)
        self._sweep = Sweep(port=port, pace=wire.pace, wait=brief, longest=wait, heard=heard)
        self._line = RtuLine(port.opened, wire.pace)
        self.talk = Talk(self._line, wait, heard=heard)

    async def presence(self, unit: int, *, patient: bool) -> Heard:
        heard = await self._sweep.presence(unit, patient=patient)
        self.talk.heard = self.talk.heard or self._sweep.heard
        return heard

    async def close(self) -> None:
        await self._line.close()
        await self._sweep.port.close()

    @property
    def noise(self) -> int:
        return self._sweep.noise


class _Lines:
    """The lines at the speeds of a search."""

    def __init__(self, place: Place, speeds: Iterable[Speed]) -> None:
        self._wait = place.wait
        self._at = {speed: place.open(speed) for speed in speeds}

    def caller(self, speed: Speed, *, heard: bool) -> _Caller:
        """Who asks there; nothing is opened yet."""
        line = self._at[speed]
        if isinstance(line, Wire):
            return _RtuCaller(line, self._wait, heard=heard)
        return _TcpCaller(line, self._wait, heard=heard)

    def cost(self, each: Pass) -> float:
        """Seconds of a question that nobody answers."""
        line = self._at[each.speed]
        if not isinstance(line, Wire):
            return self._wait
        return line.pace.octets(QUESTION) + (self._wait if each.is_patient else min(line.brief, self._wait))


async def scan(place: Place, speeds: tuple[Speed, ...], order: ScanOrder) -> AsyncGenerator[Scanned, None]:
    """See `gateway.ports.field.Scanner`."""
    is_rtu = isinstance(place.open(speeds[0]), Wire)
    brief = [Pass(speed=speed, is_patient=False) for speed in speeds] if is_rtu else []
    wanted = order.units or (UNITS if is_rtu else (*UNITS, DIRECT))
    going = begun([*brief, Pass(speed=speeds[0], is_patient=True)], wanted, order.rest)
    lines, heard = _Lines(place, [each.speed for each in going.left]), False
    while going.left:
        caller = lines.caller(going.left[0].speed, heard=heard)
        known = len(going.found) + len(going.damaged)
        try:
            async for scanned in _one_pass(caller, place.models, lines, going):
                yield scanned
        finally:
            await caller.close()
        heard = caller.heard
        if not is_rtu and not heard:
            yield ScanTrouble(place="the line", text=no_modbus(caller.talk.foreign))
        going.next_pass(heard=bool(caller.noise) or len(going.found) + len(going.damaged) > known)


async def _one_pass(
    caller: _Caller, models: Mapping[str, RegisterMap], lines: _Lines, going: Going
) -> AsyncGenerator[Scanned, None]:
    now = going.left[0]
    if not going.unit and (text := await _answers_for_all(caller, going)):
        yield ScanTrouble(place=f"the line{now.speed.told}", text=text)
    spent, asked = 0.0, 0
    clock = asyncio.get_running_loop().time
    for unit in going.units():
        began = clock()
        heard = await caller.presence(unit, patient=now.is_patient)
        spent, asked = spent + clock() - began, asked + 1
        async for scanned in _shown(caller, models, going, unit, heard):
            yield scanned
        going.unit = unit + 1
        going.done += lines.cost(now)
        yield _progress(lines, going, unit, spent / asked)
    if caller.noise:
        yield ScanTrouble(place=f"the line{now.speed.told}", text=_NOISE)


async def _shown(
    caller: _Caller, models: Mapping[str, RegisterMap], going: Going, unit: int, heard: Heard
) -> AsyncGenerator[Device | ScanTrouble, None]:
    speed = going.left[0].speed
    if heard.damaged and not going.only:
        going.damaged.append((speed.baud, speed.parity, unit))
        yield ScanTrouble(place=f"unit {unit}{speed.told}", text=_DAMAGED)
    for each in heard.there:
        if (speed.baud, each) not in going.found:
            async for device in _devices(caller.talk, models, each, speed):
                yield device
            going.found.append((speed.baud, each))


def _progress(lines: _Lines, going: Going, unit: int, measured: float) -> ScanProgress:
    """The time left is by what questions have taken in this pass."""
    now, (percent, left) = going.left[0], going.progress(lines.cost)
    return ScanProgress(
        place=f"unit {unit}{now.speed.told}",
        percent=percent,
        woken=0,
        rest=going.dump(),
        seconds_left=left * measured / lines.cost(now),
    )


async def _answers_for_all(caller: _Caller, going: Going) -> str:
    """What is to be told of one device that answers for every unit; "" where there is none."""
    damaged = False
    for unit in _NOBODYS:
        heard = await caller.presence(unit, patient=True)
        if unit not in heard.there and not (heard.damaged and isinstance(caller, _TcpCaller)):
            return ""
        damaged = damaged or heard.damaged
    if damaged:
        going.answers_for_all((0, UNITS[0], DIRECT))
        return "one device answers for every unit id, as another one: it is asked as unit 0, 1 and 255 only"
    only = going.wanted[0]
    going.answers_for_all((only,))
    return f"one device answers for every unit id: it is asked as unit {only} only"


_DAMAGED = (
    "something answers, but never whole: several devices have this unit id, or the baud rate or parity is another one;"
    " connect them one by one"
)
_NOISE = (
    "octets come that are no answer: look for a second master, for devices that talk at another baud rate or parity"
    " (--by all), and for a disturbed line"
)


async def _devices(
    talk: Talk, models: Mapping[str, RegisterMap], unit: int, speed: Speed
) -> AsyncGenerator[Device, None]:
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
    fits = [each for name, map_ in models.items() if (each := await _fitting(asker, name, map_)) is not None]
    judged = verdict(fits)
    known = judged.model
    serial = await _serial(asker, models[known]) if known else ""
    yield _device(asker, speed, judged, serial, {"address": unit, **({"model": known} if known else {})})


def _device(asker: Asker, speed: Speed, judged: Verdict, serial: str, wiring: Mapping[str, str | int]) -> Device:
    facts = {
        "unit": wiring["address"],
        "parity": speed.parity,
        "serial": serial or None,
        "model": judged.model,
        "alike": ", ".join(judged.alike) or None,
        "sure": judged.sure,
        "why": judged.why,
    }
    return Device(wiring=wiring, facts=facts, speed=speed.baud, raw=asker.raw, line=speed.settings)


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
