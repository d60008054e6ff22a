"""A broker is asked what it speaks, and whether it lets the gateway in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.mqtt.probe import ProbeError, probe
from gateway.mqtt.security import Security
from tests.broker import Broker

if TYPE_CHECKING:
    from pathlib import Path


def test_a_broker_that_refuses_is_quoted(tmp_path: Path) -> None:
    closed = Broker(tmp_path, "allow_anonymous false")
    closed.start()
    with pytest.raises(ProbeError, match="it refuses the gateway: Not authorized"):
        probe(closed.host, closed.port, Security())
    closed.stop()


async def test_a_broker_of_the_older_protocol_is_asked_in_it_and_one_that_is_none_is_told() -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(1000)
        five = b"MQTT\x05" in hello
        writer.write(bytes([0x20, 0x03, 0x00, 0x84, 0x00]) if five else bytes([0x20, 0x02, 0x00, 0x00]))
        await reader.read()
        writer.close()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.close()

    for behaviour, answer in ((old, "MQTT 3.1.1"), (mute, None)):
        async with await asyncio.start_server(behaviour, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            if answer:
                assert await asyncio.to_thread(probe, "127.0.0.1", port, Security()) == answer
            else:
                with pytest.raises(ProbeError, match="is this the port of a broker"):
                    await asyncio.to_thread(probe, "127.0.0.1", port, Security())
