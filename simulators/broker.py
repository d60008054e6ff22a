"""A broker for the demo: the one named, else Mosquitto, else amqtt from the project's own tools."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shutil
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulators.processes import Children

_HOST = "127.0.0.1"
_TOOLS = Path(__file__).parents[1] / ".tools"
_DEFAULT_PORT = 1883
_LAST_PORT = 65535
_RETRY = 0.02
"""seconds"""


class BrokerError(Exception):
    """There is no broker. The text is one sentence."""


class AddressError(Exception):
    """The broker's address is none. The text is one sentence."""


async def connect(children: Children, folder: Path, named: str) -> tuple[str, int, str]:
    """Host, port and name of a broker that accepts connections; starts one as a child where none is named."""
    if named:
        host, port = _address(named)
        if not await _accepts(host, port):
            message = f"No broker answers at {named}: start it, or leave BROKER out and the demo brings its own."
            raise BrokerError(message)
        return host, port, "your broker"
    port = free_port()
    name, command = _own(folder, port)
    await children.start("broker", command)
    accepting = asyncio.create_task(_until_accepts(port))
    dying = asyncio.create_task(children.first_death())
    done, waiting = await asyncio.wait({accepting, dying}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    for task in done:
        task.result()
    return _HOST, port, name


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _address(named: str) -> tuple[str, int]:
    host, colon, port = named.rpartition(":")
    if not colon:
        return named, _DEFAULT_PORT
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= _LAST_PORT):
        message = f"BROKER={named} is no address: write host:port, such as 127.0.0.1:1883."
        raise AddressError(message)
    return host, int(port)


def _own(folder: Path, port: int) -> tuple[str, list[str]]:
    """Name and command of the broker that this machine has."""
    places = [os.environ.get("PATH", ""), str(_TOOLS / "bin"), "/usr/local/sbin", "/usr/sbin"]
    mosquitto = shutil.which("mosquitto", path=os.pathsep.join(places))
    if mosquitto is not None:
        settings = folder / "mosquitto.conf"
        # as root it would change to a user who may not read the folder
        settings.write_text(
            f"listener {port} {_HOST}\nallow_anonymous true\npersistence false\nuser {getpass.getuser()}\n"
            "max_queued_messages 0\n"
        )
        return "Mosquitto", [mosquitto, "-c", str(settings)]
    amqtt = _TOOLS / "amqtt" / "bin" / "amqtt"
    if amqtt.exists():
        settings = folder / "amqtt.yaml"
        listeners = {"default": {"type": "tcp", "bind": f"{_HOST}:{port}"}}
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        settings.write_text(json.dumps({"listeners": listeners, "plugins": plugins}))
        return "amqtt", [str(amqtt), "-c", str(settings)]
    message = (
        "There is no broker: run `make demo`, which brings one, or sudo apt install mosquitto, or BROKER=host:port."
    )
    raise BrokerError(message)


async def _until_accepts(port: int) -> None:
    while True:
        if await _accepts(_HOST, port):
            return
        await asyncio.sleep(_RETRY)


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
