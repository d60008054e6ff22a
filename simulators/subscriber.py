"""A receiver of charges: keeps every event once, and acknowledges what it has on disk.

`python -m simulators.subscriber HOST:PORT ROOT NAME FOLDER`. Each kind of event goes to a file of its own in FOLDER,
one JSON object a line; after a restart the receiver goes on where the files end.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

EVENTS = ("charges", "sessions", "alarms", "readings")
PROTOCOLS = {MQTTProtocolVersion.MQTTv5: "MQTT 5", MQTTProtocolVersion.MQTTv311: "MQTT 3.1.1"}
Answers = queue.SimpleQueue[str]
"""what a broker said to one attempt to connect: why not, or nothing"""
STATES = ("status", "info")
_QOS = 1
_PATIENCE = 10.0
"""seconds"""
_A_MOMENT = timedelta(seconds=1)


@dataclass(slots=True)
class Prefix:
    """Which numbers of a stream are here: everything up to `end`, and some beyond a gap."""

    end: int = 0
    beyond: set[int] = field(default_factory=set)

    def add(self, seq: int) -> bool:
        """Take a number over; False where it was here already."""
        if seq <= self.end or seq in self.beyond:
            return False
        self.beyond.add(seq)
        while self.end + 1 in self.beyond:
            self.end += 1
            self.beyond.remove(self.end)
        return True


class Inbox:
    """The events on disk: each (stream, seq) and each charge once."""

    def __init__(self, folder: Path) -> None:
        self.prefixes: dict[str, Prefix] = defaultdict(Prefix)
        self._charges: set[str] = set()
        self._files = {kind: (folder / f"{kind}.jsonl").open("a+b") for kind in EVENTS}
        for file in self._files.values():
            file.seek(0)
            for line in file:
                if line.endswith(b"\n"):
                    self._is_new(json.loads(line))
                else:
                    file.truncate(file.tell() - len(line))  # the last write was cut off: it was never acknowledged

    def keep(self, payloads: Iterable[bytes]) -> tuple[list[dict[str, Any]], set[str]]:
        """Write what is new, durably; the new events and the streams that anything arrived for."""
        new, streams, touched = [], set(), set()
        for payload in payloads:
            event = json.loads(payload)
            streams.add(event["stream"])
            if self._is_new(event):
                file = self._files[kind_of(event)]
                file.write(payload + b"\n")
                touched.add(file)
                new.append(event)
        for file in touched:
            file.flush()
            os.fsync(file.fileno())
        return new, streams

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _is_new(self, event: dict[str, Any]) -> bool:
        """Whether the event was not here; a charge that comes again under another number counts once."""
        if not self.prefixes[event["stream"]].add(int(event["seq"])):
            return False
        if kind_of(event) != "charges":
            return True
        seen = event["id"] in self._charges
        self._charges.add(event["id"])
        return not seen


class Receiver:
    """The connection. Messages are only queued by its thread; `serve` takes them over."""

    def __init__(self, root: str, name: str, inbox: Inbox) -> None:
        self._root = root
        self._name = name
        self._inbox = inbox
        self._arrived: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._client: mqtt.Client | None = None

    def connect(self, host: str, port: int) -> None:
        """Connect in MQTT 5, else in 3.1.1; ConnectionError, OSError where neither is possible."""
        refusal = ""
        for protocol, spoken in PROTOCOLS.items():
            answers: Answers = queue.SimpleQueue()
            client = self._new_client(protocol, answers)
            client.connect(host, port)
            client.loop_start()
            refusal = answers.get(timeout=_PATIENCE)
            if not refusal:
                self._client = client
                tell(f"subscriber {self._name} speaks {spoken}")
                return
            client.disconnect()
            client.loop_stop()
        raise ConnectionRefusedError(refusal)

    def serve(self) -> None:
        """Take messages over until `stop`, all that have arrived with one write."""
        stopping = False
        while not stopping:
            batch = [self._arrived.get()]
            while not self._arrived.empty():
                batch.append(self._arrived.get())
            stopping = None in batch
            self._take_over([message for message in batch if message is not None])

    def stop(self) -> None:
        """Let `serve` return."""
        self._arrived.put(None)

    def disconnect(self) -> None:
        """Say goodbye to the broker."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()

    def _new_client(self, protocol: MQTTProtocolVersion, answers: Answers) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"subscriber-{self._name}", userdata=answers, protocol=protocol
        )
        client.on_connect = self._on_connect
        client.on_subscribe = lambda _, answers, *__: answers.put("")  # only now nothing can be missed
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: mqtt.Client, answers: Answers, _: object, reason: ReasonCode, __: Properties | None
    ) -> None:
        if not reason.is_failure:
            topics = [f"{self._root}/{kind}/#" for kind in EVENTS] + [f"{self._root}/{state}" for state in STATES]
            client.subscribe([(topic, _QOS) for topic in topics])
        else:
            answers.put(str(reason))

    def _on_disconnect(
        self, _: mqtt.Client, answers: Answers, __: object, reason: ReasonCode, ___: Properties | None
    ) -> None:
        answers.put(str(reason))  # closed instead of answered: not even a refusal

    def _on_message(self, _: mqtt.Client, __: object, message: mqtt.MQTTMessage) -> None:
        self._arrived.put((message.topic.removeprefix(f"{self._root}/"), bytes(message.payload)))

    def _take_over(self, batch: list[tuple[str, bytes]]) -> None:
        """First on disk, then acknowledged, then told."""
        for topic, payload in batch:
            if topic == "status" and payload:
                tell(f"gateway    {payload.decode()}")
            if topic == "info" and payload:
                tell(f"gateway    speaks {json.loads(payload)['protocol']}")
        new, streams = self._inbox.keep(payload for topic, payload in batch if topic not in STATES)
        for stream in streams:
            self._acknowledge(stream)
        for event in new:
            line = readable(event)
            if line:
                tell(line)

    def _acknowledge(self, stream: str) -> None:
        """Return once the broker has the ack; while it is away, the gateway's repetition will bring another."""
        end = self._inbox.prefixes[stream].end
        if end and self._client is not None:
            body = json.dumps({"stream": stream, "seq": str(end)}, separators=(",", ":"))
            with suppress(RuntimeError):  # how paho says that the connection is lost
                self._client.publish(f"{self._root}/ack/{self._name}", body, qos=_QOS).wait_for_publish(_PATIENCE)


