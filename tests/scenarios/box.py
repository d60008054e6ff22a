"""An installed gateway in small, for the doctor to look at."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from simulators.mbus import Line, Slave, captured_telegrams
from tests.adapters.stores import new_store
from tests.delivery import GATEWAY, listening
from tests.scenarios.plant import begin

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.broker import Broker

MODEL, SERIAL = "emu-professional-375", "00032621"
SYNCHRONISED = "from pathlib import Path; from gateway import cli, clock; clock.TIMESYNC = Path('/'); cli.main()"
"""a command on a machine whose clock is right"""
UNIT = "LoadState=loaded\\nWatchdogUSec=1min\\n"


class Box:
    """A meter, a broker, a systemd that says what it is told to, and the settings of it all."""

    def __init__(self, folder: Path, slave: Slave, port: int, broker: Broker) -> None:
        self.folder = folder
        self.slave = slave
        self.broker = broker
        self.config = folder / "gateway.toml"
        self.text = (  # at so few baud no pause of a busy machine makes it a slow converter
            f'site = "{GATEWAY.site}"\ngateway = "{GATEWAY.name}"\nstore = "sqlite:///gateway.db"\n'
            f'[mqtt]\nhost = "{broker.host}"\n'
            f'port = {broker.port}\n[[bus]]\nid = "mbus-1"\ndriver = "mbus"\nhost = "127.0.0.1"\nport = {port}\n'
            f'baud = 1200\nlatency = 1.0\npoll = "1s"\n[[bus.meter]]\nid = "power-01"\n'
            f'model = "{MODEL}"\naddress = 1\n'
        )
        self.config.write_text(self.text, encoding="utf-8")
        self.url = new_store(folder)
        (folder / "bin").mkdir()
        self.systemd(UNIT)

    def systemd(self, says: str) -> None:
        program = self.folder / "bin" / "systemctl"
        program.write_text(f"#!/bin/sh\nprintf '{says}'\n", encoding="utf-8")
        program.chmod(0o755)

    async def examined(self, config: Path | None = None) -> tuple[int, dict[str, tuple[bool, str]]]:
        """The exit code, and by check whether all is well with the text."""
        arguments = ("-c", SYNCHRONISED, "--config", str(config or self.config), "--json", "doctor")
        process = await begin(*arguments, program=(), PATH=f"{self.folder}/bin:/usr/bin:/bin")
        out, err = await process.communicate()
        assert err == b""
        told = json.loads(out)
        assert told["ok"] == all(each["ok"] for each in told["findings"])
        return process.returncode or 0, {each["check"]: (each["ok"], each["text"]) for each in told["findings"]}

    @asynccontextmanager
    async def running(self, told: str = "readings/") -> AsyncIterator[asyncio.subprocess.Process]:
        """The daemon, once the meter has been read, or something else has been told."""
        asked = ("-c", SYNCHRONISED, "--config", str(self.config), "run")
        async with listening(self.broker.host, self.broker.port) as ear:
            daemon = await begin(*asked, program=(), SUBMETER_CLOCK="")
            try:
                await ear.until(lambda: bool(ear.events(told)))  # told once it is kept
            except TimeoutError:
                daemon.kill()
                raise
        try:
            yield daemon
        finally:
            daemon.terminate()
            _, self.log = await daemon.communicate()


@pytest.fixture
async def box(tmp_path: Path, broker: Broker) -> AsyncIterator[Box]:
    slave = Slave(address=1, captured=captured_telegrams()[MODEL], serial=SERIAL, counts={})
    line = Line([slave])
    yield Box(tmp_path, slave, await line.start(), broker)
    await line.close()
