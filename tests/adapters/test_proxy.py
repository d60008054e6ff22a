"""The network that tests spoil leaves nothing open behind it, whenever it ends."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

import pytest

from tests.broker import HOST, free_port
from tests.outbox import HANGS
from tests.proxy import Proxy

MUCH = bytes(8_000_000)
"""more than the buffers on the way take"""


async def called(port: int, turns: int, *, cut: bool) -> None:
    """Five clients, of which one sends much; so many turns of the loop later the network is gone."""
    proxy = Proxy(port)
    async with proxy.running() as entrance:
        clients = [(await asyncio.open_connection(HOST, entrance))[1] for _ in range(5)]
        clients[0].write(MUCH)
        for _ in range(turns):
            await asyncio.sleep(0)
        if cut:
            proxy.cut()
    for client in clients:
        client.transport.abort()
        with suppress(OSError):
            await client.wait_closed()


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("turns", range(8))
async def test_a_network_that_ends_leaves_no_connection_open(turns: int, *, cut: bool) -> None:
    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(deaf, HOST, 0)
    for port in (server.sockets[0].getsockname()[1], free_port()):
        async with asyncio.timeout(HANGS):
            await called(port, turns, cut=cut)
    server.close()
    for writer in writers:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
    gc.collect()  # what was left open is told now, and that is an error
