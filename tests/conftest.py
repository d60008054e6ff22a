from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.adapters.stores import new_store
from tests.broker import Broker
from tests.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

# The same examples on every run, and no verdict that depends on how busy the machine is.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

STRICT = os.environ.get("STRICT") == "1"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "steady: how busy the machine is decides no time-out (tests/steady_time.py)")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running Mosquitto that accepts everybody."""
    one = Broker(tmp_path)
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL."""
    one = Postgres()
    yield one
    one.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new store, once in each of the databases that are supported."""
    if request.param == "sqlite":
        return new_store(tmp_path)
    server: Postgres = request.getfixturevalue("postgres")
    return server.new()


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Under STRICT=1 a test that was skipped, or expected to fail, has failed."""
    if STRICT and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)  # pytest forgives a failure that carries it
        report.longrepr = f"STRICT=1: {report.nodeid} did not run to its end: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report
