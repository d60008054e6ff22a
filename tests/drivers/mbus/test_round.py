"""A round of 60 meters takes what the wire needs, and one that is dead lengthens it by its three tries and no more."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from drivers.mbus.bus import MBusBus, Wired
from drivers.mbus.link import Timing
from drivers.mbus.model import MODELS
from gateway.ports.field import NoAnswerError
from simulators.mbus import Bus, Direct, Slave, captured_telegrams
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = "itron-cf-55"
OCTETS = 83
METERS = 60
BAUD = 2400
TIMING = Timing(baud=BAUD, latency=0.02)
BETWEEN = 33 / BAUD
"""seconds of silence that a repeat waits for"""


def rounds(slaves: Sequence[Slave], dead: Sequence[int]) -> list[float]:
    """Seconds of a round before and two after some meters are dead; a round before those also resets the links."""
    bus = Bus(slaves, baud=BAUD)

    async def connect() -> Direct:
        return Direct(bus)

    async def work() -> list[float]:
        wired = {str(slave.address): Wired(asked=slave.address, model=MODELS[MODEL], serial=None) for slave in slaves}
        line = MBusBus(connect, TIMING, wired)
        loop, ends = asyncio.get_running_loop(), [0.0]
        for number in range(4):
            for slave in slaves:
                if number > 1 and slave.address in dead:
                    slave.fault = "silence"
                    with pytest.raises(NoAnswerError):
                        await line.read(str(slave.address))
                else:
                    await line.read(str(slave.address))
            ends.append(loop.time())
        await line.close()
        return [after - before for before, after in pairwise(ends[1:])]

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work())


def meters() -> list[Slave]:
    kind = captured_telegrams()[MODEL]
    return [Slave(address=at, captured=kind, serial=f"{at:08}") for at in range(1, METERS + 1)]


def test_nothing_is_waited_for_between_two_meters_that_answer() -> None:
    usual, *_ = rounds(meters(), [])
    assert usual <= 1.005 * METERS * ((5 + OCTETS) * 11 + 11) / BAUD


@pytest.mark.parametrize("dead", [1, 30, 60])
def test_a_dead_meter_lengthens_the_round_by_its_three_tries_and_no_more(dead: int) -> None:
    usual, first, second = rounds(meters(), [dead])
    tries = 3 * (TIMING.octets(5) + TIMING.answer() + BETWEEN)
    assert usual < first <= usual * (METERS - 1) / METERS + tries
    assert usual < second <= usual * (METERS - 1) / METERS + tries
