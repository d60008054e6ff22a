"""Thousands of reads through a peer that lies at random: every value that comes out is right."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from typing import TYPE_CHECKING

from drivers.modbus.bus import ModbusBus, WiredMeter
from drivers.modbus.model import meter_models
from drivers.modbus.tcp import TcpLine
from gateway.ports.field import FieldError
from tests.drivers.modbus.peer import Peer
from tests.steady_time import LoopClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.drivers.modbus.peer import Asked

READS = 3000
SEED = 20261121
UNITS = {"sdm": 1, "em": 2}


class Liar:
    """Reacts rightly three times out of four, else with one of the known faults. Keeps late answers for later."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.late: list[bytes] = []
        self.faults: list[Callable[[Asked], bytes | None]] = [
            self._silent,
            self._silent,
            lambda asked: asked.frame(asked.right, unit=asked.unit ^ 3),
            lambda asked: asked.frame(asked.right, transaction=(asked.transaction - 1) % 65536),
            lambda asked: asked.frame(bytes([asked.right[0] ^ 7]) + asked.right[1:]),
            lambda asked: asked.frame(bytes([asked.function, 2]) + asked.right[2:4]),
            lambda asked: asked.frame(asked.right + b"\x00\x00"),
            lambda asked: asked.frame(bytes([asked.function | 0x80, self.random.choice((1, 2, 3, 4, 6, 11))])),
            lambda asked: asked.answer[: self.random.randrange(1, len(asked.answer))],
            lambda asked: self.random.randbytes(7) + asked.answer,
            lambda asked: asked.answer + asked.answer,
            lambda _: None,
        ]

    def __call__(self, asked: Asked) -> bytes | None:
        late, self.late = (b"".join(self.late), []) if self.random.random() < 0.5 else (b"", self.late)
        if self.random.random() < 0.75:
            return late + asked.answer
        reaction = self.random.choice(self.faults)(asked)
        return None if reaction is None else late + reaction

    def _silent(self, asked: Asked) -> bytes:
        self.late.append(asked.answer)
        return b""


async def test_no_wrong_value_comes_out_of_thousands_of_faulty_reads() -> None:
    peer, liar = Peer(), Liar(SEED)
    await peer.start()
    meters = {
        "sdm": WiredMeter(id="sdm", unit=1, model=meter_models()["eastron-sdm630"]),
        "em": WiredMeter(id="em", unit=2, model=meter_models()["carlo-gavazzi-em340"]),
    }
    bus = ModbusBus(TcpLine("127.0.0.1", peer.port), meters, longest_wait=0.02, clock=LoopClock())
    outcomes = {"right": 0, "refused": 0, "cancelled": 0}
    for turn in range(1, READS + 1):
        set_counters(peer, turn)
        peer.script = [liar] * 10
        meter = liar.random.choice(tuple(UNITS))
        outcomes[await read_once(bus, meter, turn, cancel=liar.random.random() < 0.05)] += 1
    await bus.close()
    await peer.stop()
    assert sum(outcomes.values()) == READS
    assert min(outcomes.values()) > 50, outcomes  # else it has proven nothing


async def read_once(bus: ModbusBus, meter: str, turn: int, *, cancel: bool) -> str:
    read = asyncio.create_task(bus.read(meter))
    if cancel:
        await asyncio.sleep(0)  # let it begin
        read.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await read
        return "cancelled"
    try:
        answer = await read
    except FieldError:
        return "refused"
    assert {value.register: str(value.index) for value in answer.values} == expected(meter, turn)
    return "right"


def expected(meter: str, turn: int) -> dict[str, str]:
    """Every turn has values that no other turn has."""
    if meter == "sdm":
        return {"import": f"{turn}.50", "export": f"{turn + 5000}.25"}
    return {"import": f"{turn}.1", "export": f"{turn + 5000}.2"}


def set_counters(peer: Peer, turn: int) -> None:
    peer.put(1, 4, 72, *struct.unpack(">4H", struct.pack(">ff", turn + 0.5, turn + 5000.25)))
    for address, tenths in ((0x34, turn * 10 + 1), (0x4E, (turn + 5000) * 10 + 2)):
        high, low = struct.unpack(">HH", struct.pack(">i", tenths))
        peer.put(2, 3, address, low, high)
