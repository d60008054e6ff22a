"""Whatever goes wrong on a line, no reading is ever taken for that of another meter, or for a later one of its own."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from drivers.mbus.bus import MBusBus, Wired
from drivers.mbus.link import Timing, req_ud2, select, snd_nke
from drivers.mbus.master import Master
from drivers.mbus.model import MODELS
from drivers.mbus.secondary import SELECTED, Pattern
from gateway.ports.field import FieldError
from simulators.mbus import Bus, Chance, Direct, Fault, Slave, captured_telegrams
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "itron-cf-55"
HEAT = captured_telegrams()[MODEL]
NUMBERS = ("11127667", "11127668", "11127767", "31127667", "11127665", "40000001")
APART = 100_000
"""counts between two meters: a value says whose it is"""
READS = 150
SHARES: dict[Fault, float] = {
    "late": 0.06,
    "wrong_number": 0.05,
    "wrong_address": 0.05,
    "silence": 0.03,
    "noise": 0.02,
    "noise_within": 0.02,
    "noise_after": 0.02,
    "half_frame": 0.02,
    "lost_octet": 0.02,
    "bit_flip": 0.02,
    "busy": 0.01,
    "more_follows": 0.01,
}
WAYS: dict[str, Callable[[int, str], tuple[int | Pattern, str | None]]] = {
    "primary": lambda at, number: (at, number),
    "secondary": lambda _, number: (Pattern(number=number), None),
    "address alone": lambda at, _: (at, None),
    "fabrication": lambda _, number: (Pattern(fabrication=number), None),
}


@dataclass
class Line:
    """Meters that count at each read and err; perhaps they change addresses, perhaps there is another master."""

    chance: random.Random
    moves: bool = False
    intruder: bool = False
    slaves: dict[str, Slave] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for at, number in enumerate(NUMBERS, 1):
            self.slaves[number] = Slave(
                address=at,
                captured=HEAT,
                serial=number,
                counts={"heat": at * APART},
                lag=self.chance.uniform(0, 0.01),
                late=self.chance.uniform(0.2, 0.9),
                chance=Chance(self.chance.randrange(10**6), SHARES),
            )
        self.bus = Bus(self.slaves.values(), baud=2400)
        self.bus.noise = lambda octets: bytes(octet for octet in octets if self.chance.random() > 0.0005)

    def go_on(self) -> None:
        """Between two reads."""
        for slave in self.slaves.values():
            slave.counts["heat"] += 1
        if not self.moves:
            return
        if self.chance.random() < 0.5:
            for at, number in enumerate(NUMBERS, 1):
                self.slaves[number].address = at
        if self.chance.random() < 0.2:
            one, other = self.chance.sample(list(self.slaves.values()), 2)
            one.address, other.address = other.address, one.address
        if self.chance.random() < 0.2:
            one, other = self.chance.sample(list(self.slaves.values()), 2)
            one.address = other.address

    def disturb(self) -> None:
        """Another master asks for something some time during the next read."""
        loop, number = asyncio.get_running_loop(), self.chance.choice(NUMBERS)
        asked = self.chance.choice(
            [
                *(req_ud2(at, fcb=self.chance.random() < 0.5) for at in (1, 2, SELECTED)),
                *(snd_nke(1), select(Pattern(number=number)), select(Pattern())),
            ]
        )
        delay = self.chance.uniform(0, 1)
        loop.call_later(delay, lambda: self.bus.intrude(asked, loop.time()))


@dataclass
class Told:
    good: int = 0
    failed: int = 0
    foreign: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


async def read_many(line: Line, way: str) -> Told:
    async def connect() -> Direct:
        return Direct(line.bus)

    wired = {}
    for at, number in enumerate(NUMBERS, 1):
        asked, serial = WAYS[way](at, number)
        wired[number] = Wired(asked=asked, model=MODELS[MODEL], serial=serial)
    bus, told = MBusBus(connect, Timing(baud=2400, latency=0.05), wired), Told()
    for _ in range(READS):
        line.go_on()
        number, patience = line.chance.choice(NUMBERS), line.chance.choice([None, None, None, line.chance.random()])
        if line.intruder:
            line.disturb()
        await asyncio.sleep(line.chance.choice([0, 0, 0.3, 60]))
        try:
            async with asyncio.timeout(patience):
                answer = await bus.read(number)
        except (FieldError, TimeoutError):
            told.failed += 1
            continue
        told.good += 1
        (counts,) = [each.index.digits for each in answer.values if each.register == "heat"]
        if counts // APART != NUMBERS.index(number) + 1:
            told.foreign.append(f"{number}: {counts}")
        elif counts != line.slaves[number].counts["heat"]:
            told.stale.append(f"{number}: {counts} instead of {line.slaves[number].counts['heat']}")
    await bus.close()
    return told


def read_on(seed: int, way: str, *, moves: bool = False, intruder: bool = False) -> Told:
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(read_many(Line(random.Random(seed), moves=moves, intruder=intruder), way))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("way", WAYS)
def test_a_reading_is_the_present_one_of_the_meter_that_was_asked(seed: int, way: str) -> None:
    told = read_on(seed, way)

    assert (told.foreign, told.stale) == ([], [])
    assert told.good > READS / 4
    assert told.failed


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("way", "moves", "intruder"),
    [
        *((way, False, True) for way in WAYS),
        *((way, True, intruder) for way in WAYS if way != "address alone" for intruder in (False, True)),
    ],
)
def test_where_addresses_change_or_a_second_master_asks_no_reading_is_of_another_meter(
    seed: int,
    way: str,
    moves: bool,  # noqa: FBT001 - pytest's
    intruder: bool,  # noqa: FBT001 - as above
) -> None:
    """Either may leave a meter with a frame count bit that makes it repeat an answer: an old one, but its own."""
    told = read_on(seed, way, moves=moves, intruder=intruder)

    assert told.foreign == []
    assert told.good > READS / 10


async def swapped_for(line: Line, meanwhile: tuple[int, ...]) -> str:
    """What the first meter tells after it had another address while these were asked."""
    bus = Master(Direct(line.bus), Timing(baud=2400, latency=0.05))
    one, other = (line.slaves[number] for number in NUMBERS[:2])
    for slave in line.slaves.values():
        slave.chance = None
    line.bus.noise = None
    await bus.read(1)
    await bus.read(2)
    one.address, other.address = other.address, one.address
    for address in meanwhile:
        await bus.read(address)
    one.address, other.address = other.address, one.address
    line.go_on()
    (taken,) = await bus.read(1)
    return next(str(each.value) for each in taken.telegram.records if each.meaning.dib_vib == b"\x04\x07")


@pytest.mark.parametrize("meanwhile", [(1,), (2,), (1, 2), (2, 2), (1, 1)])
def test_a_meter_that_comes_back_to_its_address_tells_its_present_count(meanwhile: tuple[int, ...]) -> None:
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        value = runner.run(swapped_for(Line(random.Random(1)), meanwhile))

    assert value == str((APART + 1) * 10_000)
