"""The gateway's program with a moment of death: `MORTAL="HOW WHERE COUNT" python -m tests.mortal ARGUMENT ...`.

WHERE is poll, settle, deliver, tap or any: at the COUNT-th thing of this kind that it is about to do (a statement that
writes, a commit, telling who waits for a commit, a publish; with poll/COMMIT a commit only) it dies. HOW is kill
(SIGKILL) or cut (first the file system that holds the store loses its power: all that was not flushed is gone). The
last line that it writes says where it died. With CARELESS=1 the store does not flush: the control of a power cut.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from sqlalchemy import Connection, Engine, event

from gateway import cli

if TYPE_CHECKING:
    from collections.abc import Callable

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN of linux/fs/ext4"""
WITHOUT_FLUSH = 2
COMMIT = "COMMIT"
SLOW = 0.5
"""seconds that a commit takes before it fails: who calls something done before it is committed has time to do so"""
KINDS = {
    "poll": ("poll", "reading", "channel", "source", "conflict"),
    "settle": ("charge", "event", "closing", "dirty", "property"),
    "tap": ("session",),
    "deliver": ("ack", "stream"),
}
WRITES = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|CREATE INDEX|ALTER TABLE) (\w+)")


class Fate:
    """Counts what the process is about to do, and ends it."""

    def __init__(self, how: str, where: str, count: str) -> None:
        self._how = how
        self._kind, _, self._place = where.partition("/")
        self._left = int(count)
        self._lock = threading.Lock()
        self._doing = "nothing"
        """the kind of work that the open transaction does"""

    def statement(self, _c: object, _cursor: object, statement: str, *_: object) -> None:
        found = WRITES.match(statement.strip())
        if found is not None:
            self._doing = next((kind for kind, tables in KINDS.items() if found[1] in tables), "other")
            self.meet(self._doing, found[0])

    def commit(self, _: object) -> None:
        self.meet(self._doing, COMMIT)

    def told(self) -> None:
        self.meet(self._doing, "after the commit")

    def meet(self, kind: str, place: str) -> None:
        with self._lock:
            self._left -= self._kind in {"any", kind} and self._place in {"", place}
            mortal = self._left == 0
            self._left -= mortal
        if mortal:
            self._die(kind, place)

    def _die(self, kind: str, place: str) -> None:
        os.write(sys.stderr.fileno(), f"died at {kind}: {place}\n".encode())
        if place == COMMIT:
            time.sleep(SLOW)  # the slow commit itself, in a process of its own
        if self._how == "cut":
            folder = os.open(os.environ["MORTAL_FOLDER"], os.O_RDONLY)
            fcntl.ioctl(folder, SHUTDOWN, WITHOUT_FLUSH.to_bytes(4, sys.byteorder))
        os.kill(os.getpid(), signal.SIGKILL)


def watch(fate: Fate) -> None:
    """Let the fate see statements, commits, what is told after them, and publishes."""
    event.listen(Engine, "before_cursor_execute", fate.statement)
    event.listen(Engine, "commit", fate.commit)
    publish: Callable[..., Any] = Client.publish
    tell: Callable[..., None] = Future.set_result

    def publishing(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it is given
        fate.meet("deliver", "publish")
        return publish(*arguments, **named)

    def telling(future: Future[Any], result: object) -> None:
        if threading.current_thread().name == "store-writer":
            fate.told()
        tell(future, result)

    Client.publish = publishing  # type: ignore[method-assign] # the spy
    Future.set_result = telling  # type: ignore[assignment,method-assign] # the spy


def careless(connection: Connection) -> None:
    """Leave it to the system when what was committed reaches the disk."""
    sqlite: Any = connection.connection.dbapi_connection
    sqlite.execute("PRAGMA synchronous = OFF").close()


if __name__ == "__main__":
    if os.environ.get("MORTAL"):
        watch(Fate(*os.environ["MORTAL"].split()))
    if os.environ.get("CARELESS"):
        event.listen(Engine, "engine_connect", careless)
    cli.main()
