from __future__ import annotations

import asyncio
import gc
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gateway.clock import SteppedClock, StepServer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def ask(path: Path, *lines: str) -> list[str]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    answers = []
    for line in lines:
        writer.write(f"{line}\n".encode())
        answers.append((await reader.readline()).decode().strip())
    writer.close()
    await writer.wait_closed()
    return answers


async def test_a_step_is_answered_with_the_same_line_once_all_that_was_due_is_done(tmp_path: Path) -> None:
    path, clock, done = tmp_path / "clock.sock", SteppedClock(), list[datetime]()
    server = StepServer(clock)
    await server.open(str(path))

    async def worker() -> None:
        await clock.started()
        while True:
            await clock.until(clock.now() + timedelta(minutes=15))
            done.append(clock.now())

    task = asyncio.ensure_future(clock.enrolled(worker)())
    answers = await ask(path, "2026-10-01T00:00:00Z", "2026-10-01T01:00:00+00:00")
    assert answers == ["2026-10-01T00:00:00Z", "2026-10-01T01:00:00+00:00"]
    assert [each.minute for each in done] == [15, 30, 45, 0]
    task.cancel()
    server.close()


async def test_what_is_no_later_instant_is_refused_and_the_clock_goes_on(tmp_path: Path) -> None:
    path, clock = tmp_path / "clock.sock", SteppedClock()
    server = StepServer(clock)
    await server.open(str(path))
    answers = await ask(path, "soon", "2026-10-02T00:00:00", "2026-10-02T00:00:00Z", "2026-10-01T00:00:00Z")
    assert [each.partition(":")[0] for each in answers] == ["refused", "refused", "2026-10-02T00", "refused"]
    assert await ask(path, "2026-10-03T00:00:00Z") == ["2026-10-03T00:00:00Z"]
    server.close()


async def test_a_simulation_that_goes_away_leaves_the_clock_to_the_next_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "clock.sock", SteppedClock()
    server = StepServer(clock)
    await server.open(str(path))
    with clock.busy():
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"2026-10-01T00:00:00Z\n" * 100)
        await writer.drain()
        await clock.started()
        writer.transport.abort()
    assert await ask(path, "2026-10-03T00:00:00Z") == ["2026-10-03T00:00:00Z"]
    server.close()
    gc.collect()  # asyncio tells of a task that has failed unheard when it is collected
    assert caplog.messages == []
