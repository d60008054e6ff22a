from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from simulators import modbus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def eastron() -> modbus.Unit:
    return modbus.Unit(address=7, layout=modbus.layouts()["eastron-sdm630"], counts={"import": 1_234_567})


@pytest.fixture
def gavazzi() -> modbus.Unit:
    return modbus.Unit(address=8, layout=modbus.layouts()["carlo-gavazzi-em340"], counts={"import": 123_456})


@pytest.fixture
async def client(eastron: modbus.Unit, gavazzi: modbus.Unit) -> AsyncIterator[AsyncModbusTcpClient]:
    line = modbus.Line([eastron, gavazzi])
    client = AsyncModbusTcpClient("127.0.0.1", port=await line.start(), retries=0, timeout=0.3)
    assert await client.connect()
    yield client
    client.close()
    await line.close()


async def test_another_client_reads_a_float_counter(client: AsyncModbusTcpClient) -> None:
    answer = await client.read_input_registers(72, count=4, device_id=7)
    value = client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32)
    assert value == [struct.unpack(">f", struct.pack(">f", 12345.67))[0], 0.0]


async def test_another_client_reads_an_integer_counter_low_word_first(client: AsyncModbusTcpClient) -> None:
    answer = await client.read_holding_registers(52, count=2, device_id=8)
    assert client.convert_from_registers(answer.registers, client.DATATYPE.INT32, word_order="little") == 123_456


async def test_what_a_meter_does_not_offer_is_refused(client: AsyncModbusTcpClient) -> None:
    assert (await client.read_holding_registers(72, count=2, device_id=7)).exception_code == 1
    assert (await client.read_input_registers(70, count=4, device_id=7)).exception_code == 2
    assert (await client.read_holding_registers(52, count=28, device_id=8)).exception_code == 2


async def test_a_failing_unit_answers_with_an_exception(client: AsyncModbusTcpClient, eastron: modbus.Unit) -> None:
    eastron.fault = "exception"
    assert (await client.read_input_registers(72, count=2, device_id=7)).exception_code == 4


async def test_a_silent_or_absent_unit_leaves_its_neighbour_alone(
    client: AsyncModbusTcpClient, eastron: modbus.Unit
) -> None:
    eastron.fault = "silence"
    with pytest.raises(ModbusIOException):
        await client.read_input_registers(72, count=2, device_id=7)
    with pytest.raises(ModbusIOException):
        await client.read_input_registers(72, count=2, device_id=9)
    assert not (await client.read_holding_registers(52, count=2, device_id=8)).isError()


async def test_a_lying_unit_answers_as_another_one(eastron: modbus.Unit) -> None:
    eastron.fault = "wrong_unit"
    line = modbus.Line([eastron])
    reader, writer = await asyncio.open_connection("127.0.0.1", await line.start())
    writer.write(bytes.fromhex("000100000006070400480002"))
    answer = await reader.readexactly(13)
    assert answer[:4] == bytes.fromhex("00010000")
    assert answer[6] != 7
    writer.close()
    await line.close()
