"""Disks that fail: only root may make them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mortal import SHUTDOWN, WITHOUT_FLUSH

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTES = 32
"""of the disks"""


def refusal() -> str:
    """Why this machine cannot take the power from a disk; empty where it can."""
    if os.geteuid() != 0:
        return "a disk that fails is mounted by root: run it as root"
    if not Path("/dev/loop-control").exists():
        return "a disk that fails is a loop device, and this machine (a container?) has none: modprobe loop"
    return ""


class LoopDisk:
    """ext4 with its journal, in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self._image = folder / "disk.img"
        self._image.touch()
        os.truncate(self._image, MEGABYTES << 20)
        subprocess.run(["mkfs.ext4", "-q", str(self._image)], check=True)
        self.folder.mkdir()
        self._mount()

    def cut(self) -> None:
        """Take its power away: what was not flushed is gone. Again has no effect."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, WITHOUT_FLUSH.to_bytes(4, sys.byteorder))
        finally:
            os.close(folder)

    def repair(self) -> None:
        """Mount it again, as a boot does.

        It is a copy that is mounted: while any process with mounts of its own (unshare, a service of systemd) still
        holds the dead one, mounting the same image again gives that one again, which answers with I/O errors.
        """
        subprocess.run(["umount", str(self.folder)], check=True)
        copy = self._image.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", str(self._image), str(copy)], check=True)
        copy.replace(self._image)
        self._mount()

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self.folder)], check=True)

    def abort(self) -> None:
        """Make it read-only until it is mounted again, as an error of the device does."""
        subprocess.run(["mount", "-o", "remount,abort", str(self.folder)], check=True)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing that is written to it comes to an end meanwhile."""
        subprocess.run(["fsfreeze", "--freeze", str(self.folder)], check=True)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(self.folder)], check=True)


class SmallDisk:
    """A disk with room for a few megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "small"
        self._filler = self.folder / "filler"
        self.folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(self.folder)], check=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Somebody else has filled it."""
        self.fill_up()
        try:
            yield
        finally:
            self._filler.unlink()

    def fill_up(self) -> None:
        """Take what room there is."""
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
