from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.mqtt import client as mqtt
from gateway.mqtt.client import MqttClient
from tests.delivery import GATEWAY, ROOT, StillClock, delivering, listening
from tests.outbox import NOON, Outbox, stream

if TYPE_CHECKING:
    from tests.broker import Broker
    from tests.delivery import Ear

CHARGES = stream("charge")
READINGS = stream("reading")


async def test_every_event_is_published_in_order_charges_first(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("reading", 150)
    outbox.add("alarm", 150)
    outbox.add("charge", 150)
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port):
        await ear.until(lambda: len(ear.seqs()) == 450)
    kinds = [event["stream"].split("-")[0] for event in ear.events()]
    assert kinds == ["charges"] * 150 + ["alarms"] * 150 + ["readings"] * 150
    assert ear.seqs("charges/") == list(range(1, 151))


async def test_without_a_named_consumer_the_brokers_confirmation_finishes_and_info_says_so(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 30)
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port):
        await outbox.until(lambda: outbox.done[CHARGES] == 30)
        await ear.until(lambda: ear.last("info") is not None)
    info = json.loads(ear.last("info") or b"")
    assert info["finished_by"] == "puback"
    assert info["protocol"] == "MQTT 5"
    assert CHARGES in info["streams"]


async def test_an_event_is_finished_only_when_every_named_consumer_has_acknowledged_it(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 10)
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port, ["billing", "portal"]),
    ):
        await ear.until(lambda: len(ear.seqs()) == 10)
        ear.ack("billing", CHARGES, 10)
        await outbox.until(lambda: outbox.taken.get(("billing", CHARGES)) == 10)
        assert outbox.done[CHARGES] == 0
        ear.ack("portal", CHARGES, 4)
        await outbox.until(lambda: outbox.taken.get(("portal", CHARGES)) == 4)
        assert outbox.done[CHARGES] == 4
        ear.ack("portal", CHARGES, 10)
        await outbox.until(lambda: outbox.done[CHARGES] == 10)


async def test_acks_that_come_one_after_the_other_cost_the_disk_few_transactions(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 20)
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port, ["billing"]),
    ):
        await ear.until(lambda: len(ear.seqs()) == 20)
        for seq in range(1, 21):
            ear.ack("billing", CHARGES, seq)
            await ear.until(lambda: len(ear.answers) == seq)  # noqa: B023 - awaited here
        await outbox.until(lambda: outbox.done[CHARGES] == 20)
        assert outbox.transactions < 10


async def test_what_is_unfinished_is_published_again_by_the_next_run_and_no_more_than_that(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 10)
    async with listening(broker.host, broker.port) as ear:
        async with delivering(outbox, broker.host, broker.port, ["billing"]):
            await ear.until(lambda: len(ear.seqs()) == 10)
            ear.ack("billing", CHARGES, 7)
            await outbox.until(lambda: outbox.done[CHARGES] == 7)
        async with delivering(outbox, broker.host, broker.port, ["billing"]):
            await ear.until(lambda: len(ear.seqs()) == 13)
    assert ear.seqs() == [*range(1, 11), 8, 9, 10]


async def test_a_new_event_goes_out_when_the_store_tells_of_it(broker: Broker) -> None:
    outbox = Outbox()
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port) as deliver:
        await ear.until(lambda: ear.last("status") == b"online")
        outbox.add("charge")
        deliver.notify()
        await ear.until(lambda: ear.seqs() == [1])


async def test_an_ack_above_the_highest_sent_is_refused_and_alarmed_once(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 3)
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port, ["billing"]) as deliver,
    ):
        await ear.until(lambda: len(ear.seqs()) == 3)
        for _ in range(5):
            ear.ack("billing", CHARGES, 4)
        ear.ack("billing", CHARGES, 2)
        await outbox.until(lambda: outbox.done[CHARGES] == 2)
        await outbox.until(lambda: bool(outbox.alarms))
        assert outbox.taken[("billing", CHARGES)] == 2
        assert [(alarm.code, alarm.source) for alarm in outbox.alarms] == [("ack_above_sent", "billing")]
        assert deliver.counts["ack_above_sent"] == 5


