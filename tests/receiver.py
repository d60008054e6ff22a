"""The reference consumer, examples/consumer.py, as a process of its own, and what it holds."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg

from tests.broker import ROOT as PROJECT
from tests.delivery import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.broker import Broker

CONSUMER = PROJECT / "examples" / "consumer.py"


@contextmanager
def consuming(broker: Broker, database: str, *options: str, name: str = "billing") -> Iterator[subprocess.Popen[bytes]]:
    """The process, from its subscription on; killed at the end."""
    where = ("--broker", f"{broker.host}:{broker.port}")
    command = [sys.executable, str(CONSUMER), database, ROOT, name, *where, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"connected to")
        assert process.stdout.readline().startswith(b"subscribed to")
        try:
            yield process
        finally:
            process.kill()


def told(database: str) -> list[str]:
    """What the program prints as totals."""
    command = [sys.executable, str(CONSUMER), database, "--totals"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def rows(database: str, statement: str) -> list[tuple[object, ...]]:
    """What is in its database, an SQLite file or a PostgreSQL database."""
    if database.startswith("postgresql"):
        with psycopg.connect(database) as server:
            return list(server.execute(statement.encode()))
    with closing(sqlite3.connect(database)) as file:
        return list(file.execute(statement))
