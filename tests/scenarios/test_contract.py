"""Every message of a real run is as the published contract says: a month with moves, an alarm and a correction."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.mqtt.state import schemas
from tests.broker import Broker
from tests.contract import broken, channel_of
from tests.outbox import HANGS
from tests.scenarios import plant as scenario
from tests.scenarios.plant import BUILDING, Plant, running, submeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ROOT = "submeter/v0/demo/gw-01"
HALF_A_DAY = 720
CLOSED = 33 * 24 * 60 + HALF_A_DAY
"""minutes after the start at which October is closed"""
STATES = ("meterState", "health", "accruals")
EVENTS = ("charges", "alarms", "readings")


class Witness:
    """A consumer that keeps everything that it hears, and acknowledges it."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        """end of the topic, payload, whether it was retained"""
        self.next: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/#", 1)
        self._client.on_message = self._message
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    async def until_said(self, end: str, part: bytes) -> None:
        """Return once a payload with this part was heard at the end of a topic."""
        while not any(topic == end and part in held for topic, held, _ in self.heard):
            await self._news()

    async def until_all(self, plant: Plant) -> None:
        """Return once every event that the store has numbered was heard."""
        while sum(self.next.values()) < events(plant):
            await self._news()

    async def until_shown(self, ends: set[str]) -> None:
        """Return once something was heard at all these ends of topics."""
        while not ends <= {end for end, *_ in self.heard}:
            await self._news()

    def state(self) -> set[str]:
        """The ends of the topics whose last payload is kept for who comes later."""
        last = {end: payload for end, payload, _ in self.heard if not end.startswith(EVENTS)}
        return {end for end, payload in last.items() if payload}

    def payloads(self, branch: str) -> list[Any]:
        """What was heard in a branch, without what is empty."""
        return [json.loads(held) for topic, held, _ in self.heard if topic.startswith(f"{branch}/") and held]

    def close(self) -> None:
        self._client.on_connect = self._client.on_message = None  # paho closes its sockets
        self._client.disconnect()
        self._client.loop_stop()

    async def _news(self) -> None:
        self._changed.clear()
        async with asyncio.timeout(HANGS):
            await self._changed.wait()

    def _message(self, _: Client, __: object, message: MQTTMessage) -> None:
        self._loop.call_soon_threadsafe(self._hear, message)

    def _hear(self, message: MQTTMessage) -> None:
        end = message.topic.removeprefix(f"{ROOT}/")
        self._changed.set()
        if end.startswith("ack/"):
            return
        self.heard.append((end, bytes(message.payload), message.retain))
        if end.startswith(EVENTS):
            event = json.loads(message.payload)
            if int(event["seq"]) == self.next.get(event["stream"], 0) + 1:
                self.next[event["stream"]] = int(event["seq"])
            body = {"stream": event["stream"], "seq": str(self.next[event["stream"]])}
            self._client.publish(f"{ROOT}/ack/demo", json.dumps(body), qos=1)


@asynccontextmanager
async def witnessing(broker: Broker, name: str) -> AsyncIterator[Witness]:
    witness = Witness(broker, name)
    try:
        yield witness
    finally:
        witness.close()


def events(plant: Plant) -> int:
    """How many events there are in the store."""
    query = "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM poll)"
    with closing(sqlite3.connect(plant.folder / "gateway.db")) as database:
        (count,) = database.execute(query).fetchone()
    return int(count)


@asynccontextmanager
async def restarted(plant: Plant) -> AsyncIterator[None]:
    """Another daemon on the same store."""
    await plant.start_again()
    yield
    code, log = await plant.end()
    assert code == 0, log


async def tell(plant: Plant, old: str = "", new: str = "") -> None:
    """Import the building's property data, one text replaced by another."""
    file = plant.folder / "property.toml"
    text = (BUILDING / "property.toml").read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    code, _, err = await submeter("--config", plant.config, "import", str(file))
    assert code == 0, err


async def month(plant: Plant) -> None:
    """October until it is closed; one meter is silent in the second week."""
    slave = next(iter(plant.field.slaves.values()))
    for minute in range(0, CLOSED + 1, HALF_A_DAY):
        slave.fault = "silence" if 8 <= minute // 1440 < 10 else None
        await plant.step(minute)


async def run(folder: Path, broker: Broker) -> tuple[Witness, Witness]:
    """What a consumer heard while it went on, and what a subscriber finds afterwards."""
    async with witnessing(broker, "witness") as witness, running(folder, (broker.host, broker.port)) as plant:
        await plant.end()
        await tell(plant)
        async with restarted(plant):
            await month(plant)
            await witness.until_all(plant)
        await tell(plant, 'price = "0.1180"', 'price = "0.1280"')
        async with restarted(plant):
            await plant.step(CLOSED + HALF_A_DAY)
            await witness.until_all(plant)
            await witness.until_said("rates/heating", b'"price":"0.1280"')
            assert (await submeter("--config", plant.config, "move", "flat-3", "2026-11-02", "--to", "rossi"))[0] == 0
            await witness.until_said("state/accruals/flat-3", b'"id":"rossi"')
        async with witnessing(broker, "late") as late:
            await late.until_shown(witness.state())
        return witness, late


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Witness, Witness]:
    folder = tmp_path_factory.mktemp("contract")
    broker = Broker(folder)
    broker.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                scenario, "POLL", timedelta(minutes=HALF_A_DAY)
            )  # a month of quarter hours would take minutes
            return asyncio.run(run(folder, broker))
    finally:
        broker.stop()


