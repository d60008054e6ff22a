"""On a line with every fault that a checksum shows, a read gives the present value of the meter asked, or an error."""

from __future__ import annotations

import asyncio
import random

import pytest

from drivers.mbus.link import Timing
from drivers.mbus.master import Master
from gateway.ports.field import FieldError
from tests.drivers.mbus.slave import long_frame
from tests.virtual_time import VirtualTime

TIMING = Timing(baud=2400, latency=0.25)
"""the latency covers a converter that hands over a whole telegram at once"""
SLOWEST = 330 / 2400 + 0.05
READS = 400
ACCESS, VALUE = 9, 15
HEADER = bytes.fromhex("72785634122440010755000000")


class Meter:
    """Counts milliseconds; answers a repeated frame count bit with the telegram before, as slaves do."""

    def __init__(self, address: int) -> None:
        self.address = address
        self._fcb: int | None = None
        self._telegram = b""

    def answer(self, control: int, now: float) -> bytes:
        if control == 0x40:
            self._fcb = None
            return b"\xe5"
        if control & 0x20 != self._fcb:
            self._fcb = control & 0x20
            data = b"\x04\x13" + int(now * 1000).to_bytes(4, "little")
            self._telegram = long_frame(HEADER + data, address=self.address)
        return self._telegram


class FaultyLine:
    """Two meters; each transmission suffers a random fault, each answer begins at a random permitted moment."""

    def __init__(self, chance: random.Random, faults: float) -> None:
        self._chance = chance
        self._faults = faults
        self._meters = {address: Meter(address) for address in (1, 2)}
        self._arrived = b""
        self._arrival = asyncio.Event()

    async def send(self, octets: bytes) -> None:
        if self._chance.random() < self._faults / 4:  # the request is lost
            return
        loop = asyncio.get_running_loop()
        answer = self._meters[octets[2]].answer(octets[1], loop.time())
        at = self._chance.uniform(11 / 2400, SLOWEST)
        for piece in self._pieces(self._spoiled(answer, octets)):
            at += len(piece) * 11 / 2400
            loop.call_later(at, self._arrive, piece)

    def _spoiled(self, answer: bytes, request: bytes) -> bytes:
        if self._chance.random() >= self._faults:
            return answer
        spoiled = bytearray(answer)
        at = self._chance.randrange(len(answer))
        match self._chance.randrange(6):
            case 0:
                return b""
            case 1:
                spoiled[at] ^= self._chance.randint(1, 255)
            case 2:
                del spoiled[at]
            case 3:
                spoiled = spoiled[:at]
            case 4:
                spoiled[:0] = self._chance.randbytes(self._chance.randint(1, 20))
            case _:
                spoiled[:0] = request
        return bytes(spoiled)

    def _pieces(self, octets: bytes) -> list[bytes]:
        cut = self._chance.randrange(len(octets) + 1)
        return [piece for piece in (octets[:cut], octets[cut:]) if piece]

    def _arrive(self, octets: bytes) -> None:
        self._arrived += octets
        self._arrival.set()

    async def receive(self, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._arrival.wait()
        except TimeoutError:
            return b""
        self._arrival.clear()
        arrived, self._arrived = self._arrived, b""
        return arrived

    async def close(self) -> None:
        pass


async def read_many(chance: random.Random, faults: float) -> tuple[int, int]:
    """How many reads gave a value and how many an error; each value is checked to be of the read's own time."""
    loop = asyncio.get_running_loop()
    master = Master(FaultyLine(chance, faults), TIMING)
    good = failed = 0
    for _ in range(READS):
        await asyncio.sleep(chance.choice([0, 0, 0.01, 900]))
        address, began = chance.choice([1, 2]), loop.time()
        patience = chance.choice([None, None, None, chance.uniform(0, 0.5)])
        try:
            async with asyncio.timeout(patience):
                (taken,) = await master.read(address)
        except (FieldError, TimeoutError):
            failed += 1
            continue
        good += 1
        value = int.from_bytes(taken.telegram.records[0].data, "little")
        assert taken.telegram.address == address
        assert int(began * 1000) <= value <= loop.time() * 1000
    return good, failed


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("faults", [0.02, 0.2, 0.6])
def test_a_read_gives_the_present_value_of_the_meter_asked_or_an_error(seed: int, faults: float) -> None:
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        good, failed = runner.run(read_many(random.Random(seed), faults))

    assert good > READS / 10
    assert failed > 0


def test_without_faults_and_cancellations_nothing_fails() -> None:
    async def read_all() -> None:
        master = Master(FaultyLine(random.Random(0), 0), TIMING)
        for number in range(READS):
            await master.read(1 + number % 2)

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(read_all())
