"""The daemon's socket: who may, what is refused, and that nothing said to it does harm."""

from __future__ import annotations

import ctypes
import grp
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from gateway import control
from gateway.cli import ask as asking
from gateway.service.command_schema import Move
from gateway.service.storing import StoreUnavailableError
from gateway.store.lock import Lock
from tests.adapters.importing import HOUSE, Desk, new_desk
from tests.adapters.served import serving
from tests.outbox import HANGS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOBODY = 65534
VACANT = b'{"verb":"move","point":"flat-1","day":"2026-05-01"}\n'


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    one = new_desk(tmp_path)
    assert one.take(HOUSE).exit_code == 0
    return one


@pytest.fixture
def served(desk: Desk) -> Iterator[Path]:
    with serving(desk) as path:
        yield path


def said(path: Path, line: bytes, *, end: bool = False) -> Any:  # noqa: ANN401 - whatever JSON holds
    """What the daemon answers to these bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(HANGS)
        connection.connect(str(path))
        with suppress(BrokenPipeError):  # it has refused before all of it was sent
            connection.sendall(line)
        if end:
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return json.loads(answer.readline())


def text(answer: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    assert answer["ok"] is False
    assert not answer["changes"]
    return "\n".join(problem["text"] for problem in answer["problems"])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"hello\n", "the command is refused: this is no JSON; "),
        (b"[]\n", "the command is refused: a list is no table of keys and values"),
        (b"\xff\xfe\n", "the command is refused: "),
        (b"\n", "the command is refused: "),
        (b'{"verb":"drop"}\n', "the command is refused: its verb is not known; write one of import, add, "),
        (b'{"verb":"move","point":"flat-1"}\n', "the command is refused: move.day: is missing"),
        (VACANT.replace(b"flat-1", b"../../x"), "the command is refused: move.point: "),
        (VACANT.replace(b"}", b',"by":"root"}'), "the command is refused: move.by: this key is not known"),
        (b'{"verb":"set","kind":"point","id":"flat-1","value":' + b"[" * 5000 + b"\n", "the command is refused: "),
        (b"x" * (control.LIMIT + 10), f"the command is longer than {control.LIMIT} bytes; "),
    ],
)
def test_what_is_no_command_is_refused_in_a_sentence_and_changes_nothing(
    desk: Desk, served: Path, line: bytes, sentence: str
) -> None:
    before = desk.rows()
    assert text(said(served, line)).startswith(sentence)
    assert desk.rows() == before
    assert said(served, VACANT)["ok"]


def test_half_a_command_is_refused(desk: Desk, served: Path) -> None:
    assert text(said(served, VACANT[:20], end=True)).startswith("the command has no end; ")
    assert text(said(served, VACANT[:-1], end=True)).startswith("the command has no end; ")
    assert desk.submeter("--json", "audit", "--kind", "occupancy").stdout.count('"by"') == 1


def test_who_says_nothing_is_not_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "HEARING", 0.05)
    with serving(desk) as path:
        assert text(said(path, b"")).startswith("no command came within 0.05 s; ")


def test_those_who_say_nothing_are_in_nobodys_way(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "HEARING", 3600.0)
    idle = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(10 * control.TALKERS)]
    with ExitStack() as opened:
        for connection in idle:
            opened.enter_context(connection).connect(str(served))
        assert said(served, VACANT)["ok"]


def test_where_too_many_call_at_once_that_is_the_sentence(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(str(path))
        server.listen(0)
        first.connect(str(path))
        with pytest.raises(control.NoWayError, match="too many callers at once; try again"):
            control.ask(path, Move.model_validate_json(VACANT))


def test_those_who_say_nothing_do_not_hold_up_the_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "HEARING", 3600.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as idle:
        with serving(desk) as path:
            idle.connect(str(path))
            assert said(path, VACANT)["ok"]
        assert not idle.recv(1)


def test_the_socket_is_for_its_user_and_group_only(served: Path) -> None:
    assert stat.S_IMODE(served.stat().st_mode) == 0o660


def test_who_may_not_is_told_how_to_get_there() -> None:
    folder = Path(tempfile.mkdtemp())  # not below pytest's, which nobody else may enter
    folder.chmod(0o755)
    try:
        with serving(new_desk(folder)) as path, ThreadPoolExecutor(1) as thread:
            sentence = thread.submit(refusal_of_a_stranger, path).result(HANGS)
    finally:
        shutil.rmtree(folder)
    group = grp.getgrgid(os.getgid()).gr_name
    assert sentence.startswith(
        f"{path}: the daemon takes commands from its own user and from group {group}; use sudo, or join it: "
        f"sudo usermod -aG {group} "
    )


def test_who_may_not_even_enter_the_folder_is_told_the_same() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        inner = folder / "store"
        inner.mkdir()
        folder.chmod(0o755)
        with serving(new_desk(inner)) as path, ThreadPoolExecutor(1) as thread:
            inner.chmod(0 if os.getuid() else 0o750)
            sentence = thread.submit(refusal_of_a_stranger, path, by_mode=False).result(HANGS)
            inner.chmod(0o750)
    finally:
        shutil.rmtree(folder)
    assert f"from group {grp.getgrgid(os.getgid()).gr_name}; use sudo, or join it: " in sentence


def test_without_the_right_or_the_way_the_exit_code_says_which(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for error, code in ((control.NoRightError("no right"), 3), (control.NoWayError("no way"), 4)):
        monkeypatch.setattr(control, "ask", Mock(side_effect=error))
        done = desk.submeter("move", "flat-1", "2026-06-01")
        assert (done.exit_code, done.stderr) == (code, f"{error}\n")


def refusal_of_a_stranger(path: Path, *, by_mode: bool = True) -> str:
    """What somebody is told who is neither the daemon's user nor of its group."""
    if os.getuid():
        if by_mode:
            path.chmod(0)
    else:
        of_this_thread = ctypes.CDLL(None)
        of_this_thread.setfsgid(NOBODY)
        of_this_thread.setfsuid(NOBODY)  # gives up root's right to pass over modes: capabilities(7)
    with pytest.raises(control.NoRightError) as refused:
        control.ask(path, Move.model_validate_json(VACANT))
    return str(refused.value)


