"""A serial line behind a converter with a TCP port: octets out, octets in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Protocol

from gateway.ports.field import LineDownError

if TYPE_CHECKING:
    from collections.abc import Iterable

    _Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
    _AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]

_CLOSE_SECONDS = 1.0
_WATCH = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
"""a converter that lost its power says no good-bye: it is missed within a minute (TCP_USER_TIMEOUT in ms)"""
_THIS_MACHINE, _THIS_MACHINE_6 = "127.0.0.1", IPv6Address("::1")


class Line(Protocol):
    """An open line. LineDownError from any method once it is lost."""

    async def send(self, octets: bytes) -> None:
        """Put octets on the line."""

    async def receive(self, seconds: float) -> bytes:
        """The octets that have come, at least one; none where `seconds` pass in silence."""

    async def close(self) -> None:
        """Let go of the line."""


class Connect(Protocol):
    """Opens the line; LineDownError with one sentence where it cannot be opened."""

    async def __call__(self) -> Line:
        """Open it."""


class TcpLine:
    """A line behind a TCP port, which passes octets as they are."""

    def __init__(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, claim: socket.socket
    ) -> None:
        """`claim` is held for as long as the line is."""
        self._name = name
        self._claim = claim
        self._reader = reader
        self._writer = writer

    async def send(self, octets: bytes) -> None:
        """Hand the octets to the network."""
        try:
            self._writer.write(octets)
            await self._writer.drain()
        except OSError as error:
            raise self._lost() from error

    async def receive(self, seconds: float) -> bytes:
        """Octets as they come from the network; cancelling loses none."""
        await asyncio.sleep(0)  # who was cancelled meanwhile ends here: with no time left, the time-out would win
        try:
            async with asyncio.timeout(max(seconds, 0)):
                octets = await self._reader.read(4096)
        except TimeoutError:
            return b""
        except OSError as error:
            raise self._lost() from error
        if not octets:
            raise self._lost()
        return octets

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):  # lost already, or a peer that is gone: closed all the same
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.wait_closed()
        self._writer.transport.abort()
        self._claim.close()

    def _lost(self) -> LineDownError:
        return LineDownError(f"{self._name} closed the connection; check the converter")


def tcp(host: str, port: int, seconds: float) -> Connect:
    """How to connect to a converter, waiting at most `seconds`."""
    name = f"{host}:{port}"

    async def connect() -> Line:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await _reached(name, await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except TimeoutError as error:
            message = f"{name} does not answer within {seconds:g} s; check network and power of the converter"
            raise LineDownError(message) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: the host can be no name
            reason = getattr(error, "strerror", None) or error
            message = f"{name} cannot be connected ({reason}); check host, port and converter"
            raise LineDownError(message) from error

    return connect


def canonical(host: str) -> str:
    """One writing for what is surely one host: names have no case and may end with a dot, this machine has several."""
    name = host.lower().removesuffix(".")
    if name == "localhost":
        return _THIS_MACHINE
    try:
        address = ip_address(name)
    except ValueError:
        return name
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return _THIS_MACHINE if address == _THIS_MACHINE_6 else str(address)


async def _reached(name: str, found: Iterable[_AddressInfo]) -> TcpLine:
    """The line behind the first address of the host that can be connected; OSError of the last one."""
    failure = OSError(f"{name} has no address")
    for family, _, _, _, address in found:
        try:
            return await _connected(name, family, address)
        except OSError as error:
            failure = error
    raise failure


async def _connected(name: str, family: int, address: _Address) -> TcpLine:
    """Claimed by the address and not by what the host is called, before the converter sees anything of us."""
    with contextlib.ExitStack() as unless_open:
        claim = unless_open.enter_context(_claim(name, str(address[0])))
        connection = unless_open.enter_context(socket.socket(family, socket.SOCK_STREAM))
        connection.settimeout(0)
        await asyncio.get_running_loop().sock_connect(connection, address)
        _watch(connection)
        reader, writer = await asyncio.open_connection(sock=connection)
        unless_open.pop_all()
    return TcpLine(name, reader, writer, claim)


def _claim(name: str, address: str) -> socket.socket:
    """Keeps every other program of this machine off the line: converters often let two masters talk at once.

    A name in the abstract namespace (unix(7)): it needs no file, and ends with the process however that ends.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0submeter line {canonical(address)} {name.rpartition(':')[2]}")
    except OSError as error:
        claim.close()
        message = f"{name} is in use by another program of this machine; end that one (is `submeter run` active?)"
        raise LineDownError(message) from error
    return claim


def _watch(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _WATCH.items():
        if hasattr(socket, name):  # not every system has them all
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
