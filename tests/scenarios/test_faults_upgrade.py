"""A gateway is upgraded from the previous release, and killed while it migrates its store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from gateway.store.schema import REVISION
from tests.adapters.test_store_upgrade import MIGRATIONS
from tests.ordeal import KILLED, MORTAL, Ordeal, ordeal
from tests.scenarios.plant import begin, submeter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker

PREVIOUS = "0001"
LEAST = 5
"""places at which a migration can be killed"""


async def test_an_upgrade_killed_at_every_place_goes_through_and_the_gateway_goes_on(
    broker: Broker, tmp_path: Path
) -> None:
    async with ordeal(tmp_path, broker) as one:
        await one.life(36)
        turn_back(one.store / "gateway.db")
        code, _, err = await submeter("--config", one.config, "run")
        assert (code, err.count("\n")) == (3, 1)
        assert f"the store is of revision {PREVIOUS}, this release needs {REVISION}: run `submeter migrate`" in err
        cuts = 1
        while await killed(one, cuts):
            cuts += 1
        assert cuts > LEAST
        await one.conclude()
        await one.check()


def turn_back(database: Path) -> None:
    """The same store as the previous release has it."""
    old = database.with_name("old.db")
    engine = create_engine(f"sqlite:///{old}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, PREVIOUS)
    engine.dispose()
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("ATTACH ? AS new", [str(database)])
        tables = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table != "alembic_version":
                columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
                connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")  # noqa: S608 - our schema's names
        connection.commit()
    for end in ("-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)
    old.replace(database)


async def killed(one: Ordeal, cut: int) -> bool:
    """Begin to migrate, and die at this place; whether there was such a place."""
    process = await begin("--config", one.config, "migrate", program=MORTAL, MORTAL=f"kill any {cut}")
    _, err = await process.communicate()
    assert process.returncode in {0, KILLED}, err.decode()
    return process.returncode == KILLED
