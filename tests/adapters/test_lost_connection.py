"""A database that went away and came back: the first command after that is carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text

from gateway.clock import SystemClock
from gateway.service.command_execute import Commander
from gateway.service.command_schema import Add
from gateway.store import Store
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from tests.postgres import Postgres

END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> :mine"
VALUE = {"id": "blumer", "kind": "legal", "company": "Blumer AG", "registration": "CHE-1", "address": "Weg 1"}


def end_connections(url: str) -> None:
    """What a restart of the server does to who is connected."""
    engine = create_engine(url)
    with engine.connect() as connection:
        mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        connection.execute(text(END_ALL), {"mine": mine})
    engine.dispose()


async def test_the_first_command_after_the_database_is_back_is_carried_out(postgres: Postgres) -> None:
    url = postgres.new()
    migrate(url)
    async with Store(url) as store:
        commander = Commander(store=store, clock=SystemClock(), seal=str)
        await commander.execute(Add(kind="user", value=VALUE), "test")
        end_connections(url)
        answer = await commander.execute(Add(kind="user", value={**VALUE, "id": "meier"}), "test")
        assert (answer.applied, answer.problems) == (True, ())
