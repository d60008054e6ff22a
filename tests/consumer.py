"""A small reference consumer: its own process, its own file, imports nothing of the gateway.

    python tests/consumer.py HOST PORT ROOT NAME FILE [KIND ...]

Keeps every event of the kinds (default: charges) once, in order, one JSON object a line, durably, and only then
acknowledges. Buffers what comes after a gap and asks for what is missing; also asks, at every connect, for what
came while it was away; with ASKS=no it never asks, and has only the gateway's word that all of it comes.
Acknowledges duplicates again: the gateway may not have heard it the first time.
"""

from __future__ import annotations

import json
import os
import queue
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

ASKS = os.environ.get("ASKS") != "no"


class Consumer:
    def __init__(self, client: Client, root: str, name: str, file: Path, kinds: Sequence[str]) -> None:
        self.client, self.root, self.name, self.kinds = client, root, name, kinds
        self.taken: dict[str, int] = {}
        """per stream, the end of what is kept without a gap"""
        self.early: dict[str, dict[int, bytes]] = {}
        """per stream, what came after a gap"""
        self.asked: dict[str, int] = {}
        """per stream, up to where what is missing has been asked for over this connection"""
        for line in file.read_bytes().splitlines() if file.exists() else []:
            event = json.loads(line)
            self.taken[event["stream"]] = int(event["seq"])
        self.file = file.open("ab")

    def take(self, batch: Sequence[MQTTMessage]) -> None:
        """One flush to the disk and one ack per stream, however many have come."""
        streams = {self.sort(message) for message in batch if message.topic != f"{self.root}/info"}
        self.file.flush()
        os.fsync(self.file.fileno())
        for stream in streams:
            if self.early[stream]:
                self.ask(stream)
            body = json.dumps({"stream": stream, "seq": str(self.taken.get(stream, 0))})
            self.client.publish(f"{self.root}/ack/{self.name}", body, qos=1)
        for message in batch:
            if message.topic == f"{self.root}/info" and message.retain:
                self.greet(message)  # the gateway connected before us: it does not publish everything again

    def sort(self, message: MQTTMessage) -> str:
        event = json.loads(message.payload)
        stream, seq = str(event["stream"]), int(event["seq"])
        waiting = self.early.setdefault(stream, {})
        if seq > self.taken.get(stream, 0):
            waiting[seq] = bytes(message.payload)
        while (following := self.taken.get(stream, 0) + 1) in waiting:
            self.file.write(waiting.pop(following) + b"\n")
            self.taken[stream] = following
        return stream

    def greet(self, info: MQTTMessage) -> None:
        self.asked.clear()
        for stream in json.loads(info.payload)["streams"]:
            if stream.split("-")[0] in self.kinds:
                self.ask(stream)

    def ask(self, stream: str) -> None:
        first = self.taken.get(stream, 0) + 1
        if ASKS and first > self.asked.get(stream, 0):  # what came already with an earlier gap is asked for
            self.asked[stream] = max(self.early.get(stream, {}), default=first)
            body = json.dumps({"stream": stream, "from_seq": str(first)})
            self.client.publish(f"{self.root}/cmd/resend", body, qos=1)


def main(host: str, port: str, root: str, name: str, file: str, *kinds: str) -> None:
    inbox: queue.SimpleQueue[MQTTMessage] = queue.SimpleQueue()
    chosen = kinds or ("charges",)
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"consumer-{name}", protocol=MQTTProtocolVersion.MQTTv5)
    consumer = Consumer(client, root, name, Path(file), chosen)

    def on_connect(client: Client, *_: object) -> None:
        client.subscribe([(f"{root}/{kind}/+", 1) for kind in chosen] + [(f"{root}/info", 1)])

    def on_subscribe(*_: object) -> None:
        sys.stdout.write("subscribed\n")
        sys.stdout.flush()

    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = lambda _, __, message: inbox.put(message)
    client.reconnect_delay_set(1, 1)
    client.connect_async(host, int(port))
    client.loop_start()
    while True:
        batch = [inbox.get()]
        while not inbox.empty():
            batch.append(inbox.get())
        consumer.take(batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