def parsed(end: str, payload: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    return payload.decode() if end == "status" else json.loads(payload)


def test_every_message_is_as_the_schema_of_its_channel_says(heard: tuple[Witness, Witness]) -> None:
    for witness in heard:
        for end, payload, _ in witness.heard:
            if payload:
                channel = channel_of(f"{ROOT}/{end}")
                assert not channel.refuses(parsed(end, payload)), (end, payload)


def test_the_run_had_one_of_everything(heard: tuple[Witness, Witness]) -> None:
    witness, _ = heard
    charges = [event["data"] for event in witness.payloads("charges")]
    assert {charge["kind"] for charge in charges} == {"charge", "reversal"}
    assert {charge["payer"]["reason"] for charge in charges} >= {"occupancy", "vacancy", "remainder"}
    assert {charge["allocation"] and charge["allocation"]["scope"] for charge in charges} == {None, "building", "unit"}
    assert any(segment["until"]["between"] for charge in charges for segment in charge["evidence"]["segments"])
    assert {event["data"]["ended"] is None for event in witness.payloads("alarms")} == {True, False}
    assert {payload for end, payload, _ in witness.heard if end == "status"} == {b"online", b"offline"}
    assert {end.rpartition("/")[0] for end, *_ in witness.heard} == {
        *("", "charges", "readings", "alarms", "schema", "rates", "state", "state/meters", "state/accruals"),
    }


def test_a_message_with_one_mistake_is_refused(heard: tuple[Witness, Witness]) -> None:
    """The richest message of each channel, and of charges one of each form."""
    richest: dict[object, tuple[str, bytes]] = {}
    for end, payload, _ in heard[0].heard:
        name = channel_of(f"{ROOT}/{end}").name
        if payload and name not in {"schema", "status"}:
            data = json.loads(payload).get("data", {})
            form = (name, data.get("kind"), bool(data.get("allocation")), data.get("ended") is None)
            richest[form] = max(richest.get(form, ("", b"")), (end, payload), key=lambda one: len(one[1]))
    names = [form[0] for form in richest if isinstance(form, tuple)]
    assert sorted(names) == sorted(["charges"] * 4 + ["alarms"] * 2 + ["readings", "info", "rates", *STATES])
    for end, payload in richest.values():
        channel = channel_of(f"{ROOT}/{end}")
        for where, wrong in broken(json.loads(payload)):
            assert channel.refuses(wrong), f"{end} {where}"


def test_a_charge_that_contradicts_itself_is_refused(heard: tuple[Witness, Witness]) -> None:
    charges = heard[0].payloads("charges")
    charge = next(one for one in charges if one["data"]["kind"] == "charge")
    reversal = next(one for one in charges if one["data"]["kind"] == "reversal")
    refuses = channel_of(f"{ROOT}/charges/flat-1").refuses
    assert refuses(charge | {"data": charge["data"] | {"amount": "-1.00"}})
    assert refuses(charge | {"data": charge["data"] | {"replaces": "a" * 40}})
    assert refuses(reversal | {"data": reversal["data"] | {"replaces": None}})
    assert refuses(charge | {"dataschema": "urn:submeter:reading:v0"})
    assert refuses(charge | {"stream": "readings-5f1c2a9e"})
    assert refuses({name: value for name, value in charge.items() if name != "hash"})


def test_events_are_never_retained_and_state_always(heard: tuple[Witness, Witness]) -> None:
    _, late = heard
    at_once = [(end, payload) for end, payload, retained in late.heard if retained]
    branches = {end.rpartition("/")[0] for end, _ in at_once}
    assert branches == {"", "schema", "rates", "state", "state/meters", "state/accruals"}
    assert {end for end, _ in at_once if "/" not in end} == {"status", "info"}


def test_a_new_subscriber_finds_schemas_rates_every_meter_and_the_accruals(heard: tuple[Witness, Witness]) -> None:
    _, late = heard
    found = {end: parsed(end, payload) for end, payload, retained in late.heard if retained}
    assert {end.rpartition("/")[2]: body for end, body in found.items() if end.startswith("schema/")} == schemas()
    assert found["rates/heating"]["prices"][0]["price"] == "0.1280"
    meters = {end for end in found if end.startswith("state/meters/")}
    assert len(meters) == 23
    november = found["state/accruals/flat-1"]
    assert (november["month"], november["payer"]["id"]) == ("2026-11", "blumer")


@pytest.mark.parametrize(
    ("flat", "first", "second"),
    [("flat-2", "rossi", "meier"), ("flat-3", "dubois", "rossi")],
    ids=["known before", "told of while the gateway runs"],
)
def test_at_a_move_the_accrual_is_cleared_before_that_of_the_next_payer(
    heard: tuple[Witness, Witness], flat: str, first: str, second: str
) -> None:
    witness, _ = heard
    payers: list[str | None] = []
    for end, payload, _ in witness.heard:
        if end == f"state/accruals/{flat}":
            payer = json.loads(payload)["payer"]["id"] if payload else None
            payers += [payer] if payers[-1:] != [payer] else []
    last = len(payers) - 1 - payers[::-1].index(first)
    assert payers[last : last + 3] == [first, None, second]
