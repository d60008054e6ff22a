"""What the tables of the settings file are made of."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from gateway.core.problem import cut

if TYPE_CHECKING:
    from gateway.core.refusal import Place

STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)
DRIVER_KEYS = ConfigDict(strict=True, extra="allow", frozen=True)
"""of a table that a driver reads keys of, too"""
MAX_DURATION = timedelta(days=1)
_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}


def duration(text: str) -> timedelta:
    """Text such as "15min", "1h" or "90s" as a duration of at most a day; ValueError otherwise."""
    match = _DURATION.fullmatch(text)
    found = timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else None
    if found is None or found > MAX_DURATION:
        message = f'"{cut(text)}" is no time from 1s to 24h; write e.g. "15min", "1h" or "90s"'
        raise ValueError(message)
    return found


def _duration(text: str) -> str:
    duration(text)
    return text


Id = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$", examples=["haus-1"])]
Duration = Annotated[str, AfterValidator(_duration)]


def tables(place: Place, table: object, key: str) -> list[tuple[Place, dict[str, Any]]]:
    """The tables of an array with their paths, as far as they are tables."""
    items = table.get(key) if isinstance(table, dict) else None
    found = enumerate(items if isinstance(items, list) else ())
    return [((*place, key, index), item) for index, item in found if isinstance(item, dict)]
