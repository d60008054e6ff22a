"""A slave on TCP that says what a test has written down, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True)
class Cut:
    """Send these octets, then close the connection."""

    octets: bytes = b""


Step = bytes | Cut | Callable[[], Awaitable[bytes]]


CAPTURED = {
    case["name"].split("/")[1]: bytes.fromhex(case["hex"])
    for case in map(
        json.loads, (Path(__file__).parents[2] / "data" / "mbus-frames.jsonl").read_text("utf-8").splitlines()
    )
}


def long_frame(user_data: bytes, *, address: int = 1, control: int = 0x08) -> bytes:
    """A long frame with right lengths and checksum."""
    body = bytes([control, address]) + user_data
    return bytes([0x68, len(body), len(body), 0x68]) + body + bytes([sum(body) & 0xFF, 0x16])


def from_address(frame: bytes, address: int) -> bytes:
    """The same answer as another slave would send it."""
    return long_frame(frame[6:-2], address=address, control=frame[4])


def request(code: str, address: int = 1) -> bytes:
    """A short frame: "nke", "ud2" with frame count bit 0, or "ud2+" with 1."""
    control = {"nke": 0x40, "ud2": 0x5B, "ud2+": 0x7B}[code]
    return bytes([0x10, control, address, control + address & 0xFF, 0x16])


class Slave:
    """Each REQ_UD2 takes the next step of the script: octets, a cut, or a coroutine that gives octets.

    Once the script is over it stays silent. SND_NKE is acknowledged unless `deaf`.
    """

    def __init__(self, *script: Step, deaf: bool = False) -> None:
        self.script = list(script)
        self.requests: list[bytes] = []
        self.callers = 0
        self.port = 0
        self._deaf = deaf
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(await reader.readexactly(5), writer):
                await writer.drain()
        writer.close()

    async def _answer(self, frame: bytes, writer: asyncio.StreamWriter) -> bool:
        self.requests.append(frame)
        if frame[1] == 0x40:
            writer.write(b"" if self._deaf else b"\xe5")
            return True
        step = self.script.pop(0) if self.script else b""
        if isinstance(step, Cut):
            writer.write(step.octets)
            return False
        writer.write(step if isinstance(step, bytes) else await step())
        return True
