"""Ctrl-C while a command is still being loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = (
    ("charges",),
    ("doctor",),
    ("export",),
    ("backup", "copy.sqlite"),
    ("import", "house.toml"),
    ("accruals",),
    ("migrate",),
    ("run",),
)
LOADING = """
import sys
print("loading", file=sys.stderr, flush=True)
try:
    sys.stdin.read()
except Exception:
    pass
"""
"""what stands in for a library: it says that it is being loaded, and never ends"""


@pytest.mark.parametrize(
    ("library", "command"),
    [("click", ("charges",)), ("sqlalchemy", ("charges",)), *(("pydantic", command) for command in COMMANDS)],
)
def test_a_command_that_is_interrupted_while_it_is_loaded_ends_with_130_and_says_nothing(
    tmp_path: Path, library: str, command: tuple[str, ...]
) -> None:
    (tmp_path / f"{library}.py").write_text(LOADING)
    script = "from gateway.entry import main; main()"  # as the installed script begins
    words = [sys.executable, "-c", script, "--json", *command]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stderr.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")
