"""The search of a serial line against simulated meters, on a clock that jumps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from drivers.modbus.model import meter_models
from drivers.modbus.rtu import Pace, frame_pause
from drivers.modbus.scan import Place, Wire, scan
from drivers.modbus.speeds import Speed
from gateway.ports.field import Device, ScanOrder, ScanProgress, ScanTrouble
from simulators.modbus import RtuBus, Unit, layouts_of_models
from simulators.modbus.rtu import BITS
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drivers.modbus.model import RegisterMap
    from drivers.serial import Parity

LAYOUT = layouts_of_models()["abb-b23"]
MODELS = {name: meter_models()[name] for name in ("abb-b23", "eastron-sdm630")}
OWN = Speed(baud=9600, parity="none", stopbits=1)
BRIEF, LONG = 0.12, 0.3
BAUDS: tuple[int, ...] = (9600, 19200, 38400, 115200)
PARITIES: tuple[Parity, ...] = ("none", "even", "odd")
EVERY = tuple(Speed(baud=baud, parity=parity, stopbits=1) for parity in PARITIES for baud in BAUDS)


def meter(address: int, *, baud: int = 9600, late: float = 0.0) -> Unit:
    """Its answers begin 0.005 s and `late` seconds behind a question."""
    unit = Unit(address=address, layout=LAYOUT, counts={"import": 771234, "export": 3019}, baud=baud)
    if late:
        unit.fault, unit.late = "late", late
    return unit


class Bus(RtuBus):
    """With devices of one parity, and somebody else who talks."""

    def __init__(self, units: Iterable[Unit], parity: Parity = "none", *, echo: bool = False) -> None:
        super().__init__(units)
        self.parity = parity
        self.echo = echo
        self.masters = parity
        self.chatter: tuple[bytes, float] | None = None
        """what somebody else says, and how often a second"""
        self.asked: set[int] = set()

    def answer(self, address: int, request: bytes) -> bytes:
        self.asked.add(address)
        return super().answer(address, request) if self.masters == self.parity else b""


class Direct:
    """A port on that bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._clock = asyncio.get_running_loop().time
        self._chattered = self._clock()

    async def send(self, octets: bytes) -> None:
        self._bus.send(octets, self._clock())

    async def receive(self, seconds: float) -> bytes:
        end = self._clock() + max(seconds, 0)
        while True:
            self._chat(end)
            if octets := self._bus.take(self._clock()):
                return octets
            due = self._bus.due(0.002)
            if due is None or due > end:
                await asyncio.sleep(end - self._clock())
                return self._bus.take(self._clock())
            await asyncio.sleep(due - self._clock() + 1e-9)

    async def close(self) -> None:
        self._bus.drop()

    def _chat(self, end: float) -> None:
        if self._bus.chatter is not None:
            octets, often = self._bus.chatter
            while self._chattered + 1 / often < end:
                self._chattered += 1 / often
                self._bus.talk(octets, max(self._chattered, self._clock()))


@dataclass
class Found:
    devices: list[Device] = field(default_factory=list)
    troubles: list[ScanTrouble] = field(default_factory=list)
    progress: list[ScanProgress] = field(default_factory=list)
    heard_at: list[float] = field(default_factory=list)
    """seconds after which each device was found"""
    seconds: float = 0.0

    @property
    def passes(self) -> list[str]:
        """The speeds in the order in which all units were asked."""
        return [speed for speed, _ in groupby(each.place.partition(" at ")[2] for each in self.progress)]

    @property
    def units(self) -> list[int]:
        return [int(str(each.facts["unit"])) for each in self.devices]


def searched(
    bus: Bus,
    speeds: tuple[Speed, ...] = (OWN,),
    order: ScanOrder | None = None,
    steps: int | None = None,
    models: Mapping[str, RegisterMap] = MODELS,
) -> Found:
    """Ends after so many steps."""

    def opened(speed: Speed) -> Wire:
        baud = speed.baud or 0

        async def connect() -> Direct:
            bus.baud, bus.masters = baud, speed.parity or "none"
            return Direct(bus)

        pace = Pace(octet_s=BITS / baud, pause_s=frame_pause(baud), gap_s=0.05)
        return Wire(connect=connect, pace=pace, brief=BRIEF)

    async def work() -> Found:
        all_, clock = Found(), asyncio.get_running_loop().time
        events = scan(Place(open=opened, wait=LONG, models=models), speeds, order or ScanOrder())
        async for each in events:
            if isinstance(each, Device):
                all_.devices.append(each)
                all_.heard_at.append(clock())
            elif isinstance(each, ScanTrouble):
                all_.troubles.append(each)
            else:
                all_.progress.append(each)
            if len(all_.progress) == steps:
                break
        await events.aclose()
        all_.seconds = clock()
        return all_

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work())
