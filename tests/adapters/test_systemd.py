"""What the box gets: its unit, its user, its folders; judged by systemd's own programs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outbox import HANGS
from tests.scenarios.plant import running

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = (SYSTEMD / "submeter.service").read_text(encoding="utf-8")
PROGRAM = "/opt/submeter/bin/submeter"
NO_NEW_CODE = (
    "import ctypes, os, sys; refused = ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'gateway.cli', *sys.argv[1:]]) if not refused else sys.exit(9)"
)
"""PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN, prctl(2): what MemoryDenyWriteExecute asks for, then the daemon"""


def systemd(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is missing: sudo apt install systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def unit(folder: Path, text: str = UNIT) -> Path:
    """The unit, with a program that is there."""
    file = folder / "submeter.service"
    file.write_text(text.replace(PROGRAM, sys.executable), encoding="utf-8")
    return file


def test_the_unit_is_verified_without_a_word(tmp_path: Path) -> None:
    done = systemd("systemd-analyze", "verify", "--man=no", unit(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_misspelt_key_in_the_unit_would_be_seen(tmp_path: Path) -> None:
    text = UNIT.replace("ProtectHome=", "ProtectHomes=")
    assert "ProtectHomes" in systemd("systemd-analyze", "verify", "--man=no", unit(tmp_path, text)).stderr


def test_the_unit_is_exposed_at_most_2(tmp_path: Path) -> None:
    done = systemd("systemd-analyze", "security", "--offline=true", unit(tmp_path))
    level = re.search(r"Overall exposure level for submeter\.service: ([0-9.]+)", done.stdout)
    assert level is not None, done.stdout + done.stderr
    assert float(level[1]) <= 2.0


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "WatchdogSec=60",
        "Restart=always",
        "User=submeter",
        "DevicePolicy=closed",
        "WantedBy=multi-user.target",
    ],
)
def test_the_unit_has_what_the_daemon_counts_on(line: str) -> None:
    assert line in UNIT.splitlines()


def test_adapters_that_are_plugged_in_after_the_start_are_allowed_by_number() -> None:
    """systemd looks names up in /proc/devices at the start: a driver that is loaded later is not there yet."""
    allowed = {line.removeprefix("DeviceAllow=") for line in UNIT.splitlines() if line.startswith("DeviceAllow=")}
    assert allowed == {"char-188 rw", "char-166 rw", "char-ttyAMA rw", "char-ttyS rw"}


async def test_the_daemon_runs_where_memory_can_never_become_code(tmp_path: Path) -> None:
    async with running(tmp_path, ("127.0.0.1", 1), program=("-c", NO_NEW_CODE), SUBMETER_CLOCK="") as plant:
        async with asyncio.timeout(HANGS):
            assert await plant.told() == "READY=1"
        assert (await plant.end())[0] == 0


def test_the_user_and_the_folders_are_made_with_their_rights(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give folders to another user")
    (tmp_path / "etc").mkdir()
    assert systemd("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "submeter.sysusers.conf").returncode == 0
    users = dict(line.split(":")[::2][:2] for line in (tmp_path / "etc/passwd").read_text().splitlines())
    done = systemd("systemd-tmpfiles", f"--root={tmp_path}", "--create", SYSTEMD / "submeter.tmpfiles.conf")
    assert (done.returncode, done.stderr) == (0, "")
    places = {"etc/submeter": (0o750, 0), "etc/credstore": (0o700, 0)}
    for place in ("var/backups/submeter", "var/lib/submeter"):  # the second: `check` comes before the first start
        places[place] = (0o750, int(users["submeter"]))
    found = {place: ((tmp_path / place).stat().st_mode & 0o7777, (tmp_path / place).stat().st_uid) for place in places}
    assert found == places
