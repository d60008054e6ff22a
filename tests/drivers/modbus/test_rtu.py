"""The Modbus conversation over a serial device: answers without a number, and none of them is taken for another."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from drivers.modbus import driver
from drivers.modbus.machine import driver as coils
from drivers.modbus.rtu import frame_pause
from drivers.modbus.settings import BusSettings, MeterSettings
from gateway.ports.field import FieldError, LineDownError, NoAnswerError, WrongAnswerError
from simulators.modbus import Unit, layouts
from simulators.pty import RtuWire, with_crc
from simulators.relay import Relay
from tests.steady_time import LoopClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.ports.field import MeterBus

TIMEOUT = 0.2
RELAY = 9
RIGHT = {"em": {"import": "1234.5", "export": "6.7"}, "sdm": {"import": "1.50", "export": "0.25"}}
METERS = {
    "em": MeterSettings(model="carlo-gavazzi-em340", address=7),
    "sdm": MeterSettings(model="eastron-sdm630", address=5),
    "dead": MeterSettings(model="eastron-sdm630", address=8),
}


class Peer(RtuWire):
    """Each request takes the next reaction of the script, which is given the right answer; then it answers rightly."""

    def __init__(self, link: Path) -> None:
        units: list[Unit | Relay] = [
            Unit(address=7, layout=layouts()["carlo-gavazzi-em340"], counts={"import": 12345, "export": 67}),
            Unit(address=5, layout=layouts()["eastron-sdm630"], counts={"import": 150, "export": 25}),
            Relay(address=RELAY),
        ]
        super().__init__(link, units, baud=115200)
        self.script: list[Callable[[bytes], bytes]] = []
        self.asked: list[tuple[float, int]] = []
        """when each request came, and to whom"""

    def answer(self, address: int, request: bytes) -> bytes:
        self.asked.append((asyncio.get_running_loop().time(), address))
        right = super().answer(address, request)
        return self.script.pop(0)(right) if self.script else right

    def later(self, seconds: float) -> Callable[[bytes], bytes]:
        """The right answer, so much later."""

        def react(right: bytes) -> bytes:
            self.say(right, seconds)
            return b""

        return react


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    peer = Peer(tmp_path / "ttyUSB0")
    peer.plug()
    yield peer
    peer.unplug()


@pytest.fixture
async def bus(peer: Peer) -> AsyncIterator[MeterBus]:
    bus = open_bus(peer)
    yield bus
    await bus.close()


def open_bus(peer: Peer, baud: int = 115200) -> MeterBus:
    settings = BusSettings(device=str(peer.link), baud=baud, parity="even", timeout=TIMEOUT)
    return driver.open(settings, METERS, LoopClock())


async def indexes(bus: MeterBus, meter: str) -> dict[str, str]:
    answer = await bus.read(meter)
    return {value.register: str(value.index) for value in answer.values}


async def right_again(bus: MeterBus) -> None:
    for meter, right in RIGHT.items():
        assert await indexes(bus, meter) == right


async def test_both_models_are_read_and_the_raw_frames_can_be_decoded(bus: MeterBus) -> None:
    await right_again(bus)
    raw = (await bus.read("sdm")).raw
    request, answer = raw[:8], raw[8:]
    assert driver.decode(request) == {
        "ok": True, "unit": 5, "kind": "request", "function": 4, "address": 72, "count": 4
    }  # fmt: skip
    assert driver.decode(answer) == {
        "ok": True, "unit": 5, "kind": "answer", "function": 4, "words": [0x3FC0, 0, 0x3E80, 0]
    }  # fmt: skip


async def test_a_reply_that_is_50_ms_later_than_its_time_out_is_never_a_value(peer: Peer, bus: MeterBus) -> None:
    """The two requests of the EM340 look alike: a late answer to the first would fit the second."""
    await right_again(bus)
    for _ in range(3):
        peer.script = [peer.later(TIMEOUT + 0.05)]
        assert await indexes(bus, "em") == RIGHT["em"]
        peer.script = [peer.later(TIMEOUT + 0.05)] * 2
        with pytest.raises(NoAnswerError):
            await bus.read("em")
        await right_again(bus)


async def test_a_cancelled_question_leaves_nothing_behind(peer: Peer, bus: MeterBus) -> None:
    await right_again(bus)
    for delay in (0.01, TIMEOUT + 0.05):
        peer.script = [peer.later(delay)]
        before = len(peer.asked)
        read = asyncio.create_task(bus.read("em"))
        while len(peer.asked) == before:  # noqa: ASYNC110 - turns of the event loop, until it is asked
            await asyncio.sleep(0)
        read.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await read
        await right_again(bus)


WRONG = {
    "another function": lambda right: with_crc(bytes([right[0], right[1] ^ 7]) + right[2:-2]),
    "more registers than asked": lambda right: with_crc(right[:2] + bytes([right[2] + 2]) + right[3:-2] + b"\0\0"),
    "fewer registers than asked": lambda right: with_crc(right[:2] + bytes([2]) + right[3:5]),
    "a count that is not so": lambda right: with_crc(right[:2] + bytes([right[2] + 2]) + right[3:-2]),
    "another unit": lambda right: with_crc(bytes([right[0] ^ 1]) + right[1:-2]),
    "a flipped bit": lambda right: right[:3] + bytes([right[3] ^ 1]) + right[4:],
    "a lost octet": lambda right: right[:4] + right[5:],
    "half an answer": lambda right: right[: len(right) // 2],
    "nothing but noise": lambda _: bytes(range(40)),
    "the answer twice": lambda right: right + right,
    "another octet behind the answer": lambda right: right + b"\0",
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_not_the_answer_is_never_a_value(peer: Peer, bus: MeterBus, wrong: str) -> None:
    await right_again(bus)
    peer.script = [WRONG[wrong]] * 2
    with pytest.raises(WrongAnswerError, match=r"^unit 7 ") as caught:
        await bus.read("em")
    assert "\n" not in str(caught.value)
    await right_again(bus)


async def test_what_is_not_the_answer_is_asked_for_once_more(peer: Peer, bus: MeterBus) -> None:
    await right_again(bus)
    before = len(peer.asked)
    peer.script = [WRONG["a flipped bit"]]
    assert await indexes(bus, "em") == RIGHT["em"]
    assert len(peer.asked) == before + 3


async def test_noise_before_an_answer_costs_nothing(peer: Peer, bus: MeterBus) -> None:
    await right_again(bus)
    before = len(peer.asked)
    peer.script = [lambda right: b"\xff\x07" + right, lambda right: right[:4] + right]
    assert await indexes(bus, "em") == RIGHT["em"]
    assert len(peer.asked) == before + 2


async def test_an_exception_is_an_answer(peer: Peer, bus: MeterBus) -> None:
    peer.units[5].fault = "exception"
    with pytest.raises(WrongAnswerError, match=r"unit 5 refuses: exception 4 \(device failure\)"):
        await bus.read("sdm")
    assert len(peer.asked) == 1


async def test_a_dead_meter_is_asked_once_and_its_neighbours_are_read(peer: Peer, bus: MeterBus) -> None:
    for _ in range(2):
        with pytest.raises(NoAnswerError, match="unit 8 gives no answer; check its address"):
            await bus.read("dead")
        await right_again(bus)
    assert [address for _, address in peer.asked].count(8) == 2


@pytest.mark.parametrize(
    ("baud", "milliseconds"), [(1200, 32.08), (9600, 4.01), (19200, 2.005), (38400, 1.75), (115200, 1.75)]
)
def test_the_silence_between_frames_is_three_and_a_half_characters_or_the_fixed_one(
    baud: int, milliseconds: float
) -> None:
    assert frame_pause(baud) * 1000 == pytest.approx(milliseconds, abs=0.005)


@pytest.mark.parametrize("baud", [1200, 2400])
async def test_the_line_is_silent_for_so_long_before_each_request(peer: Peer, baud: int) -> None:
    """The simulated line knows when each octet was over."""
    bus = open_bus(peer, baud=baud)
    for _ in range(3):
        await bus.read("em")
    await bus.close()
    assert peer.baud == baud
    assert len(peer.asked) == 7
    assert peer.too_early == 0


async def test_an_answer_to_an_earlier_master_is_not_ours(peer: Peer) -> None:
    """A gateway was killed between question and answer, and started again at once."""
    wrong = with_crc(bytes.fromhex("0703040000000f"))
    peer.say(wrong, TIMEOUT * 0.8)
    peer.script = [peer.later(TIMEOUT * 0.9)]
    bus = open_bus(peer)
    assert await indexes(bus, "em") == RIGHT["em"]
    await bus.close()


async def test_a_line_that_never_falls_silent_is_told(peer: Peer) -> None:
    bus = open_bus(peer, baud=4800)
    await right_again(bus)
    peer.script = [lambda _: bytes(100_000)]
    with pytest.raises(WrongAnswerError, match="the line never falls silent; look for a second master"):
        await bus.read("em")
    await bus.close()


async def test_a_device_that_is_unplugged_comes_back_at_the_next_read(peer: Peer, bus: MeterBus) -> None:
    await right_again(bus)
    peer.unplug()
    with pytest.raises(LineDownError, match="ttyUSB0 is not there; plug the adapter in"):
        await bus.read("em")
    peer.plug()
    await right_again(bus)
    peer.unplug()
    peer.plug()
    await right_again(bus)


async def test_a_device_that_is_unplugged_in_the_middle_of_an_answer_ends_the_read_at_once(
    peer: Peer, bus: MeterBus
) -> None:
    await right_again(bus)

    def vanish(right: bytes) -> bytes:
        asyncio.get_running_loop().call_soon(peer.unplug)
        return right

    peer.script = [vanish]
    with pytest.raises(LineDownError, match="ttyUSB0 was unplugged or lost its power"):
        await bus.read("em")
    peer.plug()
    await right_again(bus)


async def test_closing_ends_a_question_and_frees_the_device(peer: Peer, bus: MeterBus) -> None:
    peer.script = [lambda _: b""]
    read = asyncio.create_task(bus.read("em"))
    while not peer.asked:  # noqa: ASYNC110 - turns of the event loop, until it is asked
        await asyncio.sleep(0)
    await bus.close()
    with pytest.raises(LineDownError):
        await read
    second = open_bus(peer)
    await right_again(second)
    await second.close()


@pytest.mark.parametrize("echo", [False, True])
async def test_a_relay_is_switched_with_and_without_an_echo_of_what_is_sent(
    peer: Peer, bus: MeterBus, *, echo: bool
) -> None:
    peer.echo = echo
    await right_again(bus)
    relay = coils.open(coils.schema.model_validate({"address": RELAY, "coil": 0}), bus)
    await relay.switch(on=True)
    assert await relay.is_on()
    peer.script = [lambda _: b""]
    with pytest.raises(FieldError):
        await relay.switch(on=False)
    assert not await relay.is_on()
    await right_again(bus)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"host": "h", "baud": 9600}, "baud belong to a serial device and mean nothing beside host; remove them"),
        (
            {"host": "h", "port": 1, "framing": "rtu", "parity": "even"},
            "parity belong to a serial device and mean nothing",
        ),
        ({"host": "h", "framing": "rtu"}, "port is missing beside host; write the TCP port of the converter"),
        ({"host": "h", "framing": "ascii"}, "Input should be 'tcp' or 'rtu'"),
        (
            {"device": "/dev/ttyUSB0", "framing": "rtu"},
            "framing is for a host; at a serial device frames are always RTU",
        ),
        ({"host": "h", "device": "/dev/ttyUSB0"}, "name either host and port, or the device of a serial line"),
        ({"device": "/dev/ttyUSB0", "baud": 9601}, "9601 is no usual baud rate of Modbus; write one of 1200, 2400"),
        ({"device": "/dev/ttyUSB0", "parity": "mark"}, "Input should be 'none', 'even' or 'odd'"),
        ({"device": "/dev/ttyUSB0", "stopbits": 3}, "Input should be 1 or 2"),
    ],
)
def test_a_line_that_cannot_be_is_refused(keys: dict[str, str | int], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        BusSettings.model_validate(keys)
    (error,) = caught.value.errors()
    assert text in error["msg"]


def test_a_serial_line_is_9600_8n1_unless_it_is_told_otherwise() -> None:
    settings = BusSettings(device="/dev/ttyUSB0")
    assert (settings.baud, settings.parity, settings.stopbits) == (9600, "none", 1)