def kind_of(event: dict[str, Any]) -> str:
    """The kind in a stream's name: charges-5f1c2a9e -> charges."""
    kind, _, _ = str(event["stream"]).partition("-")
    return kind


def readable(event: dict[str, Any]) -> str:
    """One line for a charge, a session or an alarm, nothing for a reading."""
    data = event["data"]
    if kind_of(event) == "alarms":
        return f"alarm {data['code']} of {data['source']}: {data['text']}"
    if kind_of(event) == "sessions":
        used = f"{data['quantity']} {data['unit']}"
        return f"session of {data['badge']} at {data['access_point']}: {used}, ended: {data['stop_reason']}"
    if kind_of(event) != "charges":
        return ""
    payer = data["payer"]
    why = "" if payer["reason"] == "occupancy" else f" ({payer['reason']})"
    kind = "" if data["kind"] == "charge" else f" {data['kind']}"
    return (
        f"acknowledged {event['seq']:>3}{kind}  {event['subject'].removeprefix('charges/'):<10} {payer['id'] + why:<28}"
        f"{data['register']:<21}{_days(data['period']):<14}{data['quantity']:>9} {data['unit']:<6}"
        f"x {data['unit_price']} = {data['amount']:>7} {data['currency']}"
    )


def _days(period: dict[str, str]) -> str:
    """The local days of a period, the last one as people say it: 1.10-14.10."""
    zone = ZoneInfo(period["time_zone"])
    first = datetime.fromisoformat(period["from"]).astimezone(zone)
    last = datetime.fromisoformat(period["until"]).astimezone(zone) - _A_MOMENT
    return f"{first.day}.{first.month}-{last.day}.{last.month}"


def tell(line: str) -> None:
    """Print at once: somebody is waiting for it."""
    print(line, flush=True)


def main() -> int:
    """Receive until SIGTERM or SIGINT."""
    address, root, name, folder = sys.argv[1:]
    host, _, port = address.rpartition(":")
    inbox = Inbox(Path(folder))
    receiver = Receiver(root, name, inbox)

    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # a handler would wait until the next message wakes this thread

    def stop_when_told() -> None:
        signal.sigwait(ends)
        receiver.stop()

    threading.Thread(target=stop_when_told, daemon=True).start()
    try:
        receiver.connect(host, int(port))
    except queue.Empty:
        print(f"The broker at {address} does not answer.", file=sys.stderr)
        return 4
    except OSError as error:
        print(f"The broker at {address} cannot be used: {error}.", file=sys.stderr)
        return 4
    receiver.serve()
    receiver.disconnect()
    inbox.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
