"""A serial device that this user may not open: who is to join which group is told, by doctor and by the daemon."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.store import StoreView
from gateway.store.migrate import migrate
from simulators.clock import Clock
from simulators.mbus import Slave, captured_telegrams
from simulators.pty import MBusWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway.core.event import Alarm

NOBODY = 65534
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=+dac_read_search",
)
"""nobody, who may read everything, as root's Python may lie where nobody else may look, but open no device to write"""
TTY = 5
"""the group of every pseudo-terminal"""
SETTINGS = """\
site = "s"
gateway = "g"
store = "sqlite:///gateway.db"
[[bus]]
id = "mbus-1"
driver = "mbus"
device = "{folder}/ttyUSB1"
baud = 38400
latency = 2.0
poll = "15min"
[[bus.meter]]
id = "heat-1"
model = "itron-cf-55"
address = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A user who may not open the device, and the folder where the gateway runs as that user."""

    folder: Path
    device: Path
    number: int

    @property
    def sentence(self) -> str:
        name = pwd.getpwuid(self.number).pw_name
        return f"{self.folder}/ttyUSB1 belongs to group tty: sudo usermod -aG tty {name}, then restart"

    async def begin(self, *command: str) -> asyncio.subprocess.Process:
        config = str(self.folder / "gateway.toml")
        return await asyncio.create_subprocess_exec(
            *(AS_NOBODY if os.geteuid() == 0 else ()),
            *(sys.executable, "-m", "gateway.cli", "--config", config, *command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "SUBMETER_CLOCK": str(self.folder / "clock"), "HOME": str(self.folder)},
        )

    async def alarms(self) -> dict[str, Alarm]:
        async with StoreView(f"sqlite:///{self.folder}/gateway.db") as view:
            return {one.code: one for one in await view.open_alarms()}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user may enter; a test's own nobody else may."""
    one = Path(tempfile.mkdtemp())
    one.chmod(0o755)
    yield one
    shutil.rmtree(one)


@pytest.fixture
async def stranger(folder: Path) -> AsyncIterator[Stranger]:
    slave = Slave(address=1, captured=captured_telegrams()["itron-cf-55"], serial="00000001", counts={"heat": 1})
    wire = MBusWire(folder / "ttyUSB1", [slave], baud=38400)
    wire.plug()
    (folder / "gateway.toml").write_text(SETTINGS.format(folder=folder), encoding="utf-8")
    migrate(f"sqlite:///{folder}/gateway.db")
    device, number = wire.link.resolve(), os.geteuid()
    device.chmod(0o060)  # its owner, too, may not
    if number == 0:  # whom no mode keeps out
        number = NOBODY
        os.chown(device, 0, TTY)
        for path in (folder, *folder.glob("gateway*")):
            os.chown(path, NOBODY, NOBODY)
    yield Stranger(folder=folder, device=device, number=number)
    wire.unplug()


async def test_doctor_names_the_group_to_join(stranger: Stranger) -> None:
    process = await stranger.begin("--json", "doctor")
    out, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")
    (bus,) = [one for one in json.loads(out)["findings"] if one["check"] == "bus"]
    assert (bus["ok"], bus["text"]) == (False, stranger.sentence)


async def test_read_names_the_group_to_join_with_exit_4(stranger: Stranger) -> None:
    process = await stranger.begin("read", "heat-1")
    out, err = await process.communicate()
    assert (process.returncode, out.decode(), err.decode()) == (4, "", f"{stranger.sentence}\n")


async def test_the_daemon_names_the_group_in_its_log_and_in_an_alarm_and_reads_once_it_may(stranger: Stranger) -> None:
    daemon = await stranger.begin("run")
    clock = Clock(stranger.folder / "clock")
    try:
        await clock.step(datetime(2026, 10, 1, 0, 0, tzinfo=UTC))
        assert (await stranger.alarms())["line_down"].text == stranger.sentence
        stranger.device.chmod(0o666)
        for hour in (1, 2):  # a meter with a battery is read hourly
            await clock.step(datetime(2026, 10, 1, hour, tzinfo=UTC))
        assert "line_down" not in await stranger.alarms()
    finally:
        await clock.close()
        daemon.terminate()
        _, err = await daemon.communicate()
    assert daemon.returncode == 0
    assert err.decode().count(stranger.sentence) == 1
    assert "Traceback" not in err.decode()
