from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, insert

import gateway.store
from gateway.core.units import Scaled
from gateway.store import Store, schema, streams
from gateway.store.migrate import migrate
from tests.adapters.stores import QUARTER, START, charge, poll, reading

if TYPE_CHECKING:
    from collections.abc import Mapping

CUTS = 10
MIGRATIONS = Path(gateway.store.__file__).with_name("migrations")
UPGRADE = """
import os, signal, sys
from sqlalchemy import Engine, event
from gateway.store.migrate import migrate
left = int(sys.argv[2])
@event.listens_for(Engine, "before_cursor_execute")
def count(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
migrate(sys.argv[1])
print(-left)
"""


def rows(no: int) -> Mapping[str, list[dict[str, object]]]:
    """What a store of the first release holds."""
    at = [int((START + step * QUARTER).timestamp() * 1_000_000) for step in range(no)]
    told = [charge(step) for step in range(no)]
    return {
        "channel": [{"no": 1, "meter": "heat-01", "serial": "4711", "register": "heat", "unit": "kWh", "obis": ""}],
        "source": [{"no": 1, "boot": "boot-1", "meter": "heat-01", "serial": "4711"}],
        "poll": [
            {"seq": seq, "at": one, "source": 1, "status": 0, "clock_trusted": 1, "raw": b"\x68"}
            for seq, one in enumerate(at, 1)
        ],
        "reading": [{"at": one, "channel": 1, "digits": one, "exponent": -3, "flags": 1, "status": 0} for one in at],
        "charge": [
            {
                "charge_id": one.charge_id,
                "line_id": one.line_id,
                "revision": 1,
                "kind": "charge",
                "facility": "sonnenhof",
                "closing": "2026-10",
                "standing": 1,
                "body": one.data,
            }
            for one in told
        ],
    }


def first_release(folder: Path, no: int = 500) -> Path:
    database = folder / "gateway.db"
    engine = create_engine(f"sqlite:///{database}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        streams.establish(connection)
        for table, values in rows(no).items():
            connection.execute(insert(schema.metadata.tables[table]), values)
    engine.dispose()
    return database


def content(database: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        whole = dict.fromkeys((*rows(1), "stream", "meta"), "*") | {"channel": ", ".join(rows(1)["channel"][0])}
        return {name: connection.execute(f"SELECT {which} FROM {name}").fetchall() for name, which in whole.items()}  # noqa: S608 - our schema's names


def upgrade(database: Path, cut: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(MIGRATIONS.parents[2])}
    arguments = [sys.executable, "-c", UPGRADE, f"sqlite:///{database}", str(cut)]
    return subprocess.run(arguments, check=False, env=environment, stdout=subprocess.PIPE, text=True)


async def test_a_store_of_the_first_release_is_upgraded_with_all_that_it_holds(tmp_path: Path) -> None:
    database = first_release(tmp_path)
    before = content(database)
    done = migrate(f"sqlite:///{database}")
    assert (done.before, done.now) == ("0001", schema.REVISION)
    assert content(database) == before
    async with Store(f"sqlite:///{database}") as store:
        assert (await store.keep([poll(reading(START - QUARTER))])).stored == 1
        assert len((await store.readings(["heat-01"], START, START + 500 * QUARTER))["heat-01", "heat"]) == 501


async def test_readings_of_before_say_no_modulus_and_come_again_without_a_conflict(tmp_path: Path) -> None:
    database = first_release(tmp_path)
    at, seen = START, int(START.timestamp() * 1_000_000)
    migrate(f"sqlite:///{database}")
    said = replace(reading(at), obis="", index=Scaled(seen, -3), modulus=Scaled.parse("10000.0"))
    async with Store(f"sqlite:///{database}") as store:
        again = await store.keep([poll(said)])
        assert (again.stored, again.repeated, again.conflicts) == (0, 1, 0)
        later = replace(said, at=at + 501 * QUARTER)
        assert (await store.keep([poll(later)])).stored == 1
        found = (await store.readings(["heat-01"], at, later.at))["heat-01", "heat"]
    assert {each.modulus for each in found[:-1]} == {None}
    assert found[-1] == replace(later, boot="")


def test_an_upgrade_killed_anywhere_loses_nothing_and_runs_again(tmp_path: Path) -> None:
    database = first_release(tmp_path)
    before = content(database)
    whole = shutil.copy(database, tmp_path / "whole.db")
    statements = int(upgrade(Path(whole), 0).stdout)
    for cut in random.Random(2).choices(range(1, statements), k=CUTS):
        assert upgrade(database, cut).returncode == -signal.SIGKILL
        assert content(database) == before
    assert migrate(f"sqlite:///{database}").before == "0001"
    assert content(database) == before


def test_a_store_of_the_first_release_is_refused_until_it_is_upgraded(tmp_path: Path) -> None:
    database = first_release(tmp_path)
    with pytest.raises(gateway.store.StoreError, match=r"is of revision 0001, .*: run `submeter migrate`"):
        Store(f"sqlite:///{database}")
