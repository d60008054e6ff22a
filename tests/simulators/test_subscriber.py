from __future__ import annotations

import json
import queue
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from simulators.subscriber import Inbox, Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.broker import Broker

HANGS = 120.0
ROOT = "submeter/v0/demo/gw-01"


def charge(seq: int, identity: str | None = None) -> bytes:
    event = {
        "id": identity or f"c{seq}",
        "stream": "charges-1",
        "seq": str(seq),
        "subject": "charges/flat-1",
        "data": {
            "kind": "charge",
            "payer": {"id": "blumer", "reason": "occupancy"},
            "register": "power-1-import",
            "period": {"from": "2026-09-30T22:00:00Z", "until": "2026-10-14T22:00:00Z", "time_zone": "Europe/Zurich"},
            "quantity": "99.803",
            "unit": "kWh",
            "unit_price": "0.2500",
            "amount": "24.95",
            "currency": "CHF",
        },
    }
    return json.dumps(event).encode()


def numbers(folder: Path) -> list[str]:
    return [json.loads(line)["seq"] for line in (folder / "charges.jsonl").read_text().splitlines()]


def test_a_prefix_ends_at_the_first_gap() -> None:
    prefix = Prefix()
    assert [prefix.add(seq) for seq in (1, 3, 4, 3)] == [True, True, True, False]
    assert prefix.end == 1
    assert prefix.add(2)
    assert prefix.end == 4
    assert not prefix.add(2)


def test_an_event_is_kept_once_and_after_a_restart_still_known(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.keep([charge(1), charge(2), charge(1)])
    inbox.close()
    inbox = Inbox(tmp_path)
    new, streams = inbox.keep([charge(2), charge(3)])
    inbox.close()
    assert [event["seq"] for event in new] == ["3"]
    assert streams == {"charges-1"}
    assert inbox.prefixes["charges-1"].end == 3
    assert numbers(tmp_path) == ["1", "2", "3"]


def test_a_charge_that_comes_under_another_number_counts_once(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    new, _ = inbox.keep([charge(1, "same"), charge(2, "same")])
    inbox.close()
    assert len(new) == 1
    assert inbox.prefixes["charges-1"].end == 2


def test_a_line_that_was_cut_off_is_taken_again(tmp_path: Path) -> None:
    (tmp_path / "charges.jsonl").write_bytes(charge(1) + b"\n" + charge(2)[:40])
    inbox = Inbox(tmp_path)
    inbox.keep([charge(2)])
    inbox.close()
    assert numbers(tmp_path) == ["1", "2"]


class Gateway:
    """Publishes events and hears acks."""

    def __init__(self, broker: Broker) -> None:
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._acks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._subscribed: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/ack/demo", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.put(None)
        self._client.on_message = lambda _, __, message: self._acks.put(json.loads(message.payload))
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._subscribed.get(timeout=HANGS)

    def publish(self, *events: bytes) -> None:
        for event in events:
            self._client.publish(f"{ROOT}/charges/flat-1", event, qos=1).wait_for_publish(HANGS)

    def hear(self, seq: str) -> None:
        """Return once this number is acknowledged."""
        while self._acks.get(timeout=HANGS) != {"stream": "charges-1", "seq": seq}:
            pass

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def gateway(broker: Broker) -> Iterator[Gateway]:
    one = Gateway(broker)
    yield one
    one.close()


@contextmanager
def subscriber(broker: Broker, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The receiver as a process of its own, subscribed; it does not outlive a test that fails."""
    address = f"{broker.host}:{broker.port}"
    command = [sys.executable, "-m", "simulators.subscriber", address, ROOT, "demo", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "speaks MQTT 5" in told(process)
            yield process
        except BaseException:
            process.kill()
            raise


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_end_of_what_is_here_without_gap_is_acknowledged(broker: Broker, gateway: Gateway, tmp_path: Path) -> None:
    with subscriber(broker, tmp_path) as process:
        gateway.publish(charge(1), charge(3))
        gateway.hear("1")
        gateway.publish(charge(2))
        gateway.hear("3")
        lines = [told(process) for _ in range(3)]
        process.terminate()
    assert process.returncode == 0
    assert sorted(numbers(tmp_path)) == ["1", "2", "3"]
    words = " ".join(lines[0].split())
    assert words == "acknowledged 1 flat-1 blumer power-1-import 1.10-14.10 99.803 kWh x 0.2500 = 24.95 CHF"


def test_a_killed_receiver_goes_on_where_its_files_end(broker: Broker, gateway: Gateway, tmp_path: Path) -> None:
    with subscriber(broker, tmp_path) as process:
        gateway.publish(charge(1), charge(2))
        gateway.hear("2")
        process.kill()
    with subscriber(broker, tmp_path) as process:
        gateway.publish(charge(2), charge(3))
        gateway.hear("3")
        process.terminate()
    assert numbers(tmp_path) == ["1", "2", "3"]


def test_a_broker_that_is_not_there_is_one_sentence(broker: Broker, tmp_path: Path) -> None:
    broker.stop()
    command = [sys.executable, "-m", "simulators.subscriber", f"127.0.0.1:{broker.port}", ROOT, "demo", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith(f"The broker at 127.0.0.1:{broker.port} cannot be used")
    assert "Traceback" not in done.stderr
