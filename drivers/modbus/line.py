"""What the conversation asks of the wire under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One answered request."""

    pdu: bytes
    """the answer, from its function code on"""
    raw: bytes
    """request and answer as they were on the wire, one behind the other"""


class Line(Protocol):
    """A wire to several units. The caller asks for one thing at a time and never cancels a question."""

    numbered: bool
    """Whether an answer carries the number of its question, so that a late one is known as such. Then a question may
    be repeated before its time is over; without numbers only after it, and after a silence that the line keeps."""

    async def ask(self, unit: int, pdu: bytes, wait: float) -> Exchange:
        """Send the request PDU and wait at most `wait` seconds for the answer of this unit to this request.

        NoAnswerError, WrongAnswerError or LineDownError otherwise. Whatever of a failed question arrives later
        is never given as the answer to another one.
        """

    def owed(self, unit: int, pdu: bytes, *, repeats: bool) -> float:
        """Seconds for which a late answer of the unit may yet be taken for the one to this request.

        Who `repeats` a request takes the answer to its first one as well.
        """

    async def close(self) -> None:
        """Let go of the wire; a question under way fails with LineDownError."""
