"""How long the bus waits and whose turn it is, on a line whose answers take as long as a test says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from drivers.modbus.bus import ModbusBus, WiredMeter
from drivers.modbus.line import Exchange
from drivers.modbus.model import meter_models
from gateway.ports.field import NoAnswerError, OwingError
from tests.virtual_time import VirtualTime

ANSWER = bytes.fromhex("0408 42c80000 3e800000")
METERS = {
    name: WiredMeter(id=name, unit=unit, model=meter_models()["eastron-sdm630"]) for unit, name in enumerate(("a", "b"))
}


class SlowLine:
    """Answers each question after the next of `takes` seconds, on a clock of its own."""

    numbered = True

    def __init__(self) -> None:
        self.takes: list[float] = []
        self.waited: list[float] = []
        self.clock_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 10, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.clock_s

    def owed(self, unit: int, pdu: bytes, *, repeats: bool) -> float:  # noqa: ARG002 - the line's
        return 0.0

    async def ask(self, unit: int, pdu: bytes, wait: float) -> Exchange:
        takes = self.takes.pop(0)
        self.waited.append(round(wait, 9))
        self.clock_s += min(takes, wait)
        if takes > wait:
            message = f"unit {unit} is silent"
            raise NoAnswerError(message)
        return Exchange(pdu=ANSWER, raw=pdu + ANSWER)

    async def close(self) -> None:
        pass


@pytest.fixture
def line() -> SlowLine:
    return SlowLine()


@pytest.fixture
def bus(line: SlowLine) -> ModbusBus:
    return ModbusBus(line, METERS, longest_wait=1.0, clock=line)


async def read(bus: ModbusBus, line: SlowLine, meter: str, *takes: float) -> list[float]:
    """The waits of one read whose answers take so long."""
    line.takes, line.waited = list(takes), []
    await bus.read(meter)
    return line.waited


async def test_the_first_answer_may_take_the_whole_time(bus: ModbusBus, line: SlowLine) -> None:
    assert await read(bus, line, "a", 0.9) == [1.0]


async def test_then_four_times_the_usual_latency_before_asking_again(bus: ModbusBus, line: SlowLine) -> None:
    await read(bus, line, "a", 0.05)
    assert await read(bus, line, "a", 5.0, 0.6) == [0.2, 0.8]


async def test_never_less_than_a_tenth_of_a_second(bus: ModbusBus, line: SlowLine) -> None:
    await read(bus, line, "a", 0.001)
    assert await read(bus, line, "a", 5.0, 0.01) == [0.1, 0.9]


async def test_a_slow_meter_is_given_its_time_in_one_piece(bus: ModbusBus, line: SlowLine) -> None:
    await read(bus, line, "a", 0.3)
    assert await read(bus, line, "a", 0.9) == [1.0]


async def test_a_dead_meter_costs_its_time_out_and_no_more(bus: ModbusBus, line: SlowLine) -> None:
    await read(bus, line, "a", 0.01)
    for waits in ([0.1, 0.9], [1.0], [1.0]):
        line.takes, line.waited = [5.0, 5.0], []
        before = line.clock_s
        with pytest.raises(NoAnswerError):
            await bus.read("a")
        assert line.waited == waits
        assert line.clock_s - before == pytest.approx(1.0)


async def test_what_is_usual_is_each_meters_own(bus: ModbusBus, line: SlowLine) -> None:
    await read(bus, line, "a", 0.01)
    assert await read(bus, line, "b", 0.9) == [1.0]


class HeldLine(SlowLine):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()
        self.turns: list[str] = []

    async def ask(self, unit: int, pdu: bytes, wait: float) -> Exchange:
        self.turns.append(f"ask {unit}, {wait:g} s")
        self.asked.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.turns.append(f"broken off {unit}")
            raise
        self.turns.append(f"answer {unit}")
        return Exchange(pdu=ANSWER, raw=pdu + ANSWER)


async def test_a_question_goes_to_its_end_although_its_reader_is_cancelled() -> None:
    line = HeldLine()
    bus = ModbusBus(line, METERS, longest_wait=1.0, clock=line)
    first, second, third = (asyncio.create_task(bus.read(meter)) for meter in ("a", "a", "b"))
    await line.asked.wait()
    first.cancel()
    second.cancel()
    assert [type(outcome) for outcome in await asyncio.gather(first, second, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2
    assert line.turns == ["ask 0, 1 s"]
    line.may_answer.set()
    await third
    assert line.turns == ["ask 0, 1 s", "answer 0", "ask 1, 1 s", "answer 1"]


class OwingLine(SlowLine):
    """Unit 0 owes an answer for some seconds."""

    until_s = 2.4

    def owed(self, unit: int, pdu: bytes, *, repeats: bool) -> float:  # noqa: ARG002 - the line's
        return 0.0 if unit else max(0.0, self.until_s - asyncio.get_running_loop().time())


def test_while_a_unit_owes_an_answer_its_neighbours_are_asked() -> None:
    line = OwingLine()
    line.takes = [0.01, 0.01]
    asked: dict[str, float] = {}

    async def read_at(bus: ModbusBus, meter: str) -> None:
        await bus.read(meter)
        asked[meter] = asyncio.get_running_loop().time()

    async def read_both() -> None:
        bus, begun = ModbusBus(line, METERS, longest_wait=1.0, clock=line), asyncio.get_running_loop().time()
        line.until_s += begun
        await asyncio.gather(read_at(bus, "a"), read_at(bus, "b"))
        assert asked["b"] == begun
        assert asked["a"] == pytest.approx(begun + 2.4)

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(read_both())


async def test_who_reads_others_as_well_is_told_at_once_that_a_unit_owes_an_answer() -> None:
    line = OwingLine()
    line.until_s += asyncio.get_running_loop().time()
    line.takes = [0.01]
    bus = ModbusBus(line, METERS, longest_wait=1.0, clock=line)
    with pytest.raises(OwingError, match="unit 0 may yet answer an earlier question") as owing:
        await bus.read_now("a")
    assert 2 < owing.value.seconds <= 2.4
    assert (await bus.read_now("b")).values
    assert not line.takes
