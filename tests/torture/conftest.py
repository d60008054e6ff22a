from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.torture.disk import LoopDisk, SmallDisk, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIVES = int(os.environ.get("LIVES", "200"))


@pytest.fixture
def lives() -> int:
    """How often the gateway ends: LIVES=5000 make torture."""
    return LIVES


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
    """A disk with room for two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("a small disk is mounted by root: run it as root")
    one = SmallDisk(tmp_path)
    yield one
    subprocess.run(["umount", "--lazy", str(one.folder)], check=False)
