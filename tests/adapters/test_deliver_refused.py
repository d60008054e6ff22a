from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.service import deliver
from gateway.service.reports import CODES, QUIET
from gateway.service.storing import StoreUnavailableError
from tests.delivery import ROOT, StillClock, delivering, listening
from tests.outbox import Outbox, stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from gateway.service.messages import Ack
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


async def test_a_good_ack_ends_the_alarms_of_the_same_consumer_and_each_begin_is_logged_once(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox()
    outbox.add("charge", 2)
    bad: list[dict[str, object]] = [
        {"stream": CHARGES, "seq": "9"},
        {"stream": "charges-00000000", "seq": "1"},
        {"stream": CHARGES, "seq": 1},
    ]
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port, ["billing", "other"]),
    ):
        await ear.until(lambda: len(ear.seqs()) == 2)
        outbox.ended.clear()
        for body in [*bad, *bad]:
            ear.say("ack/billing", body)
        await outbox.until(lambda: len(outbox.alarms) == 3)
        begun = [(alarm.code, alarm.source) for alarm in outbox.alarms]
        assert begun == [
            ("ack_above_sent", "billing"),
            ("ack_unknown_stream", "billing"),
            ("ack_malformed", "billing"),
        ]
        ear.ack("other", CHARGES, 2)
        ear.ack("billing", CHARGES, 2)
        await outbox.until(lambda: set(outbox.ended) == set(begun))
    logged = [record.message for record in caplog.records if record.name == "gateway.service.reports"]
    assert logged == [alarm.text for alarm in outbox.alarms]


async def test_what_nobody_known_can_put_right_ends_after_a_quarter_of_an_hour_without_it(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 1)
    clock = StillClock()
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port, ["billing"], clock) as worker,
    ):
        await ear.until(lambda: len(ear.seqs()) == 1)
        ear.ack("nobody", CHARGES, 1)
        ear.say("cmd/resend", {})
        await outbox.until(lambda: len(outbox.alarms) == 2)
        outbox.ended.clear()
        clock.ahead = QUIET - 60
        ear.say("cmd/resend", {}, reply=f"{ROOT}/reply/again")
        await ear.until(lambda: ear.last("reply/again") is not None)
        clock.ahead = QUIET + 60
        worker.notify()
        await outbox.until(lambda: bool(outbox.ended))
        assert outbox.ended == [("ack_unknown_consumer", "gateway")]


async def test_what_an_earlier_run_left_open_ends_in_one_transaction(broker: Broker) -> None:
    outbox = Outbox()
    async with delivering(outbox, broker.host, broker.port, ["billing", "other"]):
        await outbox.until(lambda: bool(outbox.told))
        assert outbox.told == 1
        assert set(outbox.ended) == {(code, source) for code in CODES for source in ("gateway", "billing", "other")}
