"""A badge reader on a serial line: STX, the identifier in hex, ETX for a badge; ACK or NAK shows its lamp."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_AGAIN = 0.2
"""seconds between two reports of a badge that is held"""
_LAMPS = {0x06: "green", 0x15: "red"}


class Reader:
    """A reader behind a link that looks like an adapter's device file; `async with` plugs it in and out."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.shown: asyncio.Queue[str] = asyncio.Queue()
        """what the lamp has shown: green, red"""
        self._end = -1
        self._other = -1

    async def __aenter__(self) -> Self:
        self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unplug()

    def plug(self) -> None:
        """Make the device appear."""
        self._end, self._other = pty.openpty()
        tty.setraw(self._other)
        os.set_blocking(self._end, False)
        self.link.symlink_to(os.ttyname(self._other))
        asyncio.get_running_loop().add_reader(self._end, self._hear)

    def unplug(self) -> None:
        """Make it vanish; once more does nothing."""
        if self._end == -1:
            return
        asyncio.get_running_loop().remove_reader(self._end)
        self.link.unlink()
        os.close(self._end)
        os.close(self._other)
        self._end = self._other = -1

    def hold(self, identifier: str) -> None:
        """The reader reports a badge once."""
        os.write(self._end, b"\x02" + identifier.encode("ascii") + b"\x03")

    def noise(self, octets: bytes) -> None:
        """The line carries octets that are no report."""
        os.write(self._end, octets)

    async def tap(self, identifier: str) -> str:
        """Hold a badge to the reader, which reports it again and again, until its lamp shows something."""
        while not self.shown.empty():
            self.shown.get_nowait()
        while True:
            self.hold(identifier)
            try:
                async with asyncio.timeout(_AGAIN):
                    return await self.shown.get()
            except TimeoutError:
                continue

    def _hear(self) -> None:
        for octet in os.read(self._end, 64):
            if octet in _LAMPS:
                self.shown.put_nowait(_LAMPS[octet])
