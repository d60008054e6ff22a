"""A store that is served through its socket, as the daemon does it, while a test gives commands."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from gateway import pepper
from gateway.clock import SystemClock
from gateway.control import ControlServer, socket_path
from gateway.core.access import digest
from gateway.service.command_execute import Commander
from gateway.service.enrol import Enrolment
from gateway.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.adapters.importing import Desk


@contextmanager
def serving(desk: Desk, changed: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """The socket's path; the store is locked as long as it is there."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    config = desk.folder / "gateway.toml"
    path = socket_path(desk.url, config)

    async def serve() -> None:
        async with Store(desk.url) as store:
            commander = Commander(
                store=store,
                clock=SystemClock(),
                seal=lambda identifier: digest(identifier, pepper.load(config)),
                changed=changed,
            )
            enrolment = Enrolment(commander.check, {})
            server = ControlServer(
                path, commander.execute, tapped=enrolment.tapped, busy=nullcontext, beat=lambda: None
            )
            server.open()
            worker = asyncio.ensure_future(server.run())
            ready.set()
            await ended.wait()
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            server.close()

    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield path
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
