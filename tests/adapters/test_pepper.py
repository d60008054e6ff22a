"""The pepper of badge identifiers."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from gateway import pepper

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    pepper.create(config, {})
    made = pepper.load(config, {})
    assert len(made) == 32
    assert stat.S_IMODE((tmp_path / "pepper").stat().st_mode) == 0o600
    pepper.create(config, {})
    assert pepper.load(config, {}) == made


def test_a_credential_of_systemd_goes_before_the_file(tmp_path: Path) -> None:
    config, folder = tmp_path / "gateway.toml", tmp_path / "credentials"
    pepper.create(config, {})
    folder.mkdir()
    environment = {"CREDENTIALS_DIRECTORY": str(folder)}
    assert pepper.load(config, environment) == pepper.load(config, {})
    (folder / "pepper").write_bytes(b"p" * 32)
    assert pepper.load(config, environment) == b"p" * 32
    pepper.create(config, environment)
    assert pepper.load(config, environment) == b"p" * 32


def test_without_it_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    with pytest.raises(pepper.PepperError, match="submeter migrate"):
        pepper.load(config, {})
    (tmp_path / "pepper").write_bytes(b"short")
    with pytest.raises(pepper.PepperError, match="too short"):
        pepper.load(config, {})
