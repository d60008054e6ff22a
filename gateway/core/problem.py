"""Errors as values: what a person must put right, all of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


SHOWN = 60
"""characters of a wrong text that are repeated to who wrote it"""


def cut(text: str) -> str:
    """The text as it is repeated in a sentence: a long one ends in "..."."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in the property data."""

    code: str
    kind: str
    """kind of the entity at fault: "occupancy", "link" ..."""
    id: str
    text: str
    """one sentence: what is wrong and what to do"""
    field: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A stretch of one register that is not charged, and why. Counted and shown, never dropped."""

    code: str
    register: str
    start: datetime
    until: datetime
    text: str
    point: str | None = None
    session: str | None = None
    """the session that is not charged; None: what the register counted besides sessions"""
    first: bool = False
    """whether nothing counts that was read before its end: no reading to come can fill it"""
    since: datetime | None = None
    """when what it is held for began, where that was before it"""
