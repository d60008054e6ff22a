"""`python -m benches.modbus_script PORT FILE`: as people write it: one read a value, a commit for each meter."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time

from pymodbus.client import AsyncModbusTcpClient

from benches.modbus_plant import METERS, VALUES

_TABLE = "CREATE TABLE reading (at INTEGER, unit INTEGER, number INTEGER, value REAL)"


async def _main(port: int, file: str) -> None:
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(_TABLE)
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    due = time.monotonic()
    while True:
        for unit in range(1, METERS + 1):
            rows = []
            for number in range(VALUES):
                answer = await client.read_input_registers(2 * number, count=2, device_id=unit)
                value = client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32)
                rows.append((time.monotonic_ns() // 1000, unit, number, value))
            database.executemany("INSERT INTO reading VALUES (?, ?, ?, ?)", rows)
            database.commit()
        due += 1
        await asyncio.sleep(max(due - time.monotonic(), 0))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2]))
