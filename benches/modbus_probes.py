"""Wrong values out of a Modbus line with faults: ours, and pymodbus' client as it comes, on the same line.

The meter counts milliseconds, so that each value tells when it was asked for and of which register: a value from
outside of its read is a wrong one. Time is virtual: ten thousand time-outs pass in a moment.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType

from benches.figure import Figure, say
from drivers.modbus.bus import ModbusBus, WiredMeter
from drivers.modbus.model import meter_models
from drivers.modbus.rtu import Pace, RtuLine, frame_pause
from drivers.modbus.settings import BusSettings
from gateway.ports.field import FieldError, LineDownError
from simulators.pty import with_crc
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from drivers.modbus.line import Line

Fault = Literal["late", "cancelled", "wrong function", "short count", "noise before", "closed in the middle"]
Framing = Literal["tcp", "rtu"]
FRAMINGS: tuple[Framing, ...] = ("tcp", "rtu")
FAULTS: tuple[Fault, ...] = (
    "late",
    "cancelled",
    "wrong function",
    "short count",
    "noise before",
    "closed in the middle",
)
EACH = 10_000
"""of each fault, mixed with as many reads that nothing happens to"""
TIMEOUT = 0.3
MODEL = "carlo-gavazzi-em340"
FUNCTION, IMPORT, EXPORT, SERIAL = 3, 0x34, 0x4E, 0x5000
EXPORT_OFFSET = 1_000_000_000
_UNIT = 1
_USUAL_S, _LATER_S = (0.005, 0.05), (0.001, 0.25)
"""seconds from a question to its answer, and from its time-out to a late one: from, until"""


class Wire(asyncio.Transport):
    """The line and its meter, in memory. `fault` is what happens to the answer of the next request."""

    def __init__(self, protocol: asyncio.Protocol, faults: Faults, framing: Framing) -> None:
        super().__init__()
        self._protocol = protocol
        self._faults = faults
        self._framing = framing
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take a request; its answer comes by the fault's rule."""
        loop, request, fault = asyncio.get_running_loop(), bytes(data), self._faults.take()
        right = self._framed(request, self._answer(request, fault))
        late = TIMEOUT + self._faults.chance.uniform(*_LATER_S)
        after = late if fault == "late" else self._faults.chance.uniform(*_USUAL_S)
        if fault == "noise before":
            right = self._faults.chance.randbytes(2) + right
        if fault == "closed in the middle":
            loop.call_later(after, self._give, right[: len(right) // 2])
            loop.call_later(after, self.abort)
        else:
            loop.call_later(after, self._give, right)

    def _answer(self, request: bytes, fault: Fault | None) -> bytes:
        """Its PDU."""
        function, address, count = struct.unpack(">BHH", request[7:12] if self._framing == "tcp" else request[1:6])
        counts = int(asyncio.get_running_loop().time() * 1000) + EXPORT_OFFSET * (address == EXPORT)
        if fault == "wrong function":  # holds other numbers there
            function, counts = function ^ 7, counts ^ 0xFFFF
        words = struct.pack(">HH", counts & 0xFFFF, counts >> 16)
        if address == SERIAL:
            words = "274123S".encode("utf-16-be")
        words = words[: 2 if fault == "short count" else 2 * count]
        return bytes([function, len(words)]) + words

    def _framed(self, request: bytes, pdu: bytes) -> bytes:
        if self._framing == "rtu":
            return with_crc(request[:1] + pdu)
        return request[:4] + struct.pack(">H", len(pdu) + 1) + request[6:7] + pdu

    def _give(self, octets: bytes) -> None:
        if not self._closed:
            self._protocol.data_received(octets)

    def abort(self) -> None:
        """Hang up, whoever does it."""
        if not self._closed:
            self._closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    close = abort

    def is_closing(self) -> bool:
        """Whether it is."""
        return self._closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401, ARG002 - as asyncio has it
        """Nothing is known of it."""
        return default


class Faults:
    """Which faults are still to come, each at the first request of a read."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._next: Fault | None = None

    def put(self, fault: Fault | None) -> None:
        """What happens to the answer of the next request."""
        self._next = fault

    def take(self) -> Fault | None:
        """Once."""
        fault, self._next = self._next, None
        return fault


class Octets(asyncio.Protocol):
    """Our RTU line's end of the wire; see `drivers.network.Line`."""

    def __init__(self, faults: Faults) -> None:
        self._heard = bytearray()
        self._came = asyncio.Event()
        self._lost = False
        self._wire = Wire(self, faults, "rtu")

    def data_received(self, data: bytes) -> None:
        """asyncio: octets have come."""
        self._heard += data
        self._came.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio has it
        """asyncio: it is over."""
        self._lost = True
        self._came.set()

    async def send(self, octets: bytes) -> None:
        """Ask."""
        self._wire.write(octets)

    async def receive(self, seconds: float) -> bytes:
        """What has come."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._came.wait()
        except TimeoutError:
            return b""
        if self._lost and not self._heard:
            message = "the line is gone"
            raise LineDownError(message)
        octets = bytes(self._heard)
        self._heard.clear()
        if not self._lost:
            self._came.clear()
        return octets

    async def close(self) -> None:
        """Hang up."""
        self._wire.abort()


class _LoopClock:
    def now(self) -> datetime:
        return datetime(2026, 10, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


Read = dict[int, int]
"""register address -> counts"""


async def measure(_folder: Path) -> Figure:
    """Wrong values in ten thousand of each fault, over TCP and over RTU; pymodbus with and without its repeats."""
    found: dict[str, int] = {}
    for framing in FRAMINGS:
        found[framing] = (await asyncio.to_thread(wrong, framing, EACH))[0]
        say(f"  {framing}: {found[framing]} wrong values of ours")
    peers: dict[str, float] = {"reads": 2 * (len(FAULTS) + 1) * EACH}
    for framing in FRAMINGS:
        for retries in (3, 0):
            name = f"pymodbus_{framing}_retries_{retries}"
            peers[name] = (await asyncio.to_thread(wrong, framing, EACH, retries))[0]
            say(f"  {framing}: {peers[name]:.0f} of pymodbus with {retries} repeats")
    return Figure(name="modbus_wrong_values", unit="values", value=sum(found.values()), limit=0, peers=peers)


def wrong(framing: Framing, each: int, retries: int | None = None, seed: int = 1) -> tuple[int, int]:
    """How many values were wrong and how many right; `retries`: of pymodbus' client, None for ours."""
    level = logging.getLogger("pymodbus").level
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    try:
        with asyncio.Runner(loop_factory=VirtualTime) as runner:
            return runner.run(_count(framing, each, retries, random.Random(seed)))
    finally:
        logging.getLogger("pymodbus").setLevel(level)


async def _count(framing: Framing, each: int, retries: int | None, chance: random.Random) -> tuple[int, int]:
    faults, loop = Faults(chance), asyncio.get_running_loop()
    cast("Any", loop).create_connection = _connections(faults, framing)
    read, close = _ours(faults, framing) if retries is None else _theirs(framing, retries)
    order: list[Fault | None] = [*FAULTS * each, *[None] * each]
    chance.shuffle(order)
    wrong = right = 0
    for fault in order:
        faults.put(fault)
        began = loop.time()
        found = await _once(read, TIMEOUT / 100 if fault == "cancelled" else None)
        for address, counts in found.items():
            shown = counts - EXPORT_OFFSET * (address == EXPORT)
            good = int(began * 1000) <= shown <= loop.time() * 1000
            right, wrong = right + good, wrong + (not good)
    await close()
    return wrong, right


async def _once(read: Callable[[], Awaitable[Read]], patience: float | None) -> Read:
    try:
        async with asyncio.timeout(patience):
            return await read()
    except (FieldError, ModbusException, TimeoutError):
        return {}


def _connections(faults: Faults, framing: Framing) -> Callable[..., Awaitable[tuple[Wire, asyncio.Protocol]]]:
    async def create(
        factory: Callable[[], asyncio.Protocol], *_: object, **__: object
    ) -> tuple[Wire, asyncio.Protocol]:
        protocol = factory()
        wire = Wire(protocol, faults, framing)
        protocol.connection_made(wire)
        return wire, protocol

    return create


def _ours(faults: Faults, framing: Framing) -> tuple[Callable[[], Awaitable[Read]], Callable[[], Awaitable[None]]]:
    async def connect() -> Octets:
        return Octets(faults)

    line: Line = BusSettings(host="meter", timeout=TIMEOUT).line()
    if framing == "rtu":
        line = RtuLine(connect, Pace(octet_s=11 / 9600, pause_s=frame_pause(9600), gap_s=0.05))
    wired = {"m": WiredMeter(id="m", unit=_UNIT, model=meter_models()[MODEL])}
    bus = ModbusBus(line, wired, longest_wait=TIMEOUT, clock=_LoopClock())

    async def read() -> Read:
        answer = await bus.read("m")
        return {
            IMPORT if value.register == "import" else EXPORT: int(str(value.index).replace(".", ""))
            for value in answer.values
        }

    return read, bus.close


def _theirs(framing: Framing, retries: int) -> tuple[Callable[[], Awaitable[Read]], Callable[[], Awaitable[None]]]:
    framer = FramerType.SOCKET if framing == "tcp" else FramerType.RTU
    client = AsyncModbusTcpClient(
        "meter", framer=framer, timeout=TIMEOUT, retries=retries, reconnect_delay=0.1, reconnect_delay_max=0.1
    )

    async def read() -> Read:
        if not client.connected:
            await client.connect()
        found = {}
        for address in (IMPORT, EXPORT):
            answer = await client.read_holding_registers(address, count=2, device_id=_UNIT)
            if not answer.isError():  # as the manual has it; one register is a small number then
                low, high = [*answer.registers, 0][:2]
                found[address] = low | high << 16
        return found

    async def close() -> None:
        client.close()

    return read, close
