from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import Client

from gateway.mqtt import client as mqtt
from gateway.service.lane import AHEAD
from gateway.service.messages import OfflineError
from tests.broker import HOST, Broker
from tests.delivery import GATEWAY, ROOT, delivering, listening
from tests.outbox import HANGS, Outbox, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PROJECT = Path(__file__).parents[2]
CHARGES = stream("charge")
READINGS = stream("reading")


@contextmanager
def consumer(broker: Broker, name: str, file: Path) -> Iterator[None]:
    """The reference consumer as a process of its own, from the moment it has subscribed."""
    program = [sys.executable, str(PROJECT / "tests/consumer.py"), broker.host, str(broker.port), ROOT, name, str(file)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"subscribed\n"
        try:
            yield
        finally:
            process.kill()


def attempts(monkeypatch: pytest.MonkeyPatch, reason: str, count: int) -> asyncio.Event:
    """Set when as many attempts to connect have failed for this reason; all pass one place, and one is logged."""
    enough = asyncio.Event()
    reasons: list[str] = []
    lost = mqtt.MqttClient._on_lost  # noqa: SLF001 - the only place that every attempt passes

    def spy(client: mqtt.MqttClient, text: str) -> None:
        lost(client, text)
        reasons.append(text)
        if sum(reason in one for one in reasons) == count:
            enough.set()

    monkeypatch.setattr(mqtt.MqttClient, "_on_lost", spy)
    return enough


def kept(file: Path) -> list[int]:
    return [int(json.loads(line)["seq"]) for line in file.read_bytes().splitlines()]


async def test_a_broker_killed_twenty_times_during_publishes_loses_and_doubles_nothing(
    broker: Broker, tmp_path: Path
) -> None:
    outbox, file = Outbox(), tmp_path / "billing.jsonl"
    with consumer(broker, "billing", file):
        async with delivering(outbox, broker.host, broker.port, ["billing"]) as deliver:
            for _ in range(20):
                before = len(outbox.rows[CHARGES])
                outbox.add("charge", 50)
                deliver.notify()
                await outbox.finished(CHARGES, before + 1)
                broker.kill()
                broker.start()
            await outbox.until(lambda: outbox.done[CHARGES] == 1000)
    assert kept(file) == list(range(1, 1001))


async def test_a_restarted_broker_gets_status_and_info_again(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", 5)
    async with delivering(outbox, broker.host, broker.port) as deliver:
        await outbox.until(lambda: outbox.done[CHARGES] == 5)
        broker.stop()
        broker.start()
        outbox.add("charge", 5)
        deliver.notify()
        await outbox.until(lambda: outbox.done[CHARGES] == 10)
        async with listening(broker.host, broker.port) as ear:
            await ear.until(lambda: ear.last("status") == b"online" and ear.last("info") is not None)


async def test_a_broker_that_is_killed_is_told_in_plain_words(
    broker: Broker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = attempts(monkeypatch, "the connection broke off", 1)
    outbox = Outbox()
    outbox.add("charge", 1)
    async with delivering(outbox, broker.host, broker.port), asyncio.timeout(HANGS):
        await outbox.until(lambda: outbox.done[CHARGES] == 1)
        broker.kill()
        await broken.wait()
    assert "nspecified" not in caplog.text


async def test_a_consumer_that_lags_holds_the_outbox_and_catches_up(broker: Broker, tmp_path: Path) -> None:
    outbox = Outbox()
    outbox.add("charge", 300)
    with consumer(broker, "billing", tmp_path / "billing"):
        async with delivering(outbox, broker.host, broker.port, ["billing", "portal"]):
            await outbox.until(lambda: outbox.taken.get(("billing", CHARGES)) == 300)
            assert outbox.done[CHARGES] == 0
            with consumer(broker, "portal", tmp_path / "portal"):  # was not there when they were published
                await outbox.until(lambda: outbox.done[CHARGES] == 300)
    assert kept(tmp_path / "billing") == kept(tmp_path / "portal") == list(range(1, 301))


async def test_a_delivery_made_twice_is_kept_once(broker: Broker, tmp_path: Path) -> None:
    outbox, file = Outbox(), tmp_path / "billing"
    outbox.add("charge", 20)
    with consumer(broker, "billing", file):
        async with listening(broker.host, broker.port) as ear:
            async with delivering(outbox, broker.host, broker.port, ["billing", "portal"]):
                await outbox.until(lambda: outbox.taken.get(("billing", CHARGES)) == 20)
            async with delivering(outbox, broker.host, broker.port, ["billing", "portal"]):
                await ear.until(lambda: len(ear.seqs("charges/")) == 40)
                ear.ack("portal", CHARGES, 20)
                await outbox.until(lambda: outbox.done[CHARGES] == 20)
    assert kept(file) == list(range(1, 21))


async def test_a_broker_absent_at_the_start_is_told_once_and_used_once_it_is_there(
    broker: Broker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = attempts(monkeypatch, "does not answer", 2)
    caplog.set_level(logging.INFO)
    broker.stop()
    outbox = Outbox()
    outbox.add("charge", 30)
    async with delivering(outbox, broker.host, broker.port):
        async with asyncio.timeout(HANGS):
            await told.wait()
        broker.start()
        await outbox.until(lambda: outbox.done[CHARGES] == 30)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "not available" in caplog.records[0].message
    assert "is there" in caplog.records[1].message


async def test_a_broker_that_refuses_the_gateway_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    passwords = tmp_path / "passwords"
    passwords.touch()
    broker = Broker(tmp_path, f"allow_anonymous false\npassword_file {passwords}")
    broker.start()
    refusals = attempts(monkeypatch, "refuses", 2)
    async with delivering(Outbox(), broker.host, broker.port):
        async with asyncio.timeout(HANGS):
            await refusals.wait()
    broker.stop()
    reason = "it refuses the gateway: Not authorized"
    assert [record.message for record in caplog.records] == [
        f"The broker {HOST}:{broker.port} is not available ({reason}); the gateway keeps trying"
    ]


async def test_a_refused_topic_is_alarmed_and_tried_again_and_blocks_nothing_else(tmp_path: Path) -> None:
    rights = tmp_path / "rights"
    rights.write_text(f"topic readwrite {ROOT}/#\ntopic deny {ROOT}/charges/flat-2\n")
    rights.chmod(0o700)
    broker = Broker(tmp_path, f"allow_anonymous true\nacl_file {rights}")
    broker.start()
    outbox = Outbox()
    outbox.add("charge", 5)
    outbox.add("reading", 5)
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(outbox, broker.host, broker.port),
    ):
        await ear.until(lambda: ear.seqs("charges/") == [1, 3, 4, 5] and len(ear.seqs("readings/")) == 5)
        await outbox.until(lambda: bool(outbox.alarms))
        assert [(alarm.code, alarm.source) for alarm in outbox.alarms] == [("publish_refused", "gateway")]
        assert "charges/flat-2 (Not authorized)" in outbox.alarms[0].text
        await outbox.until(lambda: outbox.done[CHARGES] == 1)
        rights.write_text(f"topic readwrite {ROOT}/#\n")
        broker.send(signal.SIGHUP)  # it reads the rights again
        await outbox.until(lambda: outbox.done[CHARGES] == 5)
        await outbox.until(lambda: outbox.ended[-1] == ("publish_refused", "gateway"))
        await ear.until(lambda: ear.seqs("charges/") == [1, 3, 4, 5, 2])
    broker.stop()


async def test_a_publish_in_flight_ends_with_the_connection_and_no_later(broker: Broker) -> None:
    outbox, connected = Outbox(), asyncio.Event()
    outbox.add("charge")
    client = mqtt.MqttClient(GATEWAY, host=broker.host, port=broker.port, consumers=())
    async with asyncio.timeout(HANGS), client.open(lambda _: connected.set(), []):
        await connected.wait()
        broker.send(signal.SIGSTOP)  # it hangs before it ends
        publish = asyncio.create_task(client.publish(outbox.rows[CHARGES][0], historical=False))
        asyncio.get_running_loop().call_soon(broker.kill)
        with pytest.raises(OfflineError):
            await publish


async def test_a_subject_that_cannot_stand_in_a_topic_is_alarmed_and_blocks_nothing_else(broker: Broker) -> None:
    outbox = Outbox()
    outbox.add("charge", subject="charges/#")
    outbox.add("charge")
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port):
        await ear.until(lambda: ear.seqs() == [2])
        await outbox.until(lambda: bool(outbox.alarms))
        assert outbox.alarms[0].code == "publish_refused"


async def test_the_broker_says_offline_when_the_gateways_process_is_killed(broker: Broker) -> None:
    code = (
        "import asyncio\n"
        "from tests.delivery import delivering\n"
        "from tests.outbox import HANGS, Outbox\n"
        "async def main():\n"
        f"    async with delivering(Outbox(), {broker.host!r}, {broker.port}):\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT) as process:
        async with listening(broker.host, broker.port) as ear:
            await ear.until(lambda: ear.last("status") == b"online")
            process.kill()
            await ear.until(lambda: ear.last("status") == b"offline")
    async with listening(broker.host, broker.port) as ear:
        await ear.until(lambda: ear.last("status") == b"offline")


REFUSED_IN_5 = bytes.fromhex("2003008400")
REFUSED_IN_3 = bytes.fromhex("20020001")
LEVEL = 8
"""where CONNECT names the protocol's level: after the fixed header, the length and MQTT"""


class Only311:
    """A broker that knows only 3.1.1. It refuses MQTT 5 with `answer` (empty: hangs up; None: says nothing)."""

    def __init__(self, broker: Broker, answer: bytes | None) -> None:
        self.levels: list[int] = []
        """the protocol levels that it was asked for"""
        self._broker = broker
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._accept, HOST, 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with closing(writer):
            first = await reader.read(1024)
            self.levels.append(first[LEVEL])
            if first[LEVEL] == 4:
                inner, outer = await asyncio.open_connection(self._broker.host, self._broker.port)
                async with closing(outer):
                    outer.write(first)
                    await asyncio.wait(
                        [asyncio.create_task(pipe(reader, outer)), asyncio.create_task(pipe(inner, writer))],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
            elif self._answer is None:
                await reader.read()
            else:
                writer.write(self._answer)


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)


def lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paho's thread is held up after it told the end of a connection and before it notes that itself."""
    told = Client._do_on_disconnect  # noqa: SLF001 - the only place where the two come apart

    def held_up(client: Client, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - paho's own
        told(client, *args, **kwargs)
        time.sleep(0.1)  # the delay under test, in paho's thread

    monkeypatch.setattr(Client, "_do_on_disconnect", held_up)


@pytest.mark.parametrize("answer", [REFUSED_IN_5, REFUSED_IN_3, b"", None, b"\xff" * 40, b"\x20\x02\x00\x05"])
async def test_a_broker_that_refuses_mqtt_5_is_spoken_to_in_311_until_the_gateway_is_started_again(
    broker: Broker, answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "ANSWER", 0.5)
    lingering(monkeypatch)
    outbox = Outbox()
    outbox.add("charge", 30)
    old = Only311(broker, answer)
    async with old.running() as port, listening(broker.host, broker.port) as ear:
        async with delivering(outbox, HOST, port, ["billing"]) as deliver:
            await ear.until(lambda: len(ear.seqs()) == 30)
            tried = len(old.levels)  # more than two where the machine was too busy to answer in time
            ear.ack("billing", CHARGES, 30)
            await outbox.until(lambda: outbox.done[CHARGES] == 30)
            broker.kill()
            broker.start()
            outbox.add("charge")
            deliver.notify()
            await ear.until(lambda: ear.seqs()[-1] == 31)
        assert old.levels[:2] == [5, 4]
        assert set(old.levels[tried:]) == {4}
        assert json.loads(ear.last("info") or b"")["protocol"] == "MQTT 3.1.1"


async def test_a_backlog_far_above_the_brokers_queue_arrives_complete_and_in_order(
    tmp_path: Path,
) -> None:
    broker = Broker(tmp_path, f"allow_anonymous true\nmax_queued_messages {AHEAD}")
    broker.start()
    outbox, file = Outbox(), tmp_path / "billing"
    outbox.add("charge", 5000)
    with consumer(broker, "billing", file):
        async with delivering(outbox, broker.host, broker.port, ["billing"]):
            await outbox.until(lambda: outbox.done[CHARGES] == 5000)
    broker.stop()
    assert kept(file) == list(range(1, 5001))
