"""Reading beside the writer, in a few threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from gateway.store.errors import DATABASE_ERRORS, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from gateway.store.writer import Work

_T = TypeVar("_T")


class Reader:
    """Runs each work on a connection that cannot write; one work sees one state of the store."""

    def __init__(self, engine: Engine, threads: int, trouble: Callable[[Exception], str | None]) -> None:
        """`engine` has as many connections as there are threads.

        `trouble` says in a sentence, or not, that an error comes from the disk and not from the work.
        """
        self._engine = engine
        self._trouble = trouble
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store-reader")

    async def run(self, work: Work[_T]) -> _T:
        """What `work` returns. StorageError where nothing can be read just now: it may be tried again."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    def close(self) -> None:
        """Finish what was begun, then let go of the connections."""
        self._threads.shutdown()
        self._engine.dispose()

    def _read(self, work: Work[_T]) -> _T:
        try:
            with self._engine.connect() as connection:
                return work(connection)
        except DATABASE_ERRORS as error:
            reason = self._trouble(error)
            if reason is None:
                raise
            raise StorageError(reason) from error
