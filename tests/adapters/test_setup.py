from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.broker import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CLOSED = "http://127.0.0.1:9/simple/"
OLD = f'exec "{sys.executable}" -c "import sys; sys.version_info = (3, 10, 14); $2"'


def program(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def prerequisites(**environment: str) -> subprocess.CompletedProcess[str]:
    settings = os.environ | {"PYTHON": sys.executable, "PIP_INDEX_URL": "file:///nowhere"} | environment
    command = [str(ROOT / "scripts" / "prerequisites")]
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


def test_a_machine_that_has_everything_is_given_its_python() -> None:
    outcome = prerequisites()
    assert (outcome.returncode, outcome.stdout.strip(), outcome.stderr) == (0, sys.executable, "")


def test_the_first_suitable_python_is_taken(tmp_path: Path) -> None:
    old = program(tmp_path, "old", OLD)
    assert prerequisites(PYTHON=f"{old} {sys.executable}").stdout.strip() == sys.executable


@pytest.mark.parametrize(
    ("lack", "sentence"),
    [
        ("python", "Python 3.11 or newer is missing"),
        ("venv", "comes without venv: sudo apt install git make python3-venv"),
        ("disk", "and 12 MB are there: make room and try again."),
        ("network", f"The package index {CLOSED} does not answer: check the network"),
    ],
)
def test_what_a_machine_lacks_is_told_in_one_sentence(tmp_path: Path, lack: str, sentence: str) -> None:
    program(tmp_path, "df", "echo head; echo disk 0 0 12288 0% /")
    environment = {
        "python": {"PYTHON": program(tmp_path, "old", OLD)},
        "venv": {"PYTHON": program(tmp_path, "bare", 'case "$2" in *ensurepip*) exit 1 ;; esac')},
        "disk": {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        "network": {"PIP_INDEX_URL": CLOSED},
    }
    outcome = prerequisites(**environment[lack])
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert sentence in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_an_installed_mosquitto_is_used_as_it_is(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    script = shutil.copy(ROOT / "scripts" / "get-mosquitto", scripts)
    installed = program(tmp_path, "mosquitto", "exit 0")
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    for _ in range(2):
        subprocess.run([script], env=environment, check=True)
        assert str((tmp_path / ".tools" / "bin" / "mosquitto").readlink()) == installed
