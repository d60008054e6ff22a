from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from pwd import getpwuid
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError

from gateway.cli import Options
from gateway.cli.migrate import migrate as migrate_command
from gateway.store import Store, StoreError, StoreInUseError, StoreView, schema
from gateway.store.migrate import migrate
from gateway.store.writer import Priority
from tests.adapters.stores import START, new_store

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLDER = """
import asyncio, sys
from gateway.store import Store
async def hold():
    async with Store(sys.argv[1]):
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(hold())
"""


def dump(database: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE tbl_name != 'alembic_version'")
        # a column that a later migration has added stands on the line of the one before
        return sorted((name, " ".join((sql or "").split())) for name, sql in rows)


def test_migrations_give_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    new_store(tmp_path)
    engine = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    schema.metadata.create_all(engine)
    engine.dispose()
    assert dump(tmp_path / "gateway.db") == dump(tmp_path / "direct.db")


async def test_a_new_store_is_for_its_owner_alone_and_has_a_stream_of_each_kind(tmp_path: Path) -> None:
    usual = os.umask(0o000)
    try:
        url = new_store(tmp_path)
    finally:
        os.umask(usual)
    assert stat.S_IMODE((tmp_path / "gateway.db").stat().st_mode) == 0o600
    async with Store(url) as store:
        streams = await store.streams()
    assert [stream.kind for stream in streams] == ["charge", "session", "alarm", "reading"]
    assert all(stream.head == stream.finished == 0 for stream in streams)


async def test_migrating_again_keeps_the_data_and_the_epoch(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    async with Store(url) as store:
        await store.close_month("sonnenhof", "2026-10", START)
        before = await store.streams()
    assert migrate(url).before == schema.REVISION
    async with StoreView(url) as view:
        assert await view.streams() == before
        assert [month.month for month in await view.closed_months()] == ["2026-10"]


def test_two_stores_have_different_epochs(tmp_path: Path) -> None:
    def name(folder: Path) -> str:
        folder.mkdir()
        with closing(sqlite3.connect(new_store(folder).removeprefix("sqlite:///"))) as connection:
            return str(connection.execute("SELECT name FROM stream").fetchone()[0])

    assert name(tmp_path / "a") != name(tmp_path / "b")


def test_a_missing_folder_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such folder: make it"):
        migrate(f"sqlite:///{tmp_path / 'missing' / 'gateway.db'}")
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "url", ["mysql://box/gateway", "sqlite://", "gateway.db", "sqlite:///:memory:", "postgresql://box"]
)
def test_a_url_that_names_no_store_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(StoreError, match=r"write sqlite:////folder/gateway\.db"):
        migrate(url)


def test_a_store_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    for kind in (Store, StoreView):
        with pytest.raises(StoreError, match="there is no store yet: run `submeter migrate`"):
            kind(f"sqlite:///{tmp_path / 'gateway.db'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [Store, StoreView])
@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_a_store_of_another_release_is_refused(tmp_path: Path, revision: str, kind: type[StoreView]) -> None:
    url = new_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    with pytest.raises(StoreError, match=f"is of revision {revision}, .*: run `submeter migrate`"):
        kind(url)
    with pytest.raises(StoreError, match=f"is of revision {revision}"):  # the lock has been let go
        kind(url)


def test_a_newer_store_is_not_migrated(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="install the newer one"):
        migrate(url)


def test_an_empty_file_is_refused_and_can_be_migrated(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").touch()
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    with pytest.raises(StoreError, match="has no tables"):
        StoreView(url)
    assert migrate(url).before is None


def test_a_file_that_is_no_database_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_text("site = 'sonnenhof'\n" * 100)
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    for use in (migrate, Store, StoreView):
        with pytest.raises(StoreError, match="file is not a database: the store must be") as caught:
            use(url)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "gateway.db").read_text().startswith("site")


def test_a_folder_in_the_place_of_the_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").mkdir()
    with pytest.raises(StoreError, match="unable to open database file"):
        migrate(f"sqlite:///{tmp_path / 'gateway.db'}")


def test_a_second_process_is_refused_with_the_id_of_the_first_which_kill_9_frees(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            for use in (Store, migrate):
                with pytest.raises(StoreInUseError, match=f"process {holder.pid} is using the store: stop it first"):
                    use(url)
            asyncio.run(StoreView(url).close())  # looking is allowed
        finally:
            holder.kill()
    asyncio.run(Store(url).close())


async def test_the_lock_is_held_until_the_store_is_closed(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    async with Store(url):
        with pytest.raises(StoreInUseError):
            Store(url)
    async with Store(url):
        pass


async def test_durability_is_really_in_force_on_the_connection_that_writes(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)) as store:
        found = await store.writer.submit(Priority.POLL, pragmas)
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "mmap_size": 0,
        "query_only": 0,
        "wal_autocheckpoint": 1000,
    }


async def test_every_connection_that_reads_neither_writes_nor_checkpoints(tmp_path: Path) -> None:
    async with Store(new_store(tmp_path)) as store:
        for found in await asyncio.gather(*(store.reader.run(pragmas) for _ in range(8))):
            assert found["query_only"] == 1
            assert found["wal_autocheckpoint"] == 0
            assert found["mmap_size"] == 0
        with pytest.raises(OperationalError, match="readonly"):
            await store.reader.run(lambda connection: connection.execute(text("DELETE FROM meta")))


def pragmas(connection: Connection) -> dict[str, object]:
    names = ("journal_mode", "synchronous", "foreign_keys", "mmap_size", "query_only", "wal_autocheckpoint")
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}


def test_the_daemon_never_loads_alembic() -> None:
    code = "import sys, gateway.store; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_migrate_says_what_it_did_and_a_refusal_is_one_sentence_with_exit_3(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('site = "sonnenhof"\ngateway = "gw-01"\nstore = "sqlite:///gateway.db"\n')
    run = CliRunner()
    first = run.invoke(migrate_command, obj=Options(config=config, json=False))
    assert first.output == f"{tmp_path / 'gateway.db'}: brought from nothing to revision {schema.REVISION}\n"
    assert "nothing to do" in run.invoke(migrate_command, obj=Options(config=config, json=False)).output
    config.write_text('site = "sonnenhof"\ngateway = "gw-01"\nstore = "sqlite:///missing/gateway.db"\n')
    refused = run.invoke(migrate_command, obj=Options(config=config, json=False))
    assert refused.exit_code == 3
    assert refused.stderr.count("\n") == 1


def test_a_store_that_cannot_be_made_is_one_sentence_with_exit_3(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    name = "a" * 260
    config.write_text(f'site = "sonnenhof"\ngateway = "gw-01"\nstore = "sqlite:///{name}"\n')
    refused = CliRunner().invoke(migrate_command, obj=Options(config=config, json=False))
    assert refused.exit_code == 3
    assert refused.stderr == (
        f"{tmp_path / name}: the store cannot be made (File name too long): "
        "run it as the gateway's user, or let that user write to the folder\n"
    )


@contextmanager
def stranger() -> Iterator[None]:
    """Whom modes keep out, as they do not root."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize("closed", ["store", "store/gateway.db"])
def test_who_may_not_read_the_store_is_told_as_whom_to_ask(closed: str) -> None:
    told = f"this user may not read the store: use sudo, or sudo -u {getpwuid(os.geteuid()).pw_name}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "store").mkdir()
        url = new_store(folder / "store")
        before = (folder / closed).stat().st_mode
        (folder / closed).chmod(0)
        try:
            with stranger(), pytest.raises(StoreError) as refused:
                StoreView(url)
            assert str(refused.value) == f"{folder}/store/gateway.db: {told}"
            with stranger(), pytest.raises(StoreError, match=r"use sudo|run it as the gateway's user"):
                migrate(url)
        finally:
            (folder / closed).chmod(before)
