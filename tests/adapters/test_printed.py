"""What a command prints does not get out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = "from gateway.entry import main; main()"  # as the installed script begins


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("--version",), ("check", "--schema")])
def test_a_full_disk_is_told_in_a_sentence(words: tuple[str, ...], unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    told = b"what this prints cannot be written (No space left on device); give it another place\n"
    assert (done.returncode, done.stderr) == (1, told)
