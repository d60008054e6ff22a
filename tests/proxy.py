"""A network between a client and a server that a test spoils: cut, slow, half closed, or silent."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.broker import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True, eq=False)
class Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    silent: bool = False


class Proxy:
    """Passes connections on to a port of this machine."""

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        """seconds that every piece of data is held back"""
        self.accepted = 0
        """connections so far"""
        self._target = port
        self._over = False
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """The port to connect to."""
        server = await asyncio.start_server(self._accept, HOST, 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            self._over = True
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End all connections without a goodbye; what was under way is lost."""
        for link in self._links:
            link.client.transport.abort()
            link.server.transport.abort()

    def half_close(self, *, towards_client: bool) -> None:
        """Say on one side that nothing more will come, and go on listening to it."""
        for link in self._links:
            (link.client if towards_client else link.server).write_eof()

    def fall_silent(self) -> None:
        """Keep the present connections open, and pass nothing on any more."""
        for link in self._links:
            link.silent = True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._over:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also where it was cancelled before it began

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(HOST, self._target)
        except OSError:  # nobody listens there: the client is let go
            return
        link = Link(client=writer, server=to_server)
        self._links.add(link)
        self.accepted += 1
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(link, reader, to_server))
                group.create_task(self._pass_on(link, from_server, writer))
        finally:
            self._links.discard(link)
            for end in (writer, to_server):
                end.close()
            for end in (writer, to_server):
                with suppress(OSError):
                    await end.wait_closed()

    async def _pass_on(self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):  # cut, or written to after its end was said
            while data := await source.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not link.silent:
                    sink.write(data)
                    await sink.drain()
            sink.write_eof()
