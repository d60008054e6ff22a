"""A TCP port that several masters may call."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod


class Port(ABC):
    """Listens; each caller gets a conversation of its own, ended with the port."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one caller until he hangs up; EOFError and ConnectionError end it as well."""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; the port that was taken (a free one for 0)."""
        self._server = await asyncio.start_server(self._accept, host, port)
        taken: int = self._server.sockets[0].getsockname()[1]
        return taken

    async def close(self) -> None:
        """Hang up and stop listening."""
        if self._server is not None:
            self._server.close()
        for conversation in tuple(self._conversations):
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.create_task(self._end_with(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _end_with(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, EOFError):
                await self.converse(reader, writer)
        finally:
            writer.close()
