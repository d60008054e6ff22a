"""What the store needs of a database, whichever it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from gateway.store.errors import DATABASE_ERRORS, StoreError
from gateway.store.postgres import PostgresDatabase
from gateway.store.schema import REVISION
from gateway.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine

    from gateway.store.writer import Guard


class Database(Protocol):
    """One database, open or not."""

    @property
    def name(self) -> str:
        """What messages call it; never with a password."""

    def require(self) -> None:
        """StoreError unless it is there."""

    def create(self) -> None:
        """Make it where it can be made without tables; StoreError with what a person has to make."""

    def exclusive(self) -> AbstractContextManager[Engine]:
        """For the one connection that writes. StoreInUseError, here or when it connects, where another process has it.

        Its transactions are durable when they are committed.
        """

    def reading(self, connections: int) -> Engine:
        """For connections that only read; each transaction sees one state of the store."""

    def guard(self, ballast: int) -> Guard:
        """What is done about trouble with the disk; `ballast` in bytes."""

    def home(self, connection: Connection) -> str | None:
        """Where the database lies, so that it shows when it was restored to another place; None: that is not known."""

    def trouble(self, error: Exception, *, reading: bool = False) -> str | None:
        """One sentence where an error means that nothing can be kept just now, None for any other error.

        Who only reads and is refused a write has a bug.
        """


def database(url: str) -> Database:
    """The database of an SQLAlchemy URL; StoreError where it names none."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    backend = "" if parsed is None else parsed.get_backend_name()
    if parsed is not None and parsed.database not in {None, "", ":memory:"}:
        if backend == "sqlite":
            return SqliteDatabase(str(parsed.database))
        if backend == "postgresql":
            return PostgresDatabase(parsed)
    message = f"{url!r} names no store: write sqlite:////folder/gateway.db or postgresql+psycopg://user@host/database"
    raise StoreError(message)


@contextmanager
def usable(base: Database) -> Iterator[None]:
    """Says in one sentence, as a StoreError, why the database cannot be used."""
    try:
        yield
    except DATABASE_ERRORS as error:
        reason = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
        never_connected = getattr(getattr(error, "orig", None), "sqlstate", "") is None  # psycopg's way to say it
        remedy = (
            "start the server, or correct the store in the settings"
            if never_connected
            else "the store must be a database of the gateway's that can be written"
        )
        message = f"{base.name}: {reason}: {remedy}"
        raise StoreError(message) from error


def require_revision(connection: Connection, base: Database) -> None:
    """StoreError unless the tables are those of this release."""
    found = revision(connection)
    if found != REVISION:
        held = f"is of revision {found}" if found else "has no tables"
        message = f"{base.name}: the store {held}, this release needs {REVISION}: run `submeter migrate`"
        raise StoreError(message)


def revision(connection: Connection) -> str | None:
    """The last migration that was applied, None in an empty database."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
