from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.scenarios.plant import running, submeter

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from tests.broker import Broker
    from tests.postgres import Postgres
    from tests.scenarios.plant import Plant


async def said(daemon: asyncio.subprocess.Process, words: str) -> None:
    """Return once the daemon has logged the words."""
    assert daemon.stderr is not None
    while words not in (line := (await daemon.stderr.readline()).decode()):
        assert line, "the daemon has ended"


async def backlog_told(plant: Plant) -> list[str]:
    """What the doctor says of what the store has not taken."""
    _, out, _ = await submeter("--config", plant.config, "--json", "doctor")
    return [each["text"] for each in json.loads(out)["findings"] if each["check"] == "backlog" and not each["ok"]]


async def test_rounds_that_cannot_be_stored_wait_and_the_daemon_goes_on(tmp_path: Path, broker: Broker) -> None:
    async with running(tmp_path, (broker.host, broker.port)) as plant:
        await plant.step(0)
        with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await plant.step(15)
            assert {minute for _, minute in await plant.polls()} == {0}
            (text,) = await backlog_told(plant)
            assert re.match(r"\d+ wait in memory until the store takes them: look at the disk; journalctl", text)
            other.execute("ROLLBACK")
        await said(plant.daemon, "Stored what had waited")
        assert await backlog_told(plant) == []
        await plant.step(30)
        expected = plant.due((0, 15, 30))
        assert await plant.polls() == expected
        code, _ = await plant.end()
        assert code == 0


async def test_a_database_server_may_go_away_and_come_back(tmp_path: Path, broker: Broker, postgres: Postgres) -> None:
    async with running(tmp_path, (broker.host, broker.port), store=postgres.new()) as plant:
        await plant.step(0)
        postgres.stop()
        try:
            await plant.step(15)
        finally:
            postgres.start()
        await said(plant.daemon, "Stored what had waited")
        await plant.step(30)
        assert await plant.polls() == plant.due((0, 15, 30))
        code, log = await plant.end()
        assert (code, [line.endswith(": ended") for line in log]) == (0, [True]), log
