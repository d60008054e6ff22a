"""The AsyncAPI file against the schemas and the topics of the code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.event import Event, Kind
from gateway.mqtt.state import state_topic
from gateway.mqtt.topics import Gateway, event_topic
from tests.contract import ASYNCAPI, CHANNELS, FILE, SCHEMAS, channel_of
from tests.outbox import NOON

if TYPE_CHECKING:
    from collections.abc import Iterator

GATEWAY = Gateway(site="sonnenhof", name="gw-01")
KINDS: tuple[Kind, ...] = ("charge", "session", "reading", "alarm")


def references(node: Any) -> Iterator[str]:  # noqa: ANN401 - whatever YAML holds
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from references(child)


def target(pointer: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    node = ASYNCAPI
    for part in pointer.removeprefix("#/").split("/"):
        node = node[part]
    return node


def topic(kind: Kind, end: str) -> str:
    event = Event(kind=kind, stream="s", seq=1, id="s:1", subject=end, time=NOON, data="{}", bootid="b")
    return event_topic(GATEWAY, event)


def test_every_reference_leads_somewhere() -> None:
    for reference in references(ASYNCAPI):
        if reference.startswith("#"):
            assert target(reference), reference
        elif not reference.startswith("https://json-schema.org/"):
            assert (FILE.parent / reference).is_file(), reference


def test_every_schema_is_the_payload_of_something() -> None:
    used = {(FILE.parent / one).resolve() for one in references(ASYNCAPI) if one.endswith(".json")}
    assert used == set(SCHEMAS.iterdir())


def test_every_topic_of_the_gateway_has_its_channel_and_no_channel_is_without_one() -> None:
    plurals = {kind: f"{kind}s" for kind in KINDS}
    topics = {
        **{plural: topic(kind, f"{plural}/flat-1") for kind, plural in plurals.items()},
        "status": GATEWAY.status,
        "info": GATEWAY.info,
        "schema": state_topic(GATEWAY, "schema/charge"),
        "rates": state_topic(GATEWAY, "rates/heat"),
        "meterState": state_topic(GATEWAY, "state/meters/heat-01"),
        "health": state_topic(GATEWAY, "state/health"),
        "accruals": state_topic(GATEWAY, "state/accruals/flat-1"),
        **dict(zip(("ack", "resend"), GATEWAY.subscriptions, strict=True)),
        "reply": f"{GATEWAY.root}/reply/c-1",
    }
    assert {name: channel_of(one).name for name, one in topics.items()} == {name: name for name in CHANNELS}
    assert channel_of(topic("charge", "charges/_remainder")).name == "charges"


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_explains_every_part_of_its_address_and_takes_part_in_an_operation(name: str) -> None:
    channel = ASYNCAPI["channels"][name]
    assert set(re.findall(r"\{(\w+)\}", channel["address"])) == channel["parameters"].keys()
    places = {f"#/channels/{name}", *(f"#/channels/{name}/messages/{message}" for message in channel["messages"])}
    assert places & set(references(ASYNCAPI["operations"]))


def test_what_the_gateway_sends_and_what_it_takes_is_not_mixed_up() -> None:
    taken = {one["channel"]["$ref"] for one in ASYNCAPI["operations"].values() if one["action"] == "receive"}
    listened = {channel_of(one).name for one in GATEWAY.subscriptions}
    assert taken == {f"#/channels/{name}" for name in listened}
