"""A real Mosquitto for tests: on a port of its own, stopped, killed and started again at will."""

from __future__ import annotations

import getpass
import itertools
import os
import shutil
import socket
import subprocess
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"


def mosquitto() -> str:
    """The broker's program; skips the test where there is none."""
    places = [str(ROOT / ".tools" / "bin"), os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"]
    program = shutil.which("mosquitto", path=os.pathsep.join(places))
    if program is None:
        pytest.skip("Mosquitto is missing: scripts/get-mosquitto, or sudo apt install mosquitto")
    return program


class Broker:
    """One Mosquitto; forgets everything when it stops. `settings` are further lines of its configuration."""

    host = HOST

    def __init__(self, folder: Path, settings: str = "allow_anonymous true") -> None:
        self.program = mosquitto()
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        # as root it would change to a user who may not read the test's folder; and it drops what a slow
        # subscriber, as a test's own is on a busy machine, leaves waiting beyond the bound (1,000 by default)
        self._config.write_text(
            f"listener {self.port} {HOST}\npersistence false\nuser {getpass.getuser()}\nlog_type all\n"
            f"max_queued_messages 100000\n{settings}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again on the same port; returns once it accepts connections."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([self.program, "-c", str(self._config)], stdout=log, stderr=log)
        while not self._accepts():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.01)
                pytest.fail(f"Mosquitto ended at once:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send(self, signal: int) -> None:
        """Send the running broker a signal."""
        assert self._process is not None, "start it first"
        self._process.send_signal(signal)

    def _accepts(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex((HOST, self.port)) == 0


BLOCK = 100
FIRST, PAST = 20_000, 32_700
"""below what Linux gives to those who ask for any port (net.ipv4.ip_local_port_range, from 32768 on)"""


class _Ports:
    """Ports of this process alone: each may be left and taken again, and nobody else comes upon it meanwhile."""

    def __init__(self) -> None:
        self._claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ports = itertools.cycle(self._claimed())

    def __next__(self) -> int:
        for port in itertools.islice(self._ports, BLOCK):
            with closing(socket.socket()) as probe, suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ended connections do not matter
                probe.bind((HOST, port))
                return port
        message = f"no port of this block is free: {next(self._ports)} and the next"
        raise RuntimeError(message)

    def _claimed(self) -> range:
        """A block that no other process that runs tests has; it is let go with the process."""
        for first in range(FIRST, PAST - BLOCK, BLOCK):
            with suppress(OSError):
                self._claim.bind(f"\0submeter tests' ports from {first}")
                return range(first, first + BLOCK)
        message = "all ports for tests are taken; end what tests have left running"
        raise RuntimeError(message)


_ports = cache(_Ports)


def free_port() -> int:
    """A TCP port of this machine that nobody listens on, and nobody will unless told to."""
    return next(_ports())
