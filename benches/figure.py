"""A figure: what was measured, against what it must reach."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class UnmeasurableError(Exception):
    """The figure cannot be measured here. The text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of one run."""

    name: str
    unit: str
    value: float | None
    """None: it could not be measured"""
    limit: float | None
    at_least: bool = False
    """the limit is the least that is good, not the most"""
    peers: Mapping[str, float] = field(default_factory=dict)
    """what else was measured in the same run"""
    note: str = ""
    """how it was measured where that is not the same everywhere, or why it was not"""

    @property
    def ok(self) -> bool:
        """Whether it was measured and reaches its limit."""
        if self.value is None or self.limit is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def json(self) -> dict[str, Any]:
        """As in build/bench.json."""
        return {
            "value": _rounded(self.value),
            "unit": self.unit,
            "limit": _rounded(self.limit),
            "ok": self.ok,
            "peers": {name: _rounded(value) for name, value in self.peers.items()},
            "note": self.note,
        }


Bench = Callable[[Path], Coroutine[Any, Any, Figure]]
"""Measures in an empty folder of its own; UnmeasurableError."""


def say(text: str) -> None:
    """Tell on stderr what is going on."""
    print(text, file=sys.stderr, flush=True)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
