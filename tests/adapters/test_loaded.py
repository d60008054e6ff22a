"""What the daemon does without: a library that is not needed costs memory and time on every box."""

from __future__ import annotations

import json
import subprocess
import sys

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
import json, sys
from gateway import drivers
from gateway.cli import group
group.get_command(None, "run")
groups = {
    drivers.GROUP: drivers.find,
    drivers.READERS: drivers.find_reader,
    drivers.MACHINES: drivers.find_machine,
}
for group_name, find in groups.items():
    for name in drivers.names(group_name):
        find(name)
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def loaded() -> list[str]:
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_the_daemon_with_every_driver_is_loaded(loaded: list[str]) -> None:
    assert {"gateway.daemon", "drivers.mbus.driver", "drivers.modbus.driver"} <= {*loaded}


@pytest.mark.parametrize("library", UNWANTED)
def test_the_daemon_on_sqlite_without_a_port_for_metrics_never_loads(library: str, loaded: list[str]) -> None:
    assert [name for name in loaded if name == library or name.startswith(f"{library}.")] == []
