"""Thousands of reads over a serial line with every fault: a read gives the values of its own time, or an error."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from drivers import network, serial
from drivers.modbus import driver
from drivers.modbus.rtu import LATE_S, Pace, RtuLine
from drivers.modbus.settings import BusSettings, MeterSettings
from gateway.ports.field import FieldError, LineDownError, NoAnswerError
from simulators.pty import with_crc
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from gateway.ports.field import Answer, MeterBus

READS = 600
TIMEOUT = 0.3
METERS = {name: MeterSettings(model="carlo-gavazzi-em340", address=unit) for unit, name in ((1, "a"), (2, "b"))}
"""each is read in two requests whose answers look alike; the two meters count alike as well"""
WAYS = {
    "device": (BusSettings(device="/dev/ttyUSB0", timeout=TIMEOUT), 0.002),
    "converter": (BusSettings(host="10.0.0.5", port=4196, framing="rtu", timeout=TIMEOUT), 0.2),
}
"""settings of the line, and the most seconds between two pieces of an answer"""
EXPORT_ADDRESS, EXPORT_OFFSET = 0x4E, 100_000_000
SERIAL_ADDRESS, SERIALS = 0x5000, {"a": "000001S", "b": "000002S"}


class LoopClock:
    def now(self) -> datetime:
        return datetime(2026, 10, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class FaultyPort:
    """Two meters that count milliseconds. Each answer begins at any moment that the line allows for."""

    def __init__(self, chance: random.Random, faults: float, spread: float) -> None:
        """`spread`: seconds that may pass between two pieces of an answer."""
        self._spread = spread
        self._chance = chance
        self._faults = faults
        self._arrived = b""
        self._arrival = asyncio.Event()
        self._plugged = True

    async def send(self, octets: bytes) -> None:
        if not self._plugged or self._chance.random() < self._faults / 50:
            self._unplug()
            raise LineDownError(_GONE)
        if self._chance.random() < self._faults / 4:  # the request is lost
            return
        loop = asyncio.get_running_loop()
        counts = int(loop.time() * 1000) + EXPORT_OFFSET * (octets[2:4] == EXPORT_ADDRESS.to_bytes(2, "big"))
        words = (counts & 0xFFFF).to_bytes(2, "big") + (counts >> 16).to_bytes(2, "big")
        if octets[2:4] == SERIAL_ADDRESS.to_bytes(2, "big"):
            words = f"00000{octets[0]}S".encode("utf-16-be")
        at = self._delay()
        for piece in self._pieces(self._spoilt(with_crc(octets[:2] + bytes([len(words)]) + words), octets)):
            loop.call_later(at, self._arrive, piece)
            at += self._chance.uniform(0, self._spread)

    def _delay(self) -> float:
        if self._chance.random() < self._faults / 2:
            return self._chance.uniform(TIMEOUT, TIMEOUT + max(TIMEOUT, LATE_S))
        return self._chance.uniform(0, TIMEOUT)

    def _spoilt(self, answer: bytes, request: bytes) -> bytes:
        if self._chance.random() >= self._faults:
            return answer
        spoilt = bytearray(answer)
        at = self._chance.randrange(len(answer))
        match self._chance.randrange(8):
            case 0:
                return b""
            case 1:
                spoilt[at] ^= self._chance.randint(1, 255)
            case 2:
                del spoilt[at]
            case 3:
                spoilt = spoilt[:at]
            case 4:
                spoilt[:0] = self._chance.randbytes(self._chance.randint(1, 20))
            case 5:
                return with_crc(bytes([answer[0] ^ 3]) + answer[1:-2])
            case 6:
                return answer + answer
            case _:
                spoilt[:0] = request
        return bytes(spoilt)

    def _pieces(self, octets: bytes) -> list[bytes]:
        """Two pieces; of an answer that came twice the first ends before the answer does."""
        cut = self._chance.randrange(min(len(octets) + 1, _ANSWER))
        return [piece for piece in (octets[:cut], octets[cut:]) if piece]

    def _arrive(self, octets: bytes) -> None:
        self._arrived += octets
        self._arrival.set()

    def _unplug(self) -> None:
        self._plugged = False
        self._arrival.set()

    async def receive(self, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._arrival.wait()
        except TimeoutError:
            return b""
        if not self._plugged:
            raise LineDownError(_GONE)
        self._arrival.clear()
        arrived, self._arrived = self._arrived, b""
        return arrived

    async def close(self) -> None:
        """What is still on the wire reaches whoever opens it next."""
        self._plugged = True
        self._arrival.clear()


class LatePort(FaultyPort):
    """Nothing is lost or spoilt, but one answer in ten comes when nobody waits for it any more; never two at a time."""

    late = 0
    _next = 0.0

    def _delay(self) -> float:
        now = asyncio.get_running_loop().time()
        if now < self._next or self._chance.random() > 0.1:
            return self._chance.uniform(0, TIMEOUT / 2)
        self._next = now + 2 * VERY_LATE
        self.late += 1
        return self._chance.uniform(TIMEOUT, VERY_LATE)


class LaterPort(LatePort):
    """One answer in four is late, however many of them at a time."""

    def _delay(self) -> float:
        if self._chance.random() > 1 / 4:
            return self._chance.uniform(0, TIMEOUT / 2)
        self.late += 1
        return self._chance.uniform(TIMEOUT, VERY_LATE)


VERY_LATE = 8 * TIMEOUT
_ANSWER = 9
_GONE = "/dev/ttyUSB0 was unplugged"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("faults", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("way", WAYS)
def test_a_read_gives_the_values_of_its_own_time_or_an_error(
    seed: int, faults: float, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    port = FaultyPort(chance, faults, WAYS[way][1])
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        outcomes = runner.run(read_many(chance, port, way, monkeypatch))
    assert sum(outcomes.values()) == READS
    assert min(outcomes.values()) > 2, outcomes  # else it has proven nothing


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("late", [LatePort, LaterPort])
def test_an_answer_that_comes_when_nobody_waits_any_more_is_no_other_registers_value(
    seed: int, way: str, late: type[LatePort], monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    port = late(chance, 0, WAYS[way][1])
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        outcomes = runner.run(read_many(chance, port, way, monkeypatch))
    assert port.late > READS / 20
    assert outcomes["right"] > READS / 2, outcomes


def plugged(port: FaultyPort, way: str, monkeypatch: pytest.MonkeyPatch) -> MeterBus:
    settings, _ = WAYS[way]

    async def connect(_: serial.LineSettings | None = None) -> FaultyPort:
        return port

    monkeypatch.setattr(serial, "connect", connect)
    monkeypatch.setattr(network, "tcp", lambda *_: connect)
    return driver.open(settings, METERS, LoopClock())


async def read_many(
    chance: random.Random, port: FaultyPort, way: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, int]:
    bus = plugged(port, way, monkeypatch)
    outcomes = {"right": 0, "refused": 0, "cancelled": 0}
    for _ in range(READS):
        await asyncio.sleep(chance.choice([0, 0, 0.01, 900]))
        patience = chance.uniform(0, TIMEOUT) if chance.random() < 0.05 else None
        outcomes[await read_once(bus, chance.choice(tuple(METERS)), patience)] += 1
    await bus.close()
    return outcomes


async def read_once(bus: MeterBus, meter: str, patience: float | None) -> str:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(patience):
            answer = await bus.read(meter)
    except FieldError:
        return "refused"
    except TimeoutError:
        return "cancelled"
    assert answer.serial == SERIALS[meter]
    for key, count in counts(answer).items():
        shown = count - EXPORT_OFFSET * (key == "export")
        assert int(began * 1000) <= shown <= loop.time() * 1000, (meter, key)
    return "right"


def counts(answer: Answer) -> dict[str, int]:
    """What the meter's registers held: tenths of a kWh."""
    return {value.register: int(str(value.index).replace(".", "")) for value in answer.values}


