"""Masters and decoders of other people on our simulated bus: they read it as a real one, so it may judge our driver."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import meterbus
import pymbusparser
import pytest
import serial

from drivers.mbus.telegram import decode
from simulators.mbus import Slave, captured_telegrams, records, telegrams_of_models
from simulators.pty import MBusWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BAUD = 9600
CONFIRM = b"\xe5"
KEY = bytes(range(16))
PATIENT, SHORT = 30.0, 1.0
"""seconds that pyMeterBus waits: the simulator may get no turn; and where silence is expected"""
HEADER = 6
"""octets of an answer that tell how many there are: of more it waits for, in silence, as long as it may"""
KINDS = telegrams_of_models()
HEAT, WATER = captured_telegrams()["itron-cf-55"], captured_telegrams()["itron-cyble-cold-water"]
MORE_RECORDS = {"inm-binary": "LVAR F0 is misread, the number's octets are taken for records"}
NOT_INTERPRETED = {"sensus-pollutherm": "07FB is no unit that pyMeterBus knows: KeyError"}
PARTLY_PARSED = {
    "aquametro-heat": "a signature of B627 is taken for encryption: no record",
    "elster-f96-plus": "hex digits in BCD end it: 4 of 16 records",
}


def meters() -> list[Slave]:
    """Two meters with one telegram, and one whose answer takes two."""
    return [
        Slave(address=1, captured=HEAT, serial="11127667", counts={"heat": 123, "volume": 45}),
        Slave(address=2, captured=WATER, serial="10020380", counts={"volume": 678}),
        Slave(address=3, captured=HEAT, serial="11120003", counts={"heat": 7}, more=(WATER,), lag=2.5 / BAUD),
    ]


class PyMeterBus:
    """Its serial functions on a device."""

    def __init__(self, device: Path, baud: int) -> None:
        self._port = serial.Serial(str(device), baud, timeout=PATIENT)

    def wait(self, seconds: float) -> None:
        self._port.timeout = seconds

    def ping(self, address: int) -> bytes | None:
        meterbus.send_ping_frame(self._port, address)
        answer: bytes | None = meterbus.recv_frame(self._port, 1)
        return answer

    def read(self, address: int) -> bytes:
        meterbus.send_request_frame(self._port, address)
        answer: bytes = meterbus.recv_frame(self._port, HEADER)
        return answer

    def read_all(self, address: int) -> list[bytes]:
        """All telegrams of an answer, as its own tool asks for them."""
        request = meterbus.send_request_frame_multi(self._port, address)
        answers: list[bytes] = [meterbus.recv_frame(self._port, HEADER)]
        while meterbus.load(answers[-1]).more_records_follow:
            request.header.cField.parts[0] ^= meterbus.CONTROL_MASK_FCB
            meterbus.send_request_frame_multi(self._port, req=request)
            answers.append(meterbus.recv_frame(self._port, HEADER))
        return answers

    def select(self, secondary: str) -> bytes | None:
        meterbus.send_select_frame(self._port, secondary)
        answer: bytes | None = meterbus.recv_frame(self._port, 1)
        return answer

    def close(self) -> None:
        self._port.close()


@asynccontextmanager
async def at(wire: MBusWire, baud: int = BAUD) -> AsyncIterator[Callable[..., Any]]:
    """Calls a method of pyMeterBus in a thread of its own; the simulator goes on here."""
    wire.plug()
    master = PyMeterBus(wire.link, baud)

    async def call(name: str, *arguments: object) -> object:
        return await asyncio.to_thread(getattr(master, name), *arguments)

    yield call
    master.close()
    wire.unplug()


@pytest.fixture
def wire(tmp_path: Path) -> MBusWire:
    return MBusWire(tmp_path / "ttyUSB0", meters(), baud=BAUD)


def values(frame: bytes) -> dict[str, Decimal]:
    """Unit -> the first value that pyMeterBus reads in it."""
    found: dict[str, Decimal] = {}
    for record in json.loads(meterbus.load(frame).to_JSON())["body"]["records"]:
        if isinstance(record["value"], int | float):
            found.setdefault(record["unit"], Decimal(str(record["value"])))
    return found


def digits(secondary: bytes) -> str:
    """A secondary address as pyMeterBus wants it: number, manufacturer, version, medium."""
    return (secondary[3::-1] + secondary[4:]).hex().upper()


async def test_pymeterbus_pings_and_reads_every_meter(wire: MBusWire) -> None:
    async with at(wire) as call:
        for slave in list(wire.slaves.values())[:2]:
            assert await call("ping", slave.address) == CONFIRM
            assert await call("read", slave.address) == slave.telegram()
        heat, water = [values(await call("read", address)) for address in (1, 2)]
    assert (heat["MeasureUnit.WH"], heat["MeasureUnit.M3"]) == (Decimal(1_230_000), Decimal(45))
    assert water["MeasureUnit.M3"] == Decimal("67.8")
    assert wire.slaves[1].wakes == 2


async def test_pymeterbus_reads_an_answer_of_two_telegrams(wire: MBusWire) -> None:
    async with at(wire) as call:
        await call("ping", 3)
        first, second = await call("read_all", 3)
    assert (first, second[19:-2]) == (wire.slaves[3].telegram(0)[:15] + first[15:], wire.slaves[3].telegram(1)[19:-2])
    assert second[15] == first[15] + 1


async def test_pymeterbus_selects_one_meter_and_reads_it_at_253(wire: MBusWire) -> None:
    async with at(wire) as call:
        for slave in list(wire.slaves.values())[:2]:
            assert await call("select", digits(slave.secondary())) == CONFIRM
            assert (await call("read", 253))[7:15] == slave.secondary()
        await call("wait", SHORT)
        assert await call("select", "99999999FFFFFFFF") is None
        assert await call("select", "1112FFFFFFFFFFFF") is False  # two heat meters: a collision
        await call("wait", PATIENT)
        assert await call("select", "10FFFFFFFFFFFFFF") == CONFIRM


async def test_pymeterbus_at_another_speed_hears_nothing(wire: MBusWire) -> None:
    wire.slaves[1].baud = 2400
    async with at(wire, 9600) as call:
        await call("wait", SHORT)
        assert await call("ping", 1) is None
        await call("wait", PATIENT)
        assert await call("ping", 2) == CONFIRM
    async with at(wire, 2400) as call:
        assert await call("ping", 1) == CONFIRM


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_pymeterbus_finds_the_meter_and_as_many_records_in_what_the_simulator_sends(kind: str) -> None:
    frame = Slave(address=7, captured=KINDS[kind], serial="12345678").telegram()
    telegram = meterbus.load(frame)
    header = telegram.body.bodyHeader
    assert header.id_nr == [0x12, 0x34, 0x56, 0x78]
    if kind in NOT_INTERPRETED:
        with pytest.raises(KeyError):
            telegram.to_JSON()
    else:
        found = len(json.loads(telegram.to_JSON())["body"]["records"])
        assert found == len(with_own_data(frame)) + (kind in MORE_RECORDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_pymbusparser_finds_the_same_records_in_what_the_simulator_sends(kind: str) -> None:
    frame = Slave(address=7, captured=KINDS[kind], serial="12345678").telegram()
    found = pymbusparser.parse(frame)
    assert found["meter"]["identity"]["id"] == "12345678"
    assert found["frame"]["address"] == "Primary (7)"
    octets = [bytes.fromhex(each["header_hex"] + each["data_hex"]) for each in found["records"]]
    if kind in PARTLY_PARSED:
        assert len(octets) < len(with_own_data(frame))
    else:
        assert octets == with_own_data(frame)


@pytest.mark.parametrize("mode", [5, 7])
def test_pymbusparser_and_our_decoder_decrypt_what_the_simulator_encrypts(mode: Literal[5, 7]) -> None:
    slave = Slave(address=7, captured=HEAT, serial="12345678", key=KEY, mode=mode)
    frame = slave.telegram()
    slave.key = None
    plain = decode(slave.telegram()).records
    assert decode(frame, KEY).records == plain
    found = pymbusparser.parse(frame, key=KEY)
    assert (found["security"]["mode_code"], found["security"]["payload_protection"]) == (mode, "encrypted")
    if mode == 5:  # it takes mode 7's extension of the configuration field for the first octet of the records
        assert len(found["records"]) == len(with_own_data(slave.telegram()))


def with_own_data(frame: bytes) -> list[bytes]:
    """The octets of every record; manufacturer data count as one, as both decoders have it."""
    found, rest = records.split(frame[19:-2])
    return [record.octets for record in found] + [rest] * bool(rest)


ELSEWHERE = os.pathsep.join(
    folder for folder in os.get_exec_path() if Path(folder).resolve() != Path(sys.executable).parent.resolve()
)
"""pyMeterBus brings programs of the same names"""
LIBMBUS = {
    name: found
    for name, found in {
        "mbus-serial-request-data": ("2", "10020380"),
        "mbus-serial-request-data-multi-reply": ("3", "11120003"),
        "mbus-serial-scan-secondary": ("1002FFFFFFFFFFFF", "10020380"),
    }.items()
    if shutil.which(name, path=ELSEWHERE)
}
"""its clients that this machine has: what they are asked for, and the number that they must tell"""

if LIBMBUS:

    @pytest.mark.parametrize("client", LIBMBUS)
    async def test_libmbus_finds_and_reads_the_meters(wire: MBusWire, client: str) -> None:
        asked, number = LIBMBUS[client]
        wire.plug()
        process = await asyncio.create_subprocess_exec(
            str(shutil.which(client, path=ELSEWHERE)),
            "-b",
            str(BAUD),
            str(wire.link),
            asked,
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await process.communicate()
        wire.unplug()
        assert number in told.decode()