@pytest.mark.parametrize(
    ("consumer", "body", "code"),
    [
        ("nobody", {"stream": CHARGES, "seq": "1"}, "ack_unknown_consumer"),
        ("billing", {"stream": "charges-00000000", "seq": "1"}, "ack_unknown_stream"),
        ("billing", {"stream": CHARGES, "seq": 1}, "ack_malformed"),
        ("billing", {"stream": CHARGES, "seq": "-1"}, "ack_malformed"),
        ("billing", {"stream": CHARGES, "seq": "1", "more": 1}, "ack_malformed"),
        ("billing", b"[" * 500, "ack_malformed"),
        ("billing", b"\xff", "ack_malformed"),
    ],
)
async def test_an_ack_that_says_nothing_usable_is_refused_counted_and_alarmed_once(
    broker: Broker, consumer: str, body: object, code: str
) -> None:
    outbox = Outbox()
    outbox.add("charge", 2)
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port, ["billing"]) as deliver,
    ):
        await ear.until(lambda: len(ear.seqs()) == 2)
        for _ in range(3):
            ear.say(f"ack/{consumer}", body)
        ear.ack("billing", CHARGES, 2)
        await outbox.until(lambda: outbox.done[CHARGES] == 2)
        await outbox.until(lambda: bool(outbox.alarms))
        assert [alarm.code for alarm in outbox.alarms] == [code]
        assert deliver.counts[code] == 3


async def test_resend_repeats_from_the_seq_marked_historical_and_answers(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 5)
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port, ["billing"]),
    ):
        await ear.until(lambda: len(ear.seqs()) == 5)
        ear.ack("billing", CHARGES, 5)
        await outbox.until(lambda: outbox.done[CHARGES] == 5)
        request = {"stream": CHARGES, "from_seq": "3"}
        ear.say("cmd/resend", request, reply="elsewhere/billing", correlation=b"\x00\x01")
        await ear.until(lambda: len(ear.seqs()) == 8)
        await ear.until(lambda: bool(_answers(ear)))
    assert ear.seqs()[5:] == [3, 4, 5]
    assert [event["historical"] for event in ear.events()] == [False] * 5 + [True] * 3
    assert _answers(ear) == [{"ok": True, "stream": CHARGES, "from_seq": "3", "last_seq": "5"}]


def _answers(ear: Ear) -> list[object]:
    return [json.loads(message.payload) for message in ear.heard if message.topic == "elsewhere/billing"]


async def test_resend_of_what_is_no_longer_kept_answers_expired(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 5)
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port),
    ):
        await outbox.until(lambda: outbox.done[CHARGES] == 5)
        del outbox.rows[CHARGES][:3]
        ear.say("cmd/resend", {"stream": CHARGES, "from_seq": "2", "correlation": "c-7"})
        await ear.until(lambda: ear.last("reply/c-7") is not None)
        assert json.loads(ear.last("reply/c-7") or b"") == {
            "ok": False,
            "error": "expired",
            "stream": CHARGES,
            "first_seq": "4",
        }
    assert ear.seqs() == [1, 2, 3, 4, 5]


async def test_a_resend_above_the_last_number_sent_is_refused_and_repeats_nothing(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 2)
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port):
        await outbox.until(lambda: outbox.done[CHARGES] == 2)
        for first, name in (("3", "next"), ("1" + 15 * "0", "far"), ("2", "last")):
            ear.say("cmd/resend", {"stream": CHARGES, "from_seq": first, "correlation": name})
        await ear.until(lambda: ear.last("reply/last") is not None and len(ear.seqs()) == 3)
    refused = {"ok": False, "error": "not_sent", "stream": CHARGES, "last_seq": "2"}
    assert [json.loads(ear.last(f"reply/{name}") or b"") for name in ("next", "far")] == [refused, refused]
    assert ear.seqs() == [1, 2, 2]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"stream": CHARGES, "from_seq": "0"}, "command_malformed"),
        ({"stream": CHARGES, "from_seq": -1}, "command_malformed"),
        ({"stream": "charges-00000000", "from_seq": "1"}, "unknown_stream"),
        ({"stream": CHARGES}, "command_malformed"),
        ({"stream": CHARGES, "from_seq": True}, "command_malformed"),
        (b"{", "command_malformed"),
    ],
)
async def test_a_resend_that_cannot_be_done_is_answered(broker: Broker, body: object, error: str) -> None:
    outbox = Outbox()
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port):
        await ear.until(lambda: ear.last("status") == b"online")
        ear.say("cmd/resend", body, correlation=b"c-8")
        await ear.until(lambda: ear.last("reply/c-8") is not None)
        assert json.loads(ear.last("reply/c-8") or b"")["error"] == error


