"""What is left on a line from one request never answers the next: on a line whose delays the test sets."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from drivers.mbus.link import Timing
from drivers.mbus.master import Master
from gateway.ports.field import WrongAnswerError
from tests.drivers.mbus.slave import long_frame, request

SOON = 0.0005
"""less than the silence that a line must keep, 33 bit times at 38400 baud"""

LATE = 0.02
"""less than the time in which a slave must begin to answer, 330 bit times and 50 ms"""


def volume(litres: int) -> bytes:
    return long_frame(bytes.fromhex("72785634122440010755000000") + b"\x04\x13" + litres.to_bytes(4, "little"))


class ScriptedLine:
    """Answers each REQ_UD2 with the next list of (seconds after the octets before, octets)."""

    def __init__(self, *answers: list[tuple[float, bytes]]) -> None:
        self.answers = deque(answers)
        self.coming: deque[tuple[float, bytes]] = deque()
        self.sent: list[bytes] = []
        self.asked = asyncio.Event()

    async def send(self, octets: bytes) -> None:
        self.sent.append(octets)
        if octets[1] == 0x40:
            self.coming.append((0, b"\xe5"))
            return
        self.asked.set()
        if self.answers:
            self.coming.extend(self.answers.popleft())

    async def receive(self, seconds: float) -> bytes:
        if self.coming and self.coming[0][0] <= seconds:
            await asyncio.sleep(0)
            return self.coming.popleft()[1]
        if self.coming:
            delay, octets = self.coming.popleft()
            self.coming.appendleft((delay - seconds, octets))
        await asyncio.sleep(seconds)
        return b""

    async def close(self) -> None:
        pass


def master(line: ScriptedLine) -> Master:
    return Master(line, Timing(baud=38400, latency=0))


async def litres(asking: Master, address: int = 1) -> int:
    (taken,) = await asking.read(address)
    return int.from_bytes(taken.telegram.records[0].data, "little")


async def test_what_came_unasked_between_two_reads_is_thrown_away() -> None:
    line = ScriptedLine([(0, volume(1))], [(0, volume(2))])
    asking = master(line)
    assert await litres(asking) == 1
    line.coming.append((0, volume(1)))

    assert await litres(asking) == 2


async def test_the_answer_to_a_cancelled_request_is_waited_for_and_thrown_away() -> None:
    line = ScriptedLine([], [(0, volume(2))])
    asking = master(line)
    read = asyncio.create_task(litres(asking))
    await line.asked.wait()
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    line.coming.append((SOON, volume(1)))

    assert await litres(asking) == 2


@pytest.mark.parametrize("after", [SOON, LATE])
async def test_a_second_answer_after_a_repeat_is_waited_for_and_thrown_away(after: float) -> None:
    line = ScriptedLine([], [(0, volume(1)), (after, volume(1))], [(0, volume(2))])
    asking = master(line)

    assert await litres(asking) == 1
    assert await litres(asking) == 2
    assert line.sent == [request("nke"), request("ud2+"), request("ud2+"), request("ud2")]


async def test_what_follows_a_damaged_answer_is_waited_for_and_thrown_away() -> None:
    timing = Timing(baud=38400, latency=0.1)
    too_late = timing.octets(5) + timing.answer() + 0.02
    line = ScriptedLine([(0, b"\x68"), (too_late, volume(1))], [(0, volume(2))])

    assert await litres(Master(line, timing)) == 2


async def test_octets_that_dribble_in_are_waited_for_as_long_as_they_come() -> None:
    answer = volume(7)
    line = ScriptedLine([(SOON, answer[at : at + 1]) for at in range(len(answer))])

    assert await litres(master(line)) == 7
    assert line.sent == [request("nke"), request("ud2+")]


async def test_a_line_that_never_falls_silent_is_given_up() -> None:
    class Babbling(ScriptedLine):
        async def receive(self, seconds: float) -> bytes:
            await asyncio.sleep(min(seconds, SOON))
            return b"\x55"

    line = Babbling()

    with pytest.raises(WrongAnswerError, match="never falls silent"):
        await litres(master(line))
    assert line.sent == []


async def test_an_answer_that_pauses_in_the_middle_no_longer_than_it_takes_needs_no_repeat() -> None:
    class Pausing(ScriptedLine):
        async def receive(self, seconds: float) -> bytes:
            if self.coming and self.coming[0][0] <= seconds:
                await asyncio.sleep(self.coming[0][0])
            return await super().receive(seconds)

    line = Pausing([(0.17, volume(7)[:9]), (0.06, volume(7)[9:])])
    (taken,) = await Master(line, Timing(baud=2400, latency=0)).read(1)
    assert taken.octets == volume(7)
    assert len(line.sent) == 2


async def test_an_answer_that_came_while_this_machine_was_halted_needs_no_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    time, halted = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: time() + halted)

    class Halting(ScriptedLine):
        async def receive(self, seconds: float) -> bytes:
            nonlocal halted
            octets = await super().receive(seconds)
            halted += 10 if len(octets) == 9 else 0
            return octets

    line = Halting([(SOON, volume(7)[:9]), (0, volume(7)[9:])])
    (taken,) = await master(line).read(1)
    assert taken.octets == volume(7)
    assert len(line.sent) == 2
