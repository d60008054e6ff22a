"""A master and a server of other people: mbpoll reads our simulator, our driver reads modbus-tk."""

from __future__ import annotations

import asyncio
import os
import re
import struct
import threading
import tty
from contextlib import asynccontextmanager, contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import serial
from modbus_tk import defines, modbus_rtu, modbus_tcp

from drivers.modbus import driver
from gateway.ports.field import NoAnswerError, WrongAnswerError
from simulators.modbus import Line, RtuLine, Unit, layouts_of_models, sunspec
from simulators.pty import RtuWire
from tests.broker import ROOT, free_port
from tests.steady_time import LoopClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from modbus_tk.modbus import Server

    from gateway.ports.field import MeterBus

MBPOLL = ROOT / ".tools/bin/mbpoll"
KINDS = layouts_of_models()
BAUD = 38400
COUNTS = 123_456
"""more than one word, and as a float32 still told to the step"""
_VALUE = re.compile(r"^\[\d+\]:\s+(\S+)", re.MULTILINE)


PATIENT, SHORT = 10.0, 0.5
"""seconds that mbpoll waits: the most that it takes, as the simulator may get no turn; and where silence is expected"""


async def mbpoll(*arguments: str, seconds: float = PATIENT) -> tuple[list[str], str]:
    """The values that it tells, and why there are none."""
    if not MBPOLL.exists():
        pytest.skip("mbpoll is missing: scripts/get-mbpoll, or sudo apt install mbpoll")
    process = await asyncio.create_subprocess_exec(
        str(MBPOLL),
        *("-0", "-1", "-o", str(seconds)),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, problem = await process.communicate()
    return _VALUE.findall(told.decode()), problem.decode().strip()


def meters() -> list[Unit]:
    """One of each model file, and a SunSpec meter."""
    kinds = {**KINDS, "sunspec": sunspec(203)}
    return [
        Unit(address=n, layout=layout, counts=dict.fromkeys(layout.counters, COUNTS + n))
        for n, layout in enumerate(kinds.values(), start=1)
    ]


def place(unit: Unit, key: str) -> tuple[str, str]:
    """The table (3 input, 4 holding registers in the terms of mbpoll) and the address of a counter."""
    counter = unit.layout.counters[key]
    return ("4" if counter.function == 3 else "3"), str(counter.address)


@asynccontextmanager
async def serving(line: Line | RtuLine) -> AsyncIterator[int]:
    """The port of a line."""
    try:
        yield await line.start()
    finally:
        await line.close()


@contextmanager
def plugged(wire: RtuWire) -> Iterator[str]:
    """The device of a wire."""
    wire.plug()
    try:
        yield str(wire.link)
    finally:
        wire.unplug()


async def polled(unit: Unit, *where: str) -> dict[str, int | float]:
    """What mbpoll makes of the counters that it can read: 32 bits, in either order."""
    found: dict[str, int | float] = {}
    for key, counter in unit.layout.counters.items():
        if counter.size != 2:
            continue
        table, address = place(unit, key)
        form = "float" if counter.type == "float32" else "int"
        order = ["-B"] if counter.order == "big" else []
        (value,), problem = await mbpoll(
            "-a", str(unit.address), "-t", f"{table}:{form}", "-r", address, *order, *where
        )
        assert not problem
        found[key] = float(value) if form == "float" else int(value)
    return found


def shown(unit: Unit) -> object:
    """What the 32-bit counters of a meter stand at, as raw numbers; mbpoll tells floats to six digits."""
    raw = {
        key: unit.counts[key] * Fraction(counter.step) / Fraction(counter.scale)
        for key, counter in unit.layout.counters.items()
        if counter.size == 2
    }
    return pytest.approx({key: float(value) for key, value in raw.items()}, rel=1e-5)


async def test_mbpoll_reads_every_meter_over_tcp() -> None:
    units, seen = meters(), 0
    async with serving(Line(units)) as port:
        for unit in units:
            found = await polled(unit, "-p", str(port), "127.0.0.1")
            assert found == shown(unit)
            seen += len(found)
    assert seen > len(KINDS)


async def test_mbpoll_reads_meters_on_a_serial_device(tmp_path: Path) -> None:
    units = dict(zip(KINDS, meters(), strict=False))
    with plugged(RtuWire(tmp_path / "ttyUSB0", units.values(), baud=BAUD)) as device:
        for name in ("eastron-sdm630", "carlo-gavazzi-em340", "acrel-adw300"):
            found = await polled(units[name], "-m", "rtu", "-b", str(BAUD), "-P", "even", device)
            assert found
            assert found == shown(units[name])


async def test_mbpoll_reads_the_words_of_64_bits(tmp_path: Path) -> None:
    unit = Unit(address=1, layout=KINDS["abb-b23"], counts={"import": 0x0001_0203_0405_0607})
    table, address = place(unit, "import")
    what = ["-t", f"{table}:hex", "-r", address, "-c", "4"]
    with plugged(RtuWire(tmp_path / "ttyUSB0", [unit], baud=BAUD)) as device:
        words, _ = await mbpoll("-m", "rtu", "-b", str(BAUD), "-P", "none", *what, device)
    assert words == ["0x0001", "0x0203", "0x0405", "0x0607"]


async def test_mbpoll_at_another_speed_hears_nothing(tmp_path: Path) -> None:
    unit = Unit(address=1, layout=KINDS["eastron-sdm630"], baud=19200)
    what = ["-m", "rtu", "-P", "none", "-t", "3", "-r", "72", "-c", "2"]
    with plugged(RtuWire(tmp_path / "ttyUSB0", [unit], baud=BAUD)) as device:
        assert (await mbpoll(*what, "-b", "9600", device, seconds=SHORT))[1].endswith("timed out")
        assert await mbpoll(*what, "-b", "19200", device) == (["0", "0"], "")


@pytest.mark.parametrize(
    ("arguments", "problem", "seconds"),
    [
        (["-t", "4", "-r", "72"], "Illegal function", PATIENT),
        (["-t", "3", "-r", "70", "-c", "2"], "Illegal data address", PATIENT),
        (["-t", "3", "-r", "72", "-c", "3"], "Illegal data value", PATIENT),
        (["-t", "3", "-r", "72", "-c", "2", "-a", "9"], "timed out", SHORT),
    ],
)
async def test_mbpoll_is_refused_as_by_the_standard(
    arguments: list[str], problem: str, seconds: float, tmp_path: Path
) -> None:
    unit = Unit(address=1, layout=KINDS["eastron-sdm630"])
    async with serving(Line([unit])) as port:
        with plugged(RtuWire(tmp_path / "ttyUSB0", [unit], baud=BAUD)) as device:
            for where in (["-p", str(port), "127.0.0.1"], ["-m", "rtu", "-b", str(BAUD), "-P", "none", device]):
                values, told = await mbpoll(*arguments, *where, seconds=seconds)
                assert values == []
                assert problem in told


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_our_driver_reads_every_meter_to_the_step(framing: str) -> None:
    units = meters()[: len(KINDS)]
    line = Line(units) if framing == "tcp" else RtuLine(units)
    wired = {name: {"model": name, "address": unit.address} for name, unit in zip(KINDS, units, strict=True)}
    async with serving(line) as port, opened({"host": "127.0.0.1", "port": port, "framing": framing}, wired) as bus:
        for name, unit in zip(KINDS, units, strict=True):
            found = {key: Fraction(index) for key, index in (await reads(bus, name)).items()}
            assert found == {key: unit.counts[key] * Fraction(c.step) for key, c in unit.layout.counters.items()}


@asynccontextmanager
async def opened(settings: dict[str, Any], wired: dict[str, dict[str, Any]]) -> AsyncIterator[MeterBus]:
    """Our driver's bus."""
    meters = {key: driver.meter_schema.model_validate(meter) for key, meter in wired.items()}
    bus = driver.open(driver.bus_schema.model_validate(settings), meters, LoopClock())
    try:
        yield bus
    finally:
        await bus.close()


SERVED = {
    "carlo-gavazzi-em340": (
        defines.HOLDING_REGISTERS,
        {52: struct.unpack(">HH", struct.pack(">I", 1_234_567))[::-1], 78: (0xFFFE, 0xFFFF)},
        {"import": "123456.7", "export": "-0.2"},
    ),
    "eastron-sdm630": (
        defines.ANALOG_INPUTS,
        {72: struct.unpack(">HHHH", struct.pack(">ff", 4321.5, 0.25))},
        {"import": "4321.50", "export": "0.25"},
    ),
    "tq-em300": (
        defines.HOLDING_REGISTERS,
        {0x200: struct.unpack(">8H", struct.pack(">QQ", 9_007_199_254_740_993, 7))},
        {"import": "900719925474.0993", "export": "0.0007"},
    ),
    "siemens-pac2200": (
        defines.HOLDING_REGISTERS,
        {801: struct.unpack(">16H", struct.pack(">dddd", 123_456_789.0, 0.0, 5.0, 0.0))},
        {"import": "123456.789", "export": "0.005"},
    ),
}
"""model -> table, words by address, what must be read"""


def fill(server: Server) -> dict[str, dict[str, Any]]:
    """Put the meters into a modbus-tk server; how they are wired."""
    wired = {}
    for unit, (name, (table, blocks, _)) in enumerate(SERVED.items(), start=1):
        slave = server.add_slave(unit)
        for address, words in blocks.items():
            slave.add_block(str(address), table, address, len(words))
            slave.set_values(str(address), address, words)
        wired[name] = {"model": name, "address": unit}
    return wired


async def reads(bus: MeterBus, name: str) -> dict[str, str]:
    answer = await bus.read(name)
    return {value.register: str(value.index) for value in answer.values}


@asynccontextmanager
async def tcp_server() -> AsyncIterator[tuple[Server, dict[str, Any]]]:
    """A modbus-tk server, and the line to it."""
    port, listening = free_port(), threading.Event()

    class Told(modbus_tcp.TcpServer):  # type: ignore[misc] # untyped
        def _do_init(self) -> None:
            super()._do_init()
            listening.set()

    server = Told(port=port, address="127.0.0.1")
    server.start()
    await asyncio.to_thread(listening.wait)
    try:
        yield server, {"host": "127.0.0.1", "port": port}
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def rtu_server(folder: Path) -> AsyncIterator[tuple[Server, dict[str, Any]]]:
    """A modbus-tk server at one end of a serial line, our driver at the other."""
    (server_end, server_tty), (our_end, our_tty) = os.openpty(), os.openpty()
    loop = asyncio.get_running_loop()
    for end, other in ((server_end, our_end), (our_end, server_end)):
        loop.add_reader(end, _hand_over, end, other)
    for end in (server_tty, our_tty):
        tty.setraw(end)
    link = folder / "ttyUSB0"
    link.symlink_to(os.ttyname(our_tty))
    server = modbus_rtu.RtuServer(serial.Serial(os.ttyname(server_tty), BAUD))
    server.start()
    try:
        yield server, {"device": str(link), "baud": BAUD}
    finally:
        await asyncio.to_thread(server.stop)
        for end in (server_end, our_end):
            loop.remove_reader(end)
        for end in (server_end, our_end, server_tty, our_tty):
            os.close(end)


def _hand_over(end: int, other: int) -> None:
    os.write(other, os.read(end, 4096))


OLD_NAMES = pytest.mark.filterwarnings("ignore:isSet:DeprecationWarning")
"""modbus-tk uses names of threading that are to go"""


@OLD_NAMES
@pytest.mark.parametrize("way", ["tcp", "rtu"])
async def test_our_driver_reads_a_server_that_is_not_ours(way: str, tmp_path: Path) -> None:
    async with (
        tcp_server() if way == "tcp" else rtu_server(tmp_path) as (server, settings),
        opened(settings, fill(server)) as bus,
    ):
        for name, (_, _, right) in SERVED.items():
            assert await reads(bus, name) == right


@OLD_NAMES
async def test_its_refusals_and_silences_are_told_and_the_next_meter_is_read() -> None:
    """modbus-tk: exception 2 outside of its blocks, 1 for a function without any, nothing for a unit that it lacks."""
    async with tcp_server() as (server, settings):
        wired = fill(server) | {
            "empty": {"model": "eastron-sdm630", "address": 1},
            "absent": {"model": "eastron-sdm630", "address": 9},
        }
        async with opened(settings | {"timeout": 0.3}, wired) as bus:
            with pytest.raises(WrongAnswerError, match=r"unit 1 refuses: exception 2 \(illegal data address\)"):
                await bus.read("empty")
            with pytest.raises(NoAnswerError, match="unit 9 gives no answer"):
                await bus.read("absent")
            assert await reads(bus, "eastron-sdm630") == SERVED["eastron-sdm630"][2]