@pytest.mark.parametrize("way", WAYS)
def test_without_faults_and_cancellations_nothing_fails(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_all() -> None:
        bus = plugged(FaultyPort(random.Random(0), 0, WAYS[way][1]), way, monkeypatch)
        for number in range(READS):
            assert await read_once(bus, ("a", "b")[number % 2], None) == "right"
        await bus.close()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(read_all())


class SilentPort:
    async def send(self, octets: bytes) -> None:
        pass

    async def receive(self, seconds: float) -> bytes:
        await asyncio.sleep(max(seconds, 0))
        return b""

    async def close(self) -> None:
        pass


READ, OTHER, LONGER, SWITCH_OFF = (
    bytes.fromhex(pdu) for pdu in ("0300340002", "03004e0002", "0350000007", "0500000000")
)


def test_what_a_unit_owes_holds_back_what_would_look_the_same_and_no_relay() -> None:
    async def connect() -> SilentPort:
        return SilentPort()

    async def ask_in_vain() -> None:
        line = RtuLine(connect, Pace(octet_s=0.001, pause_s=0.004, gap_s=0.004))
        for pdu in (READ, SWITCH_OFF):
            with pytest.raises(NoAnswerError):
                await line.ask(1, pdu, TIMEOUT)
        owed = {pdu: line.owed(1, pdu, repeats=False) for pdu in (READ, OTHER, LONGER, SWITCH_OFF)}
        assert owed[READ] == owed[OTHER] > 0
        assert owed[LONGER] == owed[SWITCH_OFF] == 0
        assert line.owed(1, READ, repeats=True) == 0
        assert line.owed(2, OTHER, repeats=False) == 0
        await asyncio.sleep(VERY_LATE)
        assert line.owed(1, OTHER, repeats=False) == 0

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(ask_in_vain())
