"""What a line must never give, whatever is sent there, and what the doctor says of a second master."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drivers.mbus import driver
from drivers.mbus.bus import MBusBus, Wired
from drivers.mbus.link import Timing, req_ud2, select, snd_nke
from drivers.mbus.model import MODELS
from drivers.mbus.secondary import SELECTED, Pattern
from drivers.mbus.settings import BusSettings, MeterSettings
from gateway.clock import SteppedClock
from gateway.lines import troubles
from gateway.ports.field import FieldError, WrongAnswerError
from simulators.mbus import Bus, Direct, captured_telegrams
from simulators.mbus import Slave as Meter
from tests.drivers.mbus.slave import Slave
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from gateway.ports.health import LineHealth

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "mbus-frames.jsonl").read_text("utf-8").splitlines()
]
BAD = {case["name"]: case for case in CASES if case["expect"] in {"error", "application_error"}}
MALFORMED = ("sends a telegram that cannot be read: ", "gives no answer that can be believed: ")
MODEL = "itron-cf-55"
HEAT = captured_telegrams()[MODEL]
READS = 60


def test_the_captured_frames_that_are_no_data_are_all_here() -> None:
    assert len(BAD) == 10


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("model", ["itron-bm-plus-m", MODEL])
async def test_a_malformed_answer_is_refused_in_one_sentence_and_the_next_good_one_is_read(
    name: str, model: str
) -> None:
    good, bad = HEAT.raw, bytes.fromhex(BAD[name]["hex"])
    address = bad[5] if bad[0] == 0x68 else 8
    async with Slave(bad, bad, bad) as slave:
        line = BusSettings(host="127.0.0.1", port=slave.port, baud=38400, latency=0.05)
        wiring = {
            "bad": MeterSettings(model=model, address=address),
            "good": MeterSettings(model=MODEL, address=good[5]),
        }
        bus = driver.open(line, wiring, SteppedClock())
        try:
            with pytest.raises(WrongAnswerError) as caught:
                await bus.read("bad")
            slave.script = [good]
            answer = await bus.read("good")
        finally:
            await bus.close()
    code = BAD[name].get("application_error")
    said = MALFORMED if code is None else (f"(application error {code})",)
    assert str(caught.value).startswith(f"address {address}")
    assert any(each in str(caught.value) for each in said), caught.value
    assert "\n" not in str(caught.value)
    assert {each.register for each in answer.values} >= {"heat"}


def with_another_master(seed: int, share: float) -> tuple[LineHealth, int]:
    """Reads of three meters of which each is disturbed with this probability; the health, and wrong readings."""
    chance = random.Random(seed)
    meters = {at: Meter(address=at, captured=HEAT, serial=f"1112766{at}", counts={"heat": at}) for at in (1, 2, 3)}
    bus, wrong = Bus(meters.values(), baud=2400), 0

    async def connect() -> Direct:
        return Direct(bus)

    def intrude(asked: bytes) -> None:
        bus.intrude(asked, asyncio.get_running_loop().time())

    async def work() -> LineHealth:
        nonlocal wrong
        loop = asyncio.get_running_loop()
        wired = {str(at): Wired(asked=at, model=MODELS[MODEL], serial=None) for at in meters}
        line = MBusBus(connect, Timing(baud=2400, latency=0.02), wired)
        for _ in range(READS):
            at = chance.choice((1, 2, 3))
            if chance.random() < share:
                asked = chance.choice(
                    [*(req_ud2(to, fcb=True) for to in (1, 2, 3, SELECTED)), snd_nke(1), select(Pattern())]
                )
                loop.call_later(chance.uniform(0, 1), intrude, asked)
            with suppress(FieldError):
                (heat,) = [each for each in (await line.read(str(at))).values if each.register == "heat"]
                wrong += heat.index.digits != at
            await asyncio.sleep(2)
        await line.close()
        return line.health()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work()), wrong


@pytest.mark.parametrize("seed", range(4))
def test_a_second_master_costs_no_wrong_reading_and_the_doctor_says_to_look_for_one(seed: int) -> None:
    health, wrong = with_another_master(seed, 0.7)
    assert wrong == 0
    assert any("look for a second meter or master" in each for each in troubles(health)), health
    assert not list(troubles(with_another_master(seed, 0)[0]))
