"""The reference consumer beside a gateway whose store is lost and goes on from a backup."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.delivery import listening
from tests.ordeal import CONSUMER, KINDS, ordeal
from tests.receiver import consuming, rows, told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Broker

CLOSED = 36
"""polls until October is closed"""
CURRENT = (
    "SELECT body FROM event JOIN stream ON stream.name = event.stream "
    "WHERE stream.current = 1 AND stream.name LIKE 'charges-%' ORDER BY seq"
)


def charges(database: str) -> set[str]:
    """The ids of all that it has ever been told."""
    found = [str(charge) for (charge,) in rows(database, "SELECT charge_id FROM charge")]
    assert len(found) == len(set(found))
    return set(found)


def owed(bodies: list[str]) -> list[str]:
    """What the payers owe together by these events."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for body in bodies:
        data = json.loads(body)["data"]
        sums[data["payer"]["id"]] += Decimal(data["amount"])
    return [f"{payer} {amount} CHF" for payer, amount in sorted(sums.items())]


async def test_after_a_restore_its_total_is_the_truth_and_charges_made_since_the_backup_are_named(
    broker: Broker, tmp_path: Path
) -> None:
    database, backup = str(tmp_path / "billing.db"), tmp_path / "backup.db"
    async with ordeal(tmp_path, broker, consumed=False) as one:
        with consuming(broker, database, "--kinds", *KINDS, name=CONSUMER):
            async with listening(broker.host, broker.port) as ear, one.living() as (daemon, clock):
                for _ in range(CLOSED):
                    assert await one.step(daemon, clock)
                await one.taken(ear)
                await one.command("backup", str(backup))
                known = charges(database)
                await one.tell(dearer=True)
                assert await one.step(daemon, clock)
                await one.taken(ear)
            lost = charges(database) - known
            (one.store / "gateway.db").unlink()
            await one.command("restore", str(backup))
            await one.conclude()
        bodies = [str(body) for (body,) in rows(database, CURRENT)]
        (one.folder / "consumer.jsonl").write_text("\n".join(bodies), encoding="utf-8")
        await one.check_charges()
    assert known
    assert lost
    assert known <= {json.loads(body)["id"] for body in bodies}, "what the backup had is told again under its ids"
    assert not lost & {json.loads(body)["id"] for body in bodies}
    sentence = f"{len(lost)} charges are only in older streams: take them back once the current one is complete"
    assert told(database) == [*owed(bodies), sentence]
