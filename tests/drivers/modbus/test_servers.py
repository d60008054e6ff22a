"""Against servers that others wrote: pymodbus' own and the simulated building's."""

from __future__ import annotations

import asyncio
import struct

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.modbus import driver
from drivers.modbus.settings import BusSettings, MeterSettings
from simulators.modbus import Line, Unit, layouts
from tests.steady_time import LoopClock

METERS = {
    "sdm": MeterSettings(model="eastron-sdm630", address=1),
    "em": MeterSettings(model="carlo-gavazzi-em340", address=2),
}


async def read_all(port: int) -> dict[str, dict[str, str]]:
    bus = driver.open(BusSettings(host="127.0.0.1", port=port), METERS, LoopClock())
    answers = [await bus.read(meter) for meter in METERS]
    await bus.close()
    return {answer.meter: {value.register: str(value.index) for value in answer.values} for answer in answers}


async def test_the_simulated_building_is_read_to_the_step() -> None:
    units = [
        Unit(address=1, layout=layouts()["eastron-sdm630"]),
        Unit(address=2, layout=layouts()["carlo-gavazzi-em340"]),
    ]
    line = Line(units)
    port = await line.start()
    for counts in (0, 1, 33, 1_234_567, 13_107_199):
        for unit in units:
            unit.counts = {"import": counts, "export": counts // 2}
        assert await read_all(port) == {
            "sdm": {"import": f"{counts / 100:.2f}", "export": f"{counts // 2 / 100:.2f}"},
            "em": {"import": f"{counts / 10:.1f}", "export": f"{counts // 2 / 10:.1f}"},
        }
    await line.close()


async def test_a_pymodbus_server_is_read() -> None:
    floats = struct.unpack(">4H", struct.pack(">ff", 4321.5, 0.25))
    server = ModbusTcpServer(
        [
            SimDevice(id=1, simdata=[SimData(72, values=list(floats), datatype=DataType.REGISTERS)]),
            SimDevice(
                id=2,
                simdata=[
                    SimData(52, values=[0xE240, 0x0001], datatype=DataType.REGISTERS),
                    SimData(78, values=[0x0046, 0x0000], datatype=DataType.REGISTERS),
                ],
            ),
        ],
        address=("127.0.0.1", 0),
    )
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    port = server.transport.sockets[0].getsockname()[1]
    assert await read_all(port) == {
        "sdm": {"import": "4321.50", "export": "0.25"},
        "em": {"import": "12345.6", "export": "7.0"},
    }
    await server.shutdown()  # type: ignore[no-untyped-call] # pymodbus does not type it
