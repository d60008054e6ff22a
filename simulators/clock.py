"""The gateway's clock, stepped from outside over the Unix socket that SUBMETER_CLOCK names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_RETRY = 0.02
"""seconds"""


class ClockError(Exception):
    """The gateway does not follow its clock. The text is one sentence."""


class Clock:
    """One instant after the other; each is answered when all that was due by then is done."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def step(self, to: datetime) -> None:
        """Go to an instant in UTC, at the first call as soon as the gateway listens; ClockError."""
        if self._streams is None:
            self._streams = await self._connect()
        reader, writer = self._streams
        line = f"{to:%Y-%m-%dT%H:%M:%SZ}\n".encode()
        try:
            writer.write(line)
            answer = await reader.readline()
        except ConnectionError:
            answer = b""
        if answer != line:
            message = (
                f"The gateway was told {line.decode().strip()} and answered {answer.decode().strip() or 'nothing'}."
            )
            raise ClockError(message)

    async def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_unix_connection(self._socket)
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(_RETRY)
