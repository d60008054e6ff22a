from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from gateway.store import StorageError, Store, StoreError, StoreInUseError, StoreView, schema
from gateway.store.migrate import migrate
from gateway.store.writer import Priority
from tests.adapters.stores import QUARTER, START, charge, poll, reading
from tests.broker import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import Postgres

HOLDER = """
import asyncio, sys
from gateway.store import Store
async def hold():
    async with Store(sys.argv[1]):
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(hold())
"""


@pytest.fixture
def running(postgres: Postgres) -> Iterator[Postgres]:
    """A server that runs again after a test that has stopped it."""
    yield postgres
    if not postgres.runs:
        postgres.start()


def show(connection: Connection) -> dict[str, str]:
    names = ("synchronous_commit", "transaction_read_only", "transaction_isolation")
    return {name: str(connection.scalar(text(f"SHOW {name}"))) for name in names}


async def test_what_is_committed_is_durable_whatever_the_server_was_told(postgres: Postgres) -> None:
    url = postgres.new()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {engine.url.database} SET synchronous_commit = off"))
    engine.dispose()
    async with Store(url) as store:
        assert (await store.writer.submit(Priority.POLL, show))["synchronous_commit"] == "on"


async def test_who_reads_cannot_write_and_sees_one_state(postgres: Postgres) -> None:
    async with Store(postgres.new()) as store:
        found = await store.reader.run(show)
        assert (found["transaction_read_only"], found["transaction_isolation"]) == ("on", "repeatable read")
        with pytest.raises(DBAPIError, match="read-only") as caught:
            await store.reader.run(lambda connection: connection.execute(text("DELETE FROM meta")))
        assert not isinstance(caught.value, StorageError)


def test_migrations_give_exactly_the_tables_of_the_schema(postgres: Postgres) -> None:
    engine = create_engine(postgres.new())
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()


def test_a_database_is_brought_to_this_release_once(postgres: Postgres) -> None:
    url = postgres.new("template0")
    with pytest.raises(StoreError, match=r"has no tables, this release needs .*: run `submeter migrate`"):
        StoreView(url)
    done = migrate(url)
    assert (done.name, done.before, done.now) == (url, None, schema.REVISION)
    assert migrate(url).before == schema.REVISION
    asyncio.run(Store(url).close())


async def test_ids_compare_bytewise_whatever_the_order_of_the_database(postgres: Postgres) -> None:
    async with Store(postgres.new()) as store:
        new = [replace(charge(no), line_id=line) for no, line in enumerate(("a-1", "B-1", "_x"))]
        await store.publish(new, START)
        assert await store.standing_charges("sonnenhof", "2026-10", str) == [new[1].data, new[2].data, new[0].data]


def test_a_second_process_is_refused_with_the_id_of_the_first_which_kill_9_frees(postgres: Postgres) -> None:
    url = postgres.new()
    with subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            for use in (Store, migrate):
                with pytest.raises(StoreInUseError, match=f"process {holder.pid} is using the store: stop it first"):
                    use(url)
            asyncio.run(StoreView(url).close())  # looking is allowed
            asyncio.run(Store(postgres.new()).close())  # and so is another database
        finally:
            holder.kill()
    freed(url)


def freed(url: str) -> None:
    """Return once the server has noticed that the holder is gone."""
    while True:
        try:
            asyncio.run(Store(url).close())
        except StoreInUseError:
            continue
        return


async def test_a_server_that_goes_away_is_told_and_used_again_with_the_lock_when_it_is_back(running: Postgres) -> None:
    url = running.new()
    words: asyncio.Queue[str] = asyncio.Queue()
    async with Store(url) as store:
        store.watch(words.put_nowait, lambda: words.put_nowait("well"))
        await store.keep([poll(reading())])
        running.stop()
        for _ in range(2):
            with pytest.raises(StorageError, match="the server does not answer: start it"):
                await store.keep([poll(reading(START + QUARTER))])
        with pytest.raises(StorageError, match="the server does not answer"):
            await store.dirty()
        running.start()
        assert (await store.keep([poll(reading(START + QUARTER))])).stored == 1
        assert (await store.streams())[-1].head == 2
        assert "the server does not answer" in await words.get()
        assert await words.get() == "well"
        with pytest.raises(StoreInUseError):
            Store(url)


def test_a_server_that_is_not_there_is_told_in_one_sentence_without_the_password() -> None:
    url = f"postgresql://gateway:secret@{HOST}:{free_port()}/submeter"
    for use in (migrate, Store, StoreView):
        with pytest.raises(StoreError, match=r"gateway:\*\*\*@.*refused") as caught:
            use(url)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_database_that_is_not_there_is_told(postgres: Postgres) -> None:
    with pytest.raises(StoreError, match='database "missing" does not exist'):
        migrate(postgres.url("missing"))


def test_without_psycopg_it_is_told_what_to_install() -> None:
    code = """
import sys
sys.modules["psycopg"] = None
from gateway.store import StoreError, StoreView
try:
    StoreView("postgresql+psycopg://gateway@box/submeter")
except StoreError as error:
    sys.exit("submeter-gateway[postgres]" not in str(error))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_daemon_on_sqlite_never_loads_psycopg() -> None:
    code = "import sys, gateway.daemon; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
