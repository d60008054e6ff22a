"""A backup is taken, the gateway goes on, its store is lost, and it goes on from the backup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ordeal import ordeal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker


@pytest.mark.parametrize("before", [33, 36], ids=["before the month is closed", "after the month is closed"])
async def test_from_an_older_backup_the_gateway_goes_on_and_the_consumers_total_is_the_truth(
    broker: Broker, tmp_path: Path, before: int
) -> None:
    backup = tmp_path / "backup.db"
    async with ordeal(tmp_path, broker) as one:
        async with one.living() as (daemon, clock):
            for _ in range(before):
                assert await one.step(daemon, clock)
            await one.command("backup", str(backup))
            for _ in range(8):  # the month is closed, its charges are delivered: the backup knows nothing of that
                assert await one.step(daemon, clock)
        (one.store / "gateway.db").unlink()
        await one.command("restore", str(backup))
        await one.conclude()
        await one.check_charges()
        streams = {event["stream"] for event in one.received("charges")}
        assert len(streams) == 2, "the numbers of the old stream are not given a second time"