def test_the_author_is_who_the_kernel_says(desk: Desk, served: Path) -> None:
    assert said(served, VACANT)["ok"]
    last = desk.submeter("--json", "audit", "--kind", "occupancy")
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert json.loads(last.stdout)[-1]["by"] == control.author(one)


def test_commands_that_come_at_once_are_all_carried_out(desk: Desk, served: Path) -> None:
    lines = [
        json.dumps(
            {"verb": "set", "kind": "point", "id": "flat-2", "value": {"people": "2"}, "since": f"2026-{month}-01"}
        )
        for month in range(10, 13)
    ] * 4
    with ThreadPoolExecutor(len(lines)) as threads:
        answers = list(threads.map(lambda line: said(served, line.encode() + b"\n"), lines))
    assert all(answer["ok"] for answer in answers)
    assert sum(len(answer["changes"]) for answer in answers) == 3
    told = json.loads(desk.submeter("--json", "point", "show", "flat-2").stdout)
    assert [step["from"] for step in told["people"]] == ["2026-10-01", "2026-11-01", "2026-12-01"]


def test_commands_that_come_at_once_without_a_daemon_wait_for_each_other(desk: Desk) -> None:
    patient = f"from gateway import cli; from gateway.cli import ask; ask.PATIENCE = {HANGS}; cli.main()"
    program = [
        sys.executable,
        "-c",
        patient,
        "--config",
        str(desk.folder / "gateway.toml"),
        "point",
        "set",
        "flat-2",
    ]
    running = [
        subprocess.Popen(
            [*program, "--people", "2", "--from", f"2026-{month:02}-01"], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        for month in range(9, 13)
    ]
    assert [one.wait(HANGS) for one in running] == [0, 0, 0, 0]
    told = json.loads(desk.submeter("--json", "point", "show", "flat-2").stdout)
    assert [step["from"][:7] for step in told["people"]] == ["2026-09", "2026-10", "2026-11", "2026-12"]


def test_each_change_is_made_known_and_nothing_else_is(desk: Desk) -> None:
    rung: list[None] = []
    with serving(desk, lambda: rung.append(None)) as path:
        assert said(path, VACANT)["ok"]
        assert len(rung) == 1
        assert not said(path, VACANT)["ok"]
        for command in (("meter", "set", "power", "--name", "Electricity"), ("import", "--plan")):
            desk.submeter(*command, *([str(desk.folder / "property.toml")] if command[0] == "import" else []))
        assert len(rung) == 1


def test_the_socket_of_a_daemon_that_died_is_no_obstacle(desk: Desk) -> None:
    path = control.socket_path(desk.url, desk.folder / "gateway.toml")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
        left.listen()
    assert path.exists()
    assert desk.submeter("move", "flat-1", "2026-06-01").exit_code == 0
    with serving(desk) as again:
        assert again == path
        assert said(path, VACANT)["ok"]
    assert not path.exists()


def test_a_daemon_that_ends_before_it_has_answered_is_told(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(control.ask, path, Move.model_validate_json(VACANT))
            server.accept()[0].close()
            with pytest.raises(control.ControlError, match="`submeter audit` tells whether the change was made"):
                asked.result(HANGS)


def test_a_store_that_somebody_holds_without_listening_is_one_sentence(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.0)
    with Lock(desk.folder / "gateway.db"):
        told = desk.submeter("move", "flat-1", "2026-06-01")
    assert (told.exit_code, told.stderr.count("\n")) == (3, 1)
    assert "is using the store" in told.stderr


def test_a_failure_in_the_daemon_is_an_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(desk) as path:
        monkeypatch.setattr("gateway.service.command_execute.record", None)
        assert "could not carry it out" in text(said(path, VACANT))
        monkeypatch.undo()
        assert said(path, VACANT)["ok"]


def test_a_full_disk_is_the_answer_in_one_sentence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        message = "/var/lib/submeter: the disk is full: make room"
        raise StoreUnavailableError(message)

    with serving(desk) as path:
        monkeypatch.setattr("gateway.service.command_execute.record", full)
        assert text(said(path, VACANT)) == "/var/lib/submeter: the disk is full: make room"
