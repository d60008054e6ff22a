"""What a command prints while it works, and where that does not get out."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gateway.cli.backup
from tests.adapters.importing import new_desk

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


def test_what_fails_elsewhere_is_not_laid_to_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")  # as reading a file on a bad disk

    monkeypatch.setattr(gateway.cli.group, "main", broken)
    with pytest.raises(OSError, match="Input/output error"):
        gateway.cli.main()


def test_a_large_backup_says_that_it_has_begun_and_so_does_its_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = new_desk(tmp_path)
    copy = str(tmp_path / "copy.db")
    assert desk.submeter("backup", copy).stderr == ""
    monkeypatch.setattr(gateway.cli.backup, "LARGE", 1000)
    size = f"{Path(copy).stat().st_size / 1e6:.1f}"
    assert desk.submeter("restore", copy).stderr == f"copying and checking {size} MB ...\n"
    assert desk.submeter("backup", f"{copy}.2").stderr == f"copying and checking {size} MB ...\n"
    assert desk.submeter("restore", "nowhere").stderr == "nowhere: there is no such file\n"
