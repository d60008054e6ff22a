"""What is done to the gateway by mistake at the broker: too many commands, two gateways of one name, a kept command."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.service.deliver import MAX_REQUESTS
from gateway.service.messages import Problem, Reply, Resend
from gateway.service.reports import COMMAND_MALFORMED
from tests.delivery import ROOT, delivering, listening
from tests.outbox import Outbox, stream

if TYPE_CHECKING:
    import pytest

    from tests.broker import Broker

CHARGES = stream("charge")


async def test_commands_that_are_dropped_are_counted_and_told_once(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox()
    names = [f"r-{number}" for number in range(MAX_REQUESTS + 3)]
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port) as deliver:
        await ear.until(lambda: ear.last("status") == b"online")
        for name in names:  # before the worker has a turn to answer
            deliver.receive(Resend(stream=CHARGES, from_seq=1, reply=Reply(f"{ROOT}/reply/{name}", None)))
        await ear.until(lambda: ear.last(f"reply/{names[-1]}") is not None)
        await outbox.until(lambda: bool(outbox.alarms))
        assert [ear.last(f"reply/{name}") is not None for name in names] == [False] * 3 + [True] * MAX_REQUESTS
    assert deliver.counts["command_dropped"] == 3
    assert [(alarm.code, alarm.source) for alarm in outbox.alarms] == [("command_dropped", "gateway")]
    assert "ask faster than they can be answered" in outbox.alarms[0].text
    assert caplog.text.count("ask faster than they can be answered") == 1


async def test_what_cannot_be_read_and_wants_no_answer_takes_nobodys_place(broker: Broker) -> None:
    outbox = Outbox()
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port) as deliver:
        await ear.until(lambda: ear.last("status") == b"online")
        deliver.receive(Resend(stream=CHARGES, from_seq=1, reply=Reply(f"{ROOT}/reply/good", None)))
        for _ in range(MAX_REQUESTS + 3):  # before the worker has a turn to answer
            deliver.receive(Problem(code=COMMAND_MALFORMED, text="It cannot be read."))
        await ear.until(lambda: ear.last("reply/good") is not None)
    assert (deliver.counts["command_malformed"], deliver.counts["command_dropped"]) == (MAX_REQUESTS + 3, 0)


async def test_clearing_a_retained_command_is_no_command(broker: Broker) -> None:
    outbox = Outbox()
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port) as deliver:
        await ear.until(lambda: ear.last("status") == b"online")
        ear.say("cmd/resend", b"", retain=True)
        ear.say("cmd/resend", {"stream": CHARGES, "from_seq": "1"}, correlation=b"after")
        await ear.until(lambda: ear.last("reply/after") is not None)
    assert deliver.counts["command_malformed"] == 0
    assert outbox.alarms == []


TEXT = (
    "The broker {}:{} ends the connection of sonnenhof.gw-01 again and again: another gateway of this name pushes it"
    " off, or the broker restarts; end one of the two, or give each its own `site` or `gateway` in the settings."
)


async def test_two_gateways_of_one_name_are_told_in_one_sentence_once(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = Outbox(), Outbox()
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(first, broker.host, broker.port),
        delivering(second, broker.host, broker.port),
    ):
        await first.until(lambda: bool(first.alarms))
        await second.until(lambda: bool(second.alarms))
        await ear.until(lambda: ear.last("status") == b"online")  # whose line in the log is still of the time before
        seen, logged = len(ear.heard), len(caplog.records)
        await ear.until(lambda: sum(one.payload == b"online" for one in ear.heard[seen:]) >= 4)
        assert caplog.records[logged:] == []
    text = TEXT.format(broker.host, broker.port)
    for outbox in (first, second):
        assert [(one.code, one.severity, one.text) for one in outbox.alarms] == [("duplicate_gateway", "error", text)]
    assert caplog.text.count(text) == 2


async def test_a_broker_that_names_the_reason_needs_to_say_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async def take_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\x20\x03\x00\x00\x00" + b"\xe0\x01\x8e")  # CONNACK; DISCONNECT, session taken over
        writer.write_eof()
        await reader.read()  # closed over what is unread, the connection would be reset, and the reason lost with it
        writer.close()
        await writer.wait_closed()

    outbox = Outbox()
    server = await asyncio.start_server(take_over, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, delivering(outbox, "127.0.0.1", port):
        await outbox.until(lambda: bool(outbox.alarms))
    assert [(one.code, one.text) for one in outbox.alarms] == [("duplicate_gateway", TEXT.format("127.0.0.1", port))]
    assert "not available" not in caplog.text
