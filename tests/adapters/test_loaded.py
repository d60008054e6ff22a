"""What the daemon does without: a library that is not needed costs memory and time on every box."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

UNWANTED = (
    "alembic",
    "cryptography",
    "gateway.access_points",
    "gateway.service.access",
    "hypothesis",
    "jsonschema",
    "mako",
    "prometheus_client",
    "psycopg",
    "pytest",
    "simulators",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.ext",
    "sqlalchemy.orm",
    "wsgiref",
    "xml",
)
LOADED = """
import gc, json, sys
from gateway import drivers
from gateway.cli import group
group.get_command(None, "run")
frozen = gc.isenabled() and gc.get_freeze_count()
groups = {
    drivers.GROUP: drivers.find,
    drivers.READERS: drivers.find_reader,
    drivers.MACHINES: drivers.find_machine,
}
for group_name, find in groups.items():
    for name in drivers.names(group_name):
        find(name)
print(json.dumps({"modules": sorted(sys.modules), "frozen": frozen}))
"""
HEAPS = """
import ctypes, sys, threading
from gateway.cli.run import share_one_heap
share_one_heap()
barrier = threading.Barrier(4)
def work():
    room = bytearray(50_000)
    barrier.wait()
for thread in [threading.Thread(target=work) for _ in range(3)]:
    thread.start()
barrier.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def loaded(told: dict[str, Any]) -> list[str]:
    found: list[str] = told["modules"]
    return found


def test_the_collector_is_at_work_and_leaves_alone_what_was_loaded(told: dict[str, Any]) -> None:
    assert told["frozen"] > 10 * len(told["modules"])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library shares its heap anyway")
def test_the_threads_of_the_daemon_share_one_heap(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", HEAPS, str(tmp_path / "heaps.xml")], check=True)
    assert (tmp_path / "heaps.xml").read_text(encoding="ascii").count("<heap ") == 1


def test_the_daemon_with_every_driver_is_loaded(loaded: list[str]) -> None:
    assert {"gateway.daemon", "drivers.mbus.driver", "drivers.modbus.driver"} <= {*loaded}


@pytest.mark.parametrize("library", UNWANTED)
def test_the_daemon_on_sqlite_without_readers_or_metrics_never_loads(library: str, loaded: list[str]) -> None:
    assert [name for name in loaded if name == library or name.startswith(f"{library}.")] == []