async def test_a_retained_command_is_not_carried_out_at_every_connect(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 2)
    async with listening(broker.host, broker.port) as ear:
        ear.say("cmd/resend", {"stream": CHARGES, "from_seq": "1", "correlation": "kept"}, retain=True)
        await ear.until(lambda: ear.last("cmd/resend") is not None)
        async with delivering(outbox, broker.host, broker.port):
            await ear.until(lambda: ear.last("reply/kept") is not None and len(ear.seqs()) == 2)
            await outbox.until(lambda: bool(outbox.alarms))
    assert json.loads(ear.last("reply/kept") or b"") == {"ok": False, "error": "command_malformed"}
    assert [alarm.code for alarm in outbox.alarms] == ["command_malformed"]


async def test_a_giant_message_is_left_with_the_broker(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 1)
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port) as deliver,
    ):
        await outbox.until(lambda: outbox.done[CHARGES] == 1)
        ear.say("cmd/resend", "x" * 1_000_000, correlation=b"giant")
        ear.say("cmd/resend", {"stream": CHARGES, "from_seq": "1"}, correlation=b"small")
        await ear.until(lambda: ear.last("reply/small") is not None)
        assert deliver.counts["command_malformed"] == 0


async def test_what_is_sent_more_than_an_hour_late_is_historical(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", time=NOON - timedelta(minutes=60))
    outbox.add("charge", time=NOON - timedelta(minutes=59))
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port):
        await ear.until(lambda: len(ear.seqs()) == 2)
    assert [event["historical"] for event in ear.events()] == [True, False]


async def test_a_consumer_that_stays_silent_gets_it_once_more(broker: Broker) -> None:
    outbox, clock = Outbox(), StillClock()
    outbox.add("charge", 3)
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port, ["billing"], clock) as deliver,
    ):
        await ear.until(lambda: len(ear.seqs()) == 3)
        clock.ahead += 61
        deliver.notify()
        await ear.until(lambda: len(ear.seqs()) == 6)
        assert ear.seqs() == [1, 2, 3, 1, 2, 3]


async def test_status_is_retained_and_offline_after_an_orderly_end(broker: Broker) -> None:
    async with delivering(Outbox(), broker.host, broker.port), listening(broker.host, broker.port, "early") as ear:
        await ear.until(lambda: ear.last("status") == b"online")
    async with listening(broker.host, broker.port, "late") as ear:
        await ear.until(lambda: ear.last("status") is not None)
        assert ear.last("status") == b"offline"
        assert all(message.retain for message in ear.heard)


async def test_where_the_last_status_is_not_taken_the_broker_says_offline(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many messages as may be are on their way, and the broker confirms none of them in time."""
    monkeypatch.setattr(mqtt, "LAST_WORDS", 0.05)
    client = MqttClient(GATEWAY, host=broker.host, port=broker.port, consumers=())
    async with listening(broker.host, broker.port) as ear:
        async with client.open(lambda _: None, ()):
            await ear.until(lambda: ear.last("status") == b"online")
            for _ in range(mqtt.WINDOW):
                await client._room.acquire()  # noqa: SLF001 - the places that the messages take
        await ear.until(lambda: ear.last("status") == b"offline")


async def test_no_event_is_retained(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 3)
    async with delivering(outbox, broker.host, broker.port):
        await outbox.until(lambda: outbox.done[CHARGES] == 3)
    async with listening(broker.host, broker.port) as ear:
        await ear.until(lambda: ear.last("status") is not None and ear.last("info") is not None)
        assert {message.topic for message in ear.heard} == {f"{ROOT}/status", f"{ROOT}/info"}
