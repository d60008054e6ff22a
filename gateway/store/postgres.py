"""PostgreSQL: the connection that writes holds the lock, so that one cannot be lost without the other."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from gateway.store.errors import StoreError, StoreInUseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from sqlalchemy import URL, Connection, Engine

    from gateway.store.writer import Priority

LOCK = 0x5375626D65746572
"""the number of the advisory lock: "Submeter" in ASCII"""
PATIENCE = 10
"""seconds for a connection"""
_HOLDER = """
SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (classid::bigint << 32 | objid::bigint) = %s
"""
_AWAY = ("08", "57P")
"""classes of SQLSTATE: connection lost; server going down"""
READ_ONLY = "25006"
_TROUBLE = {
    "53100": "its disk is full: make room",
    "53200": "it is out of memory: look at the server",
    "53300": "it has too many connections: look at the server",
    READ_ONLY: "it is read-only: make it writable again",
}


class PostgresDatabase:
    """A database of a PostgreSQL server."""

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self.name = self._url.render_as_string(hide_password=True)

    def require(self) -> None:
        """Nothing: whether it is there shows when it is opened."""

    def create(self) -> None:
        """Nothing: a database is made by the server's administrator, and opening it says when it is missing."""

    @contextmanager
    def exclusive(self) -> Iterator[Engine]:
        """The engine of the one connection that writes; every connection that it makes takes the lock, or fails."""
        engine = self._engine("-c synchronous_commit=on", poolclass=NullPool)

        @event.listens_for(engine, "connect")
        def _connect(connection: psycopg.Connection, _record: object) -> None:
            self._lock(connection)

        try:
            yield engine
        finally:
            engine.dispose()

    def reading(self, connections: int) -> Engine:
        """For connections that only read; each transaction sees one state of the store."""
        size = {"pool_size": connections, "max_overflow": 0, "pool_pre_ping": True}
        return self._engine("-c default_transaction_read_only=on", isolation_level="REPEATABLE READ", **size)

    def guard(self, ballast: int) -> Patience:
        """Nothing is kept on a server's disk."""
        del ballast
        return Patience()

    def home(self, connection: Connection) -> str | None:
        """The server's own number and the database's: a restored or copied database has others."""
        if not connection.scalar(text("SELECT has_function_privilege('pg_control_system()', 'execute')")):
            return None
        server = connection.scalar(text("SELECT system_identifier FROM pg_control_system()"))
        database = connection.scalar(text("SELECT oid FROM pg_database WHERE datname = current_database()"))
        return f"{server}/{database}"

    def trouble(self, error: Exception, *, reading: bool = False) -> str | None:
        """One sentence where an error means that the server refuses or is away, None for any other error."""
        if not isinstance(error, DBAPIError):
            return None
        state = getattr(error.orig, "sqlstate", None)
        sentence = None if reading and state == READ_ONLY else _TROUBLE.get(state or "")
        if sentence is None and (error.connection_invalidated or (state or "08").startswith(_AWAY)):
            sentence = "the server does not answer: start it, or look at the way to it"
        return None if sentence is None else f"{self.name}: {sentence}"

    def _lock(self, connection: psycopg.Connection) -> None:
        taken = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
        if taken != (True,):
            holder = connection.execute(_HOLDER, (LOCK,)).fetchone() or ("another process",)
            message = f"{self.name}: {holder[0]} is using the store: stop it first (is `submeter run` active?)"
            raise StoreInUseError(message)
        connection.commit()

    def _engine(self, options: str, **settings: Any) -> Engine:  # noqa: ANN401 - create_engine takes them so
        arguments = {
            "options": options,
            "connect_timeout": PATIENCE,
            "application_name": f"submeter process {os.getpid()}",
        }
        try:
            return create_engine(self._url, connect_args=arguments, **settings)
        except ModuleNotFoundError as error:
            message = f"{self.name}: psycopg is missing: install submeter-gateway[postgres]"
            raise StoreError(message) from error


class Patience:
    """All that can be done about the disk of a server: wait."""

    full = False

    def admits(self, connection: Connection, priority: Priority) -> bool:
        """Everything may be tried."""
        del connection, priority
        return True

    def relieve(self, connection: Connection, error: BaseException | None) -> bool:
        """There is nothing to give up."""
        del connection, error
        return False
