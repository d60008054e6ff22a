"""Files that a person names are no devices, no pipes, and of a size that fits the box."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import files, pepper, tomlfile
from gateway.cli.property_file import read_file
from gateway.mqtt.security import FaultError, Security
from gateway.tomlfile import Document
from tests.scenarios.plant import submeter

if TYPE_CHECKING:
    from collections.abc import Callable

NO_FILE = "it is a device or a pipe, no file"
TOO_LARGE = "it is larger than 16 MB"


@pytest.fixture(params=["zero", "pipe", "large"])
def endless(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """What has no end or is too large, and how that is called."""
    if request.param == "zero":
        return Path("/dev/zero"), NO_FILE
    path = tmp_path / "endless.toml"
    if request.param == "pipe":
        os.mkfifo(path)
        return path, NO_FILE
    path.touch()
    os.truncate(path, files.LARGEST + 1)
    return path, TOO_LARGE


def _problem(read: Callable[[Path], Document | tomlfile.Problems], path: Path) -> str:
    found = read(path)
    assert not isinstance(found, Document)
    return str(*found)


def _fault(path: Path) -> str:
    with pytest.raises(FaultError) as caught:
        Security(password_file=str(path)).password()
    return str(caught.value)


def _secret(path: Path) -> str:
    path.with_name("pepper").symlink_to(path)
    with pytest.raises(pepper.PepperError) as caught:
        pepper.load(path.with_name("gateway.toml"), {})
    return str(caught.value)


@pytest.mark.parametrize("told", [partial(_problem, tomlfile.read), partial(_problem, read_file), _fault])
def test_what_has_no_end_is_refused_with_a_sentence(endless: tuple[Path, str], told: Callable[[Path], str]) -> None:
    path, reason = endless
    assert f"cannot be read ({reason})" in told(path)


def test_json_and_a_secret_without_end_are_refused_too(tmp_path: Path) -> None:
    (tmp_path / "house.json").symlink_to("/dev/zero")
    assert NO_FILE in _problem(read_file, tmp_path / "house.json")
    os.mkfifo(tmp_path / "pipe")
    assert NO_FILE in _secret(tmp_path / "pipe")


@pytest.mark.parametrize("words", [("import", "/dev/zero"), ("--config", "/dev/zero", "charges")], ids=" ".join)
async def test_the_command_ends_with_3_and_one_sentence(words: tuple[str, ...]) -> None:
    code, out, err = await submeter(*words)
    assert (code, out, err) == (3, "", f"/dev/zero: cannot be read ({NO_FILE}); name a file that is there\n")


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_bytes(b" " * (files.LARGEST - 2) + b"{}")
    assert isinstance(read_file(path), Document)
