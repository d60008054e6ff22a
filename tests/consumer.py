"""A small reference consumer: its own process, its own file, imports nothing of the gateway.

    python tests/consumer.py HOST PORT ROOT NAME FILE [KIND ...]

Keeps every event of the kinds (default: charges) once, in order, one JSON object a line, durably, and then
acknowledges. Buffers what comes after a gap and asks for what is missing; also asks, at every connect, for what
came while it was away. Acknowledges duplicates again: the gateway may not have heard it the first time.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion


class Consumer:
    def __init__(self, root: str, name: str, file: Path, kinds: list[str]) -> None:
        self.root, self.name, self.kinds = root, name, kinds
        self.taken: dict[str, int] = {}
        self.early: dict[str, dict[int, bytes]] = {}
        self.asked: dict[str, int] = {}
        for line in file.read_bytes().splitlines() if file.exists() else []:
            event = json.loads(line)
            self.taken[event["stream"]] = int(event["seq"])
        self.file = file.open("ab")

    def connected(self, client: Client) -> None:
        self.asked.clear()
        client.subscribe([(f"{self.root}/{kind}/+", 1) for kind in self.kinds] + [(f"{self.root}/info", 1)])

    def message(self, client: Client, message: MQTTMessage) -> None:
        if message.topic == f"{self.root}/info":
            if message.retain:  # the gateway connected before us: it does not publish everything again
                for stream in json.loads(message.payload)["streams"]:
                    if stream.split("-")[0] in self.kinds:
                        self.ask(client, stream)
            return
        event = json.loads(message.payload)
        stream, seq = event["stream"], int(event["seq"])
        waiting = self.early.setdefault(stream, {})
        if seq > self.taken.get(stream, 0):
            waiting[seq] = bytes(message.payload)
        self.take(stream, waiting)
        if waiting:
            self.ask(client, stream)
        body = json.dumps({"stream": stream, "seq": str(self.taken.get(stream, 0))})
        client.publish(f"{self.root}/ack/{self.name}", body, qos=1)

    def take(self, stream: str, waiting: dict[int, bytes]) -> None:
        while (seq := self.taken.get(stream, 0) + 1) in waiting:
            self.file.write(waiting.pop(seq) + b"\n")
            self.taken[stream] = seq
        self.file.flush()
        os.fsync(self.file.fileno())

    def ask(self, client: Client, stream: str) -> None:
        first = self.taken.get(stream, 0) + 1
        if self.asked.get(stream) != first:  # once for each gap
            self.asked[stream] = first
            body = json.dumps({"stream": stream, "from_seq": str(first)})
            client.publish(f"{self.root}/cmd/resend", body, qos=1)


def main(host: str, port: str, root: str, name: str, file: str, *kinds: str) -> None:
    consumer = Consumer(root, name, Path(file), list(kinds) or ["charges"])
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"consumer-{name}", protocol=MQTTProtocolVersion.MQTTv5)

    def on_connect(client: Client, *_: object) -> None:
        consumer.connected(client)

    def on_subscribe(*_: object) -> None:
        sys.stdout.write("subscribed\n")
        sys.stdout.flush()

    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = lambda client, _, message: consumer.message(client, message)
    client.reconnect_delay_set(1, 1)
    client.connect_async(host, int(port))
    client.loop_forever(retry_first_connection=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
