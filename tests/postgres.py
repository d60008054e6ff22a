"""A real PostgreSQL for tests: in a folder of its own, on a port of its own, gone afterwards."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from gateway.store.migrate import migrate
from tests.broker import HOST, ROOT, free_port

TEMPLATE = "migrated"
SETTINGS = (
    "fsync=off",  # the machine does not lose its power during a test
    "full_page_writes=off",
    f"listen_addresses={HOST}",
    "max_connections=30",
)
USER = "nobody"
"""PostgreSQL refuses to run as root"""


def programs() -> Path:
    """The folder of the server's programs; skips the test where there is none that can be run."""
    unpacked = ROOT / ".tools" / "postgresql" / "bin"
    found = [unpacked, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)]
    programs = [folder / "postgres" for folder in found if (folder / "postgres").exists()]
    for program in programs:
        if not subprocess.run([*as_user(), str(program), "--version"], check=False, capture_output=True).returncode:
            return program.parent
    if programs:
        pytest.skip(f"{USER} may not run {programs[0]}, and root may not run PostgreSQL: sudo apt install postgresql")
    pytest.skip("PostgreSQL is missing: scripts/get-postgresql, or sudo apt install postgresql")


def _version(folder: Path) -> int:
    return int(folder.parent.name)


def as_user() -> list[str]:
    """What goes before a command so that it does not run as root."""
    if os.geteuid():
        return []
    return ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups", "--"]


class Postgres:
    """One server; `new` databases come with all tables."""

    def __init__(self) -> None:
        self._programs = programs()
        self._folder = Path(tempfile.mkdtemp(prefix="submeter-postgres-"))
        if not os.geteuid():
            shutil.chown(self._folder, USER)
        self.port = free_port()
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "--username=submeter", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--auth=trust")
        self.start()
        # an order of words that is not bytewise: the store must not depend on it
        self._execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
        migrate(self.url(TEMPLATE))

    @property
    def runs(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._process is not None

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql+psycopg://submeter@{HOST}:{self.port}/{database}"

    def new(self, template: str = TEMPLATE) -> str:
        """The URL of a new database; `template0` has no tables."""
        name = f"submeter_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def start(self) -> None:
        """Start it, or start it again on the same port; returns once it answers."""
        settings = [word for setting in SETTINGS for word in ("-c", setting)]
        sockets = ["-c", f"unix_socket_directories={self._folder}", "-p", str(self.port)]
        command = [*as_user(), str(self._programs / "postgres"), "-D", str(self._folder / "data"), *settings, *sockets]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        while not self._answers():
            if self._process.poll() is not None:
                pytest.fail(f"PostgreSQL ended at once:\n{(self._folder / 'log').read_text()}")

    def stop(self) -> None:
        """End it at once, and every connection with it."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: immediate shutdown
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """End it and remove its folder."""
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*as_user(), str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
        if done.returncode:
            pytest.fail(f"{program} failed:\n{done.stderr}")

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        with closing(psycopg.connect(self.url("postgres").replace("+psycopg", ""), autocommit=True)) as connection:
            connection.execute(statement.encode())
