"""`submeter check` looks for the key files of meters that encrypt."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.adapters.test_places import AS_NOBODY, TEXT, checked, open_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_folder"]


@pytest.fixture
def config(open_folder: Path) -> Path:
    (open_folder / "var").mkdir()
    (open_folder / "var").chmod(0o777)
    path = open_folder / "gateway.toml"
    path.write_text(TEXT.partition("[mqtt]")[0] + "[[bus]]" + TEXT.partition("[[bus]]")[2], encoding="utf-8")
    return path


def give_key(config: Path, named: str) -> None:
    config.write_text(config.read_text(encoding="utf-8") + f'key = "{named}"\n', encoding="utf-8")


async def test_a_key_file_that_is_not_there_is_refused_with_its_line(config: Path) -> None:
    key = config.parent / "heat.key"
    give_key(config, str(key))
    code, _, err = await checked(config)
    line = len(config.read_text(encoding="utf-8").splitlines())
    told = f"{config}:{line}: bus[0].meter[0].key: {key} is not there or no file; put the key file there, readable for"
    assert (code, [each.partition(" the gateway's")[0] for each in err]) == (3, [told])
    key.write_text("00" * 16, encoding="utf-8")
    key.chmod(0o600)
    code, _, err = await checked(config)
    assert (code, err) == (0, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
async def test_a_key_file_that_the_user_may_not_read_is_refused(config: Path) -> None:
    key = config.parent / "heat.key"
    key.write_text("00" * 16, encoding="utf-8")
    key.chmod(0o600)
    give_key(config, str(key))
    code, _, (line,) = await checked(config, program=AS_NOBODY)
    assert code == 3
    assert f"bus[0].meter[0].key: {key} cannot be read by this user; check as the gateway's user" in line


async def test_a_key_file_that_all_can_read_is_a_warning(config: Path) -> None:
    key = config.parent / "heat.key"
    key.write_text("00" * 16, encoding="utf-8")
    key.chmod(0o644)
    give_key(config, str(key))
    code, _, (line,) = await checked(config)
    assert code == 0
    assert line.endswith(f".key: {key} can be read by every user of this machine; take that away: chmod o-r {key}")


async def test_a_credential_is_looked_for_where_systemd_lays_it_and_else_left_aside(config: Path) -> None:
    give_key(config, "credential:heat")
    assert (await checked(config))[0] == 0
    code, _, (line,) = await checked(config, CREDENTIALS_DIRECTORY=str(config.parent))
    assert (code, f".key: {config.parent}/heat is not there" in line) == (3, True)
