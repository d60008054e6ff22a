"""The published contract: which schema a message must keep, by its topic, and ways to break a message."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012, Schema, SchemaRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "contract" / "asyncapi.yaml"
SCHEMAS = ROOT / "gateway" / "mqtt" / "schemas"
ASYNCAPI: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))


def read(uri: str) -> Resource[Schema]:
    """A file of ours, or the schema of schemas."""
    path = Path(uri.removeprefix("file://"))
    if uri == Draft202012Validator.META_SCHEMA["$id"]:
        return DRAFT202012.create_resource(Draft202012Validator.META_SCHEMA)
    return DRAFT202012.create_resource(ASYNCAPI if path == FILE else json.loads(path.read_text(encoding="utf-8")))


KNOWN: SchemaRegistry = Registry(retrieve=read)  # type: ignore[call-arg]  # its name for attrs, which mypy misses


def schema(name: str) -> Draft202012Validator:
    """The schema in a file by itself."""
    return Draft202012Validator({"$ref": (SCHEMAS / f"{name}.json").as_uri()}, registry=KNOWN)


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of the AsyncAPI file."""

    name: str
    address: re.Pattern[str]
    payload: Draft202012Validator

    def refuses(self, value: object) -> bool:
        return not self.payload.is_valid(value)


def channels() -> dict[str, Channel]:
    found = {}
    for name, channel in ASYNCAPI["channels"].items():
        (message,) = channel["messages"].values()
        pointer = f"{FILE.as_uri()}{message['$ref']}/payload/schema"
        address = re.compile(re.sub(r"\{\w+\}", "[^/]+", channel["address"]))
        found[name] = Channel(name, address, Draft202012Validator({"$ref": pointer}, registry=KNOWN))
    return found


CHANNELS = channels()


def channel_of(topic: str) -> Channel:
    """The one channel that the topic belongs to."""
    (found,) = (channel for channel in CHANNELS.values() if channel.address.fullmatch(topic))
    return found


def broken(message: Any, at: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - whatever JSON holds
    """Copies of the message with one mistake each, and where: a field missing, one too many, another type."""
    if isinstance(message, dict):
        yield f"{at}: a field too many", message | {"more": "1"}
        for key, value in message.items():
            yield f"{at}.{key}: missing", {name: held for name, held in message.items() if name != key}
            yield from ((where, message | {key: other}) for where, other in broken(value, f"{at}.{key}"))
    elif isinstance(message, list):
        for number, value in enumerate(message):
            before, after = message[:number], message[number + 1 :]
            yield from ((where, [*before, other, *after]) for where, other in broken(value, f"{at}[{number}]"))
    else:
        wrong: Any = 7 if isinstance(message, str | None) else str(message)
        yield f"{at}: {wrong!r} instead of {message!r}", wrong
        yield f"{at}: a list", [message]
