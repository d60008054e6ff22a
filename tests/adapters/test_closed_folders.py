"""Paths that a person names in a folder that may not be entered, or that are too long: told in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from gateway import drivers, places, settings, tomlfile
from gateway.cli import group
from gateway.cli.exits import REFUSED
from gateway.store import StoreError
from gateway.store.backup import backup, restore
from simulators.console import RequestError
from simulators.simulate import building, free
from tests.adapters.stores import START, new_store
from tests.adapters.test_places import TEXT, open_folder
from tests.adapters.test_store_files import stranger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["open_folder"]


@pytest.fixture(params=["closed/copy", "x" * 5000])
def unseen(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[Path]:
    """What a stranger cannot look at."""
    closed = open_folder / "closed"
    closed.mkdir(0o000)
    yield open_folder / request.param
    closed.chmod(0o700)


@pytest.fixture
def url(open_folder: Path) -> str:
    """A store that is the stranger's."""
    folder = open_folder / "store"
    folder.mkdir()
    made = new_store(folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o777)
    return made


def test_a_backup_cannot_be_written_there(url: str, unseen: Path) -> None:
    with stranger(), pytest.raises(StoreError) as refused:
        backup(url, unseen)
    assert str(refused.value).startswith(f"{unseen}: the backup cannot be written (")


def test_a_backup_cannot_be_read_there(url: str, unseen: Path) -> None:
    with stranger(), pytest.raises(StoreError) as refused:
        restore(url, unseen, START)
    assert str(refused.value).startswith(f"{unseen}: the backup cannot be read (")


def test_a_backups_name_leaves_room_for_what_is_beside_it(url: str, tmp_path: Path) -> None:
    name = tmp_path / ("x" * 255)
    with pytest.raises(StoreError) as refused:
        backup(url, name)
    assert str(refused.value) == f"{name}: the backup cannot be written (File name too long)"


def test_a_backup_into_a_folder_names_no_file(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="this is a folder: name a file in it"):
        backup(url, tmp_path)


def test_a_simulated_building_or_its_settings_cannot_be_there(unseen: Path) -> None:
    with stranger(), pytest.raises(RequestError, match=r"is no folder with devices\.toml"):
        building(str(unseen))
    with stranger(), pytest.raises(RequestError, match="cannot be written"):
        free(unseen)


def test_models_cannot_be_written_there(unseen: Path) -> None:
    with stranger():
        told = CliRunner().invoke(group, ("scan", "mbus", "127.0.0.1:1", "--models", str(unseen)))
    assert told.exit_code == REFUSED
    assert told.stderr.endswith(" is no folder that this user may write to; make it, or name another\n")


def test_check_tells_what_it_cannot_see(tmp_path: Path, unseen: Path) -> None:
    config = tmp_path / "gateway.toml"
    text = TEXT.partition("[mqtt]")[0] + "[[bus]]" + TEXT.partition("[[bus]]")[2]
    config.write_text(text.replace("sqlite:///var", f"sqlite:///{unseen}"), encoding="utf-8")
    assert first_mistake(config).startswith(f"{config}:3: store: the folder {unseen} ")


def test_check_tells_that_a_key_file_is_in_a_closed_folder(open_folder: Path) -> None:
    config, closed = open_folder / "gateway.toml", open_folder / "closed"
    closed.mkdir(0o000)
    text = TEXT.partition("[mqtt]")[0] + "[[bus]]" + TEXT.partition("[[bus]]")[2] + f'key = "{closed}/key"\n'
    config.write_text(text.replace("/var/", "/"), encoding="utf-8")
    open_folder.chmod(0o777)
    assert f".key: {closed}/key cannot be read by this user; " in first_mistake(config)


def test_check_tells_that_the_store_is_a_folder(open_folder: Path) -> None:
    config, folder = open_folder / "gateway.toml", open_folder / "var"
    config.write_text(TEXT.partition("[mqtt]")[0].replace("var/gateway.db", "var"), encoding="utf-8")
    folder.mkdir()
    open_folder.chmod(0o777)
    assert first_mistake(config) == f"{config}:3: store: {folder} is a folder; name a file in it"


def test_check_tells_that_the_stores_name_is_too_long(open_folder: Path) -> None:
    config, name = open_folder / "gateway.toml", "x" * 300
    config.write_text(TEXT.partition("[mqtt]")[0].replace("var/gateway.db", name), encoding="utf-8")
    open_folder.chmod(0o777)
    told = f"the store cannot be {open_folder / name} (File name too long); name another file"
    assert first_mistake(config) == f"{config}:3: store: {told}"


def first_mistake(config: Path) -> str:
    """Of those that a stranger is told of the places that the settings name."""
    loaded, document = settings.load(config, drivers), tomlfile.read(config)
    assert isinstance(loaded, settings.Settings)
    assert isinstance(document, tomlfile.Document)
    with stranger():
        return str(places.wrong(loaded, document)[0])
