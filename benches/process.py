"""What the kernel counts of a process: proc(5)."""

from __future__ import annotations

import os
from pathlib import Path

_KILO = 1024
_NANO = 1_000_000_000


def peak_mb(pid: int) -> float:
    """The most memory that has been resident, in MB of 1,048,576 bytes (VmHWM)."""
    return _number(pid, "status", "VmHWM") / _KILO


def cpu_s(pid: int) -> float:
    """CPU time of the process and its threads so far, its own and the kernel's for it."""
    name_and_state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")
    user, system = name_and_state[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def waited_s(pid: int) -> float:
    """How long its first thread was ready to go on while others had the processors (sched-stats.rst).

    What a program takes on a busy machine, less this, is about what it takes on a quiet one. Its own other threads are
    others too, but those that hold the interpreter: that is no wait for a processor. 0 where the kernel does not count.
    """
    file = Path(f"/proc/{pid}/schedstat")
    return int(file.read_text(encoding="ascii").split()[1]) / _NANO if file.exists() else 0.0


def written_bytes(pid: int) -> int:
    """Bytes that the process has sent towards the disk (write_bytes); the file system's journal is not among them."""
    return _number(pid, "io", "write_bytes")


def _number(pid: int, file: str, key: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    message = f"/proc/{pid}/{file} has no {key}"
    raise LookupError(message)
