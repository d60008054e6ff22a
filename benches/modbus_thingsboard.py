"""What thingsboard-gateway takes for the same hundred meters: from Modbus over its SQLite to a broker.

It is set up as its documentation says: an entry a value, hence a request a value; its console is left silent. Its
store is synchronous NORMAL, which a power cut costs the last commits. A ThingsBoard server is not needed: a broker and
the answer to its question for limits are all that it waits for. What has come to the broker counts as read.
"""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from benches.figure import UnmeasurableError
from benches.modbus_plant import METERS, VALUES
from benches.plant import HANGS, PROJECT
from benches.process import cpu_s, peak_mb
from simulators import broker
from simulators.processes import Children

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PROGRAM = PROJECT / ".tools" / "bench" / "bin" / "thingsboard-gateway"
TELEMETRY = "v1/gateway/telemetry"
QUESTION, ANSWER = "v1/devices/me/rpc/request/", "v1/devices/me/rpc/response/"
_NO_LIMITS = {"maxPayloadSize": 65536, "maxInflightMessages": 100, "rateLimits": {}, "gatewayRateLimits": {}}
_NO_UPDATES = {"HTTPS_PROXY": "http://127.0.0.1:9"}
"""it asks its maker for a newer version at each start: nobody answers there"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What it took."""

    readings: int
    cpu_ms_per_1000: float
    rss_mb: float


@dataclass(slots=True)
class _Server:
    """What a ThingsBoard would do: take values, and say that there are no limits."""

    values: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, client: Client, _: object, message: MQTTMessage) -> None:
        """A message from the gateway."""
        if message.topic.startswith(QUESTION):
            client.publish(ANSWER + message.topic.removeprefix(QUESTION), json.dumps(_NO_LIMITS), qos=1)
            return
        devices = json.loads(message.payload).values()
        with self._changed:
            self.values += sum(len(entry["values"]) for entries in devices for entry in entries)
            self._changed.notify_all()

    def until(self, values: int) -> bool:
        """Return once so many values have come; False where they do not."""
        with self._changed:
            return self._changed.wait_for(lambda: self.values >= values, HANGS)


async def measure(folder: Path, port: int, *, warm: int, seconds: int) -> Peer:
    """Its CPU time and memory while it polls the meters on this port, once `warm` values have come."""
    if not PROGRAM.is_file():
        message = "thingsboard-gateway is not installed: make bench says why"
        raise UnmeasurableError(message)
    async with Children(folder) as children:
        host, broker_port, _ = await broker.connect(children, folder, "")
        _configure(folder, port, (host, broker_port))
        async with _listening(host, broker_port) as server:
            environment = {"TB_GW_CONFIG_DIR": str(folder), **_NO_UPDATES}
            command = ["env", f"--chdir={folder}", str(PROGRAM)]  # it writes logs where it is started
            process = await children.start("thingsboard", command, environment=environment)
            if not await asyncio.to_thread(server.until, warm):
                message = f"thingsboard-gateway has sent {server.values} values in {HANGS} s"
                raise UnmeasurableError(message)
            cpu, values = cpu_s(process.pid), server.values
            await asyncio.sleep(seconds)
            cpu, values = cpu_s(process.pid) - cpu, server.values - values
            return Peer(readings=values, cpu_ms_per_1000=cpu * 1e6 / values, rss_mb=peak_mb(process.pid))


@asynccontextmanager
async def _listening(host: str, port: int) -> AsyncIterator[_Server]:
    server, subscribed = _Server(), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, "thingsboard")
    client.on_connect = lambda client, *_: client.subscribe([(TELEMETRY, 1), (QUESTION + "+", 1)])
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = server.take
    client.connect(host, port)
    client.loop_start()
    try:
        await asyncio.to_thread(subscribed.wait, HANGS)
        yield server
    finally:
        client.disconnect()
        client.loop_stop()


def _configure(folder: Path, port: int, broker_at: tuple[str, int]) -> None:
    host, broker_port = broker_at
    thingsboard = {
        "host": host,
        "port": broker_port,
        "remoteConfiguration": False,
        "statistics": {"enable": False, "enableCustom": False},
        "security": {"type": "accessToken", "accessToken": "bench"},
        "qos": 1,
        "reportStrategy": {"type": "ON_RECEIVED"},
    }
    settings = {
        "thingsboard": thingsboard,
        "storage": {"type": "sqlite", "data_file_path": f"{folder}/data/"},
        "connectors": [{"type": "modbus", "name": "Modbus", "configuration": "modbus.json"}],
    }
    _write(folder / "tb_gateway.json", settings)
    _write(folder / "modbus.json", {"name": "Modbus", "master": {"slaves": [_meter(unit, port) for unit in _UNITS]}})
    _write(folder / "logs.json", {"version": 1, "root": {"level": "CRITICAL", "handlers": []}, "handlers": {}})


_UNITS = range(1, METERS + 1)


def _meter(unit: int, port: int) -> dict[str, Any]:
    values = [
        {"tag": f"e{number}", "type": "32float", "functionCode": 4, "objectsCount": 2, "address": 2 * number}
        for number in range(VALUES)
    ]
    return {
        "host": "127.0.0.1",
        "port": port,
        "type": "tcp",
        "method": "socket",
        "unitId": unit,
        "deviceName": f"m-{unit}",
        "byteOrder": "BIG",
        "wordOrder": "BIG",
        "pollPeriod": 1000,
        "timeseries": values,
        "attributes": [],
        "attributeUpdates": [],
        "rpc": [],
    }


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")
