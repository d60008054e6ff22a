from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.service import deliver
from gateway.service.storing import StoreUnavailableError
from tests.delivery import delivering, listening
from tests.outbox import Outbox, stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from gateway.service.deliver import Ack
    from tests.broker import Broker

CHARGES = stream("charge")


class FullOutbox(Outbox):
    """Takes no ack for a while."""

    refusals = 2

    async def acknowledge(self, acks: Sequence[Ack], finished: Mapping[str, int]) -> None:
        if self.refusals:
            self.refusals -= 1
            message = "the disk is full: make room"
            raise StoreUnavailableError(message)
        await super().acknowledge(acks, finished)


async def test_an_ack_that_cannot_be_recorded_is_recorded_when_it_can(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "AGAIN", 0.01)
    outbox = FullOutbox()
    outbox.add("charge", 10)
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port, ["billing"]):
        await ear.until(lambda: len(ear.seqs()) == 10)
        ear.ack("billing", CHARGES, 10)
        await outbox.until(lambda: outbox.done[CHARGES] == 10)
    assert outbox.refusals == 0
