"""What the daemon does without: a library that is not needed costs memory and time on every box."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

UNWANTED = (
    "alembic",
    "cryptography",
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


def test_the_daemon_with_every_driver_is_loaded(loaded: list[str]) -> None:
    assert {"gateway.daemon", "drivers.mbus.driver", "drivers.modbus.driver"} <= {*loaded}


@pytest.mark.parametrize("library", UNWANTED)
def test_the_daemon_on_sqlite_without_a_port_for_metrics_never_loads(library: str, loaded: list[str]) -> None:
    assert [name for name in loaded if name == library or name.startswith(f"{library}.")] == []
