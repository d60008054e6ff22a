"""A hundred meters behind one Modbus TCP port, ten float32 counters each that grow all the time."""

from __future__ import annotations

import asyncio
import shutil
import struct
import time
from pathlib import Path
from typing import cast

MODEL = Path(__file__).with_name("ten-floats.toml")
METERS = 100
VALUES = 10
_HEADER = struct.Struct(">HHHB")
_QUESTION = struct.Struct(">BHH")
_REQUEST = _HEADER.size + _QUESTION.size
_FUNCTION = 4
_STEP = 0.25
"""kWh a second: sums of it are exact in binary"""


class Meters(asyncio.Protocol):
    """One caller's conversation. It cuts the requests by their known length."""

    def __init__(self) -> None:
        self._heard = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: somebody calls."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """asyncio: requests have come."""
        self._heard += data
        while len(self._heard) >= _REQUEST and self._transport is not None:
            transaction, _, _, unit = _HEADER.unpack_from(self._heard)
            _, first, count = _QUESTION.unpack_from(self._heard, _HEADER.size)
            self._heard = self._heard[_REQUEST:]
            data = _words(unit, time.monotonic())[2 * first : 2 * (first + count)]
            pdu = bytes([_FUNCTION, len(data)]) + data
            self._transport.write(_HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu)


def _words(unit: int, now: float) -> bytes:
    grown = int(now) % 100_000 * _STEP
    return struct.pack(f">{VALUES}f", *(unit + number + grown for number in range(VALUES)))


async def listen() -> asyncio.Server:
    """The meters on a free port of this machine."""
    return await asyncio.get_running_loop().create_server(Meters, "127.0.0.1", 0)


def port_of(server: asyncio.Server) -> int:
    """Where they listen."""
    port: int = server.sockets[0].getsockname()[1]
    return port


def write_settings(folder: Path, server: asyncio.Server, broker: tuple[str, int], poll: str) -> Path:
    """A gateway.toml that polls them all; its store and the model lie beside it."""
    (folder / "models").mkdir()
    shutil.copy(MODEL, folder / "models")
    host, port = broker
    file = folder / "gateway.toml"
    meters = "".join(
        f'[[bus.meter]]\nid = "m-{number}"\nmodel = "{MODEL.stem}"\naddress = {number}\n'
        for number in range(1, METERS + 1)
    )
    file.write_text(
        f'site = "bench"\ngateway = "gw-01"\nstore = "sqlite:///gateway.db"\n'
        f'[mqtt]\nhost = "{host}"\nport = {port}\n'
        f'[[bus]]\nid = "modbus-1"\ndriver = "modbus"\nhost = "127.0.0.1"\nport = {port_of(server)}\npoll = "{poll}"\n'
        f"{meters}",
        encoding="utf-8",
    )
    return file
