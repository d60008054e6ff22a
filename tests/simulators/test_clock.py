from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from simulators.clock import Clock, ClockError

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


async def stepped(socket: Path, answer: bytes | None) -> None:
    """Step once against a gateway that answers this; None: the same instant."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        writer.write(line if answer is None else answer)
        writer.close()

    clock = Clock(socket)
    step = asyncio.create_task(clock.step(NOON))  # it waits for the gateway
    server = await asyncio.start_unix_server(serve, socket)
    try:
        await step
    finally:
        await clock.close()
        server.close()


async def test_a_step_is_done_when_its_instant_comes_back(tmp_path: Path) -> None:
    await stepped(tmp_path / "clock", None)


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"", "was told 2026-10-01T12:00:00Z and answered nothing"), (b"no: backwards\n", "answered no: backwards")],
)
async def test_any_other_answer_is_one_sentence(tmp_path: Path, answer: bytes, said: str) -> None:
    with pytest.raises(ClockError, match=said):
        await stepped(tmp_path / "clock", answer)
