"""Retained topics and the schemas that are published among them. No connection here."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from gateway.mqtt.topics import ID

if TYPE_CHECKING:
    from gateway.core.canonical import Json
    from gateway.mqtt.topics import Gateway

_STATE = re.compile(rf"state/health|(schema|rates|state/meters|state/accruals)/{ID.pattern}")


def state_topic(gateway: Gateway, end: str) -> str:
    """Where a state is retained. ValueError for an end that is no branch and id."""
    if not _STATE.fullmatch(end):
        message = f"the state {end!r} cannot stand in a topic"
        raise ValueError(message)
    return f"{gateway.root}/{end}"


def schemas() -> dict[str, Json]:
    """The JSON Schema of everything that is published or accepted, by name."""
    folder = files("gateway.mqtt") / "schemas"
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8")) for file in found}
