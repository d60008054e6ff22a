"""How the gateway is doing: what is shown at once when nothing can be stored, and what can be counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gateway.core.period import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.canonical import Json
    from gateway.ports.clock import Clock

HEALTH = "state/health"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """How much the store holds."""

    charges: int
    conflicts: int
    """values that contradict one kept earlier for the same instant"""


class Watched(Protocol):
    """A store that says when it can keep nothing."""

    def watch(self, failing: Callable[[str], None], well: Callable[[], None]) -> None:
        """Call `failing` with one sentence when a write fails for want of a disk, `well` when one succeeds again."""


class Board(Protocol):
    """Where state is shown."""

    def put(self, end: str, body: Json) -> None:
        """Let the topic show `body`."""


def show_health(store: Watched, board: Board, clock: Clock) -> None:
    """Show from now on, retained and at once, whether readings and charges are being stored.

    An alarm goes through the store like everything else: while that refuses, this is the only way out.
    """
    board.put(HEALTH, {"storing": True, "since": None, "text": None})

    def failing(reason: str) -> None:
        board.put(HEALTH, {"storing": False, "since": rfc3339(clock.now()), "text": reason})

    def well() -> None:
        board.put(HEALTH, {"storing": True, "since": rfc3339(clock.now()), "text": None})

    store.watch(failing, well)
