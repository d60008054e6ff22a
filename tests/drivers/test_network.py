"""A converter has one master of this machine, whatever its host is called."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from drivers.network import canonical, tcp
from gateway.ports.field import LineDownError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from drivers.network import Line

SECONDS = 5.0
THIS_MACHINE = ("127.0.0.1", "localhost", "LocalHost", "localhost.", "::1", "::ffff:127.0.0.1", "127.1")
"""of one converter, each with the others"""
BOTH = ("::1", "127.0.0.1")


class Converter:
    """Listens at all of its hosts, at one port; echoes, and counts who has come."""

    def __init__(self, *hosts: str, port: int = 0) -> None:
        self.port = port
        self.connections = 0
        self._hosts = hosts
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for host in self._hosts:
            server = await asyncio.start_server(self._accept, host, self.port)
            self._servers.append(server)
            self.port = server.sockets[0].getsockname()[1]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while octets := await reader.read(99):
                writer.write(octets)
        finally:
            writer.close()
            await writer.wait_closed()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


@asynccontextmanager
async def listening(*hosts: str, port: int = 0) -> AsyncIterator[Converter]:
    converter = Converter(*hosts, port=port)
    await converter.start()
    yield converter
    await converter.close()


@pytest.fixture
async def converter() -> AsyncIterator[Converter]:
    async with listening(*BOTH) as converter:
        yield converter


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Host names and their addresses, as a name server would tell them."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def found(host: str, *rest: Any, **more: Any) -> list[Any]:  # noqa: ANN401 - as the standard library has it
        return [each for address in known.get(host, [host]) for each in real(address, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return known


async def echoed(line: Line) -> bytes:
    await line.send(b"!")
    return await line.receive(SECONDS)


@pytest.mark.parametrize("second", THIS_MACHINE)
@pytest.mark.parametrize("first", ["127.0.0.1", "localhost", "::1"])
async def test_a_second_master_is_refused_before_the_converter_hears_of_it_whatever_the_host_is_called(
    converter: Converter, names: dict[str, list[str]], first: str, second: str
) -> None:
    names["localhost."] = ["127.0.0.1"]  # not every name server knows it
    line = await tcp(first, converter.port, SECONDS)()
    assert await echoed(line) == b"!"
    with pytest.raises(LineDownError, match=f"^{second}:{converter.port} is in use by another program of this machine"):
        await tcp(second, converter.port, SECONDS)()
    assert converter.connections == 1
    assert await echoed(line) == b"!", "and the first is not disturbed"
    await line.close()
    again = await tcp(second, converter.port, SECONDS)()
    assert await echoed(again) == b"!"
    await again.close()


async def test_two_names_of_one_address_are_one_converter(converter: Converter, names: dict[str, list[str]]) -> None:
    names["converter.house"] = names["cellar.house"] = ["127.0.0.1"]
    line = await tcp("converter.house", converter.port, SECONDS)()
    with pytest.raises(LineDownError, match="is in use by another program"):
        await tcp("cellar.house", converter.port, SECONDS)()
    await line.close()


async def test_two_ports_of_one_host_are_two_converters(converter: Converter) -> None:
    async with listening("127.0.0.1") as other:
        lines = [await tcp("127.0.0.1", each.port, SECONDS)() for each in (converter, other)]
        for line in lines:
            assert await echoed(line) == b"!"
            await line.close()


async def test_two_addresses_are_two_converters(converter: Converter) -> None:
    async with listening("127.0.0.2", port=converter.port):
        lines = [await tcp(host, converter.port, SECONDS)() for host in ("127.0.0.1", "127.0.0.2")]
        for line in lines:
            assert await echoed(line) == b"!"
            await line.close()


async def test_the_next_address_of_a_host_is_tried_and_the_claim_of_the_first_is_let_go(
    converter: Converter, names: dict[str, list[str]]
) -> None:
    """127.0.0.3 refuses: nobody listens there."""
    names["converter.house"] = ["127.0.0.3", "127.0.0.1"]
    line = await tcp("converter.house", converter.port, SECONDS)()
    assert await echoed(line) == b"!"
    async with listening("127.0.0.3", port=converter.port):
        first = await tcp("127.0.0.3", converter.port, SECONDS)()
        assert await echoed(first) == b"!"
        await first.close()
        await line.close()


async def test_a_connection_that_fails_lets_go_of_its_claim() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        connect = tcp("127.0.0.1", unused.getsockname()[1], SECONDS)
        for _ in range(2):
            with pytest.raises(LineDownError, match=r"cannot be connected \(.*\); check host, port and"):
                await connect()


async def test_a_connection_that_takes_too_long_lets_go_of_its_claim() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        filler = socket.create_connection(("127.0.0.1", port))  # nobody accepts it, and there is no room for another
        connect = tcp("127.0.0.1", port, 0.05)
        for _ in range(2):
            with pytest.raises(LineDownError, match=r"does not answer within 0.05 s; check network and power"):
                await connect()
        filler.close()


SAME: list[tuple[str, str]] = [
    ("Converter.House", "converter.house."),
    ("LOCALHOST", "127.0.0.1"),
    ("localhost.", "::1"),
    ("::ffff:10.0.0.5", "10.0.0.5"),
    ("FE80::0:1", "fe80::1"),
    ("0:0:0:0:0:0:0:1", "127.0.0.1"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_writings_of_one_host_are_one(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(("one", "other"), [("127.0.0.1", "127.0.0.2"), ("a.house", "b.house"), ("::1", "::2")])
@pytest.mark.parametrize("change", [str, str.upper])
def test_hosts_that_may_be_two_are_two(one: str, other: str, change: Callable[[str], str]) -> None:
    assert canonical(change(one)) != canonical(change(other))
