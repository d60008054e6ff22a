"""A daemon that hangs: who gives it a command is told, and does not wait for ever."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gateway import control
from gateway.service.command_schema import Answer
from tests.adapters.importing import Desk, new_desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAITS = "the daemon does not answer yet; waiting; the change may still be made: `submeter audit` tells\n"
MOVE = ("move", "flat-1", "2026-10-15")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path)


@pytest.fixture
def hanging(desk: Desk) -> Iterator[socket.socket]:
    """A socket that is listened to as by a stopped process: the kernel takes what comes, and nobody answers."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as one:
        one.bind(str(control.socket_path(desk.url, desk.folder / "gateway.toml")))
        one.listen()
        yield one


@pytest.mark.usefixtures("hanging")
def test_a_daemon_that_hangs_is_waited_for_aloud_and_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "QUIET", 0.01)
    monkeypatch.setattr(control, "PATIENCE", 0.02)
    done = desk.submeter(*MOVE)
    gave_up = (
        "the daemon has not answered in 0.02 s: the change may still be made: `submeter audit` tells; "
        "`submeter doctor` looks at the gateway\n"
    )
    assert (done.exit_code, done.stdout, done.stderr) == (4, "", WAITS + gave_up)


def test_an_answer_that_comes_late_is_the_answer(
    desk: Desk, hanging: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "QUIET", 0.01)
    told = threading.Event()
    monkeypatch.setattr("gateway.cli.ask.click.echo", lambda *_, **__: told.set())

    def answer() -> None:
        connection, _ = hanging.accept()
        with closing(connection):
            assert connection.recv(1000)
            assert told.wait(120)
            connection.sendall(Answer(ok=True, applied=True).model_dump_json().encode() + b"\n")

    daemon = threading.Thread(target=answer)
    daemon.start()
    done = desk.submeter(*MOVE)
    daemon.join()
    assert (done.exit_code, told.is_set()) == (0, True)
