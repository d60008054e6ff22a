from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.torture.disk import LoopDisk, SmallDisk, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ordeal import Progress

LIVES = os.environ.get("LIVES", "200")
FEWEST = 20
"""lives in which it dies at least once in the middle of each kind of work"""
EVERY = 10
"""lives of which one is told"""


def pytest_configure() -> None:
    if not LIVES.isdecimal() or int(LIVES) < FEWEST:
        message = f"LIVES={LIVES}: write how often the gateway is to end, {FEWEST} or more"
        raise pytest.UsageError(message)


@pytest.fixture
def lives() -> int:
    """How often the gateway ends: LIVES=5000 make torture."""
    return int(LIVES)


@pytest.fixture
def progress(request: pytest.FixtureRequest) -> Progress:
    """Tells on the terminal, or in a log, how far a long test has come."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    started = time.monotonic()

    def tell(done: int, count: int) -> None:
        if done % EVERY == 0 or done == count:
            seconds = round(time.monotonic() - started)
            with capture.global_and_fixture_disabled():
                terminal.write_line(f"  {done} of {count} after {seconds // 60} min {seconds % 60} s")

    return tell


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    """A file system of its own on a loop device, which can lose its power."""
    reason = refusal()
    if reason:
        pytest.skip(reason)
    one = LoopDisk(tmp_path)
    yield one
    subprocess.run(["umount", "--lazy", str(one.folder)], check=False)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk with room for a few megabytes."""
    if os.geteuid() != 0:
        pytest.skip("a small disk is mounted by root: run it as root")
    one = SmallDisk(tmp_path)
    yield one
    subprocess.run(["umount", "--lazy", str(one.folder)], check=False)
