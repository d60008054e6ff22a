"""After an outage: the backlog goes at a limited rate, and holds nothing up that is made now."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.service.lane import BURST
from tests.broker import HOST
from tests.delivery import StillClock, delivering, listening
from tests.outbox import NOON, Outbox, stream

if TYPE_CHECKING:
    from tests.broker import Broker

CHARGES, READINGS = stream("charge"), stream("reading")
OLD = NOON - timedelta(hours=2)
RATE = 100
AT_ONCE = round(RATE * BURST) + 1
"""what a throttle that has rested lets through before any time passes"""


class FrozenClock(StillClock):
    """No time passes but what a test says."""

    def monotonic(self) -> float:
        return 1000.0 + self.ahead


async def test_a_charge_made_now_goes_out_before_the_backlog_of_readings(broker: Broker) -> None:
    outbox, clock = Outbox(), FrozenClock()
    outbox.add("reading", 500, time=OLD)
    async with (
        listening(HOST, broker.port) as ear,
        delivering(outbox, HOST, broker.port, clock=clock, backfill=RATE) as deliver,
    ):
        await outbox.until(lambda: outbox.done[READINGS] == AT_ONCE)
        outbox.add("charge", 100)
        deliver.notify()
        await outbox.until(lambda: outbox.done[CHARGES] == 100)
        assert len(ear.seqs("readings/")) == AT_ONCE
        clock.ahead += 3600
        deliver.notify()
        await outbox.until(lambda: outbox.done[READINGS] >= 2 * AT_ONCE - 1)  # the last one is a matter of rounding
        assert ear.seqs("readings/") == list(range(1, len(ear.seqs("readings/")) + 1))
        assert len(ear.seqs("readings/")) <= 2 * AT_ONCE


async def test_a_backlog_of_charges_holds_up_no_other_stream(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 500, time=OLD)
    outbox.add("alarm", 100)
    outbox.add("reading", 100)
    async with delivering(outbox, HOST, broker.port, clock=FrozenClock(), backfill=RATE):
        await outbox.until(lambda: outbox.done[stream("alarm")] == outbox.done[READINGS] == 100)
        assert outbox.done[CHARGES] <= AT_ONCE


async def test_a_backlog_arrives_complete_and_in_order_and_what_is_new_in_its_stream_after_it(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("reading", 300, time=OLD)
    outbox.add("reading", 100)
    async with listening(HOST, broker.port) as ear, delivering(outbox, HOST, broker.port, backfill=1000):
        await outbox.until(lambda: outbox.done[READINGS] == 400)
        await ear.until(lambda: len(ear.seqs()) == 400)
    assert ear.seqs() == list(range(1, 401))
    assert [event["historical"] for event in ear.events()] == [True] * 300 + [False] * 100


async def test_what_a_receiver_asks_for_again_is_back_fill_too(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 100)
    async with (
        listening(HOST, broker.port) as ear,
        delivering(outbox, HOST, broker.port, clock=FrozenClock(), backfill=RATE) as deliver,
    ):
        await outbox.until(lambda: outbox.done[CHARGES] == 100)
        ear.say("cmd/resend", {"stream": CHARGES, "from_seq": "1"})
        await ear.until(lambda: len(ear.seqs()) == 100 + AT_ONCE)
        outbox.add("charge")
        deliver.notify()
        await ear.until(lambda: 101 in ear.seqs())
        assert ear.seqs() == [*range(1, 101), *range(1, AT_ONCE + 1), 101]
