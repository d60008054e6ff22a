"""Faults drawn by a seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

FaultName = TypeVar("FaultName", bound=str)


class Chance(Generic[FaultName]):
    """Draws the fault of each answer: `shares` says how often each comes, the rest is well."""

    def __init__(self, seed: int, shares: Mapping[FaultName, float]) -> None:
        self._random = random.Random(seed)
        self._faults = list(shares)
        self._weights = [*shares.values(), 1 - sum(shares.values())]
        self.drawn: list[FaultName | None] = []
        """for who wants to know what really happened"""

    def __call__(self) -> FaultName | None:
        """The fault of the next answer."""
        (drawn,) = self._random.choices([*self._faults, None], self._weights)
        self.drawn.append(drawn)
        return drawn
