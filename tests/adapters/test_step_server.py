from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gateway.clock import SteppedClock, StepServer

if TYPE_CHECKING:
    from pathlib import Path

FAR = datetime(2100, 1, 1, tzinfo=UTC)


async def ask(path: Path, *lines: str) -> list[str]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    answers = []
    for line in lines:
        writer.write(f"{line}\n".encode())
        answers.append((await reader.readline()).decode().strip())
    writer.close()
    await writer.wait_closed()
    return answers


async def wait_for_socket(path: Path) -> None:
    while not path.exists():  # noqa: ASYNC110 - a file system has no event to wait for
        await asyncio.sleep(0)


async def test_a_step_is_answered_with_the_same_line_once_all_that_was_due_is_done(tmp_path: Path) -> None:
    path, clock, done = tmp_path / "clock.sock", SteppedClock(), list[datetime]()
    server = StepServer(clock)

    async def worker() -> None:
        while True:
            await clock.until(clock.now() + timedelta(minutes=15))
            done.append(clock.now())

    with clock.busy():  # as the daemon does while it opens everything
        opened = asyncio.ensure_future(server.open(str(path)))
        await wait_for_socket(path)
        asking = asyncio.ensure_future(ask(path, "2026-10-01T00:00:00Z", "2026-10-01T01:00:00+00:00"))
        await opened
        assert clock.now() == datetime(2026, 10, 1, tzinfo=UTC)
        run = clock.enrolled(worker)
    assert not asking.done()
    task = asyncio.ensure_future(run())
    assert await asking == ["2026-10-01T00:00:00Z", "2026-10-01T01:00:00+00:00"]
    assert [each.minute for each in done] == [15, 30, 45, 0]
    task.cancel()
    server.close()


async def test_what_is_no_later_instant_is_refused_and_the_clock_goes_on(tmp_path: Path) -> None:
    path, clock = tmp_path / "clock.sock", SteppedClock()
    server = StepServer(clock)
    opened = asyncio.ensure_future(server.open(str(path)))
    await wait_for_socket(path)
    answers = await ask(path, "soon", "2026-10-02T00:00:00", "2026-10-02T00:00:00Z", "2026-10-01T00:00:00Z")
    await opened
    assert [each.partition(":")[0] for each in answers] == ["refused", "refused", "2026-10-02T00", "refused"]
    assert await ask(path, "2026-10-03T00:00:00Z") == ["2026-10-03T00:00:00Z"]
    server.close()
