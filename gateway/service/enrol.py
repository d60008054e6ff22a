"""A badge is enrolled by holding it to a reader: one reader, one user, one minute, two taps of the same badge.

The first tap of a stranger's badge that happens to come by enrols nothing. What is bound is the digest: the
identifier stays in the reader's task and is told to nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateway.core.access import SEALED, canonical_identifier
from gateway.service.command_schema import Add, Answer, Enrol, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

WINDOW_S = 60.0
Say = Callable[[str], None]
_UNREAD = SEALED + 64 * "0"
"""stands for the digest while the rest of the entry is looked at"""


class EnrolError(Exception):
    """No badge was enrolled. The text is one sentence."""


class ReaderDownError(EnrolError):
    """The reader is not there."""


class Window:
    """The minute in which the taps at a reader enrol; none of them reaches the machine."""

    def __init__(self, known_as: Callable[[str], str | None], seal: Callable[[str], str], say: Say) -> None:
        """`known_as` gives the id of the badge that has a digest."""
        self._known_as = known_as
        self._seal = seal
        self._say = say
        self._seen: set[str] = set()
        self._found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def heard(self, identifier: str) -> bool:
        """Take a tap; whether the lamp is to show green."""
        try:
            sealed = self._seal(canonical_identifier(identifier))
        except ValueError as error:
            self._say(f"this badge {error}")
            return False
        known = self._known_as(sealed)
        if known is not None:
            self._say(f"this badge cannot be told apart from {known}, which is enrolled: take another one")
            return False
        if sealed not in self._seen:
            self._seen.add(sealed)
            self._say("take the badge away and hold it there once more")
        elif not self._found.done():
            self._found.set_result(sealed)
        return True

    def lost(self, reason: str) -> None:
        """The reader is gone."""
        if not self._found.done():
            self._found.set_exception(ReaderDownError(f"the reader cannot be reached: {reason}"))

    async def digest(self) -> str:
        """Of the badge that was held there twice; EnrolError where none was."""
        try:
            async with asyncio.timeout(WINDOW_S):
                return await self._found
        except TimeoutError:
            message = f"no badge was held to the reader twice within {WINDOW_S:g} s: begin again"
            raise EnrolError(message) from None


class EnrollingReader(Protocol):
    """A reader that can enrol."""

    async def enrol(self, say: Say) -> str:
        """The digest of the badge that is held to it twice; EnrolError where none is."""


class Enrolment:
    """Turns the wish to enrol into the entry of the badge that was tapped."""

    def __init__(self, check: Callable[[Add], Awaitable[Answer]], readers: Mapping[str, EnrollingReader]) -> None:
        """`check` says what would become of an entry; `readers` by their id in the settings."""
        self._check = check
        self._readers = readers

    async def tapped(self, command: Enrol, say: Say) -> Add | Answer:
        """The entry to be added, or why there is none. `say` is called with what the person is to do."""
        reader = self._readers.get(command.reader)
        if reader is None:
            there = ", ".join(sorted(self._readers)) or "none"
            return refusal(f"reader {command.reader} is not in the settings; there are: {there}")
        checked = await self._check(_entry(command, _UNREAD))
        if not checked.ok:
            return checked
        try:
            return _entry(command, await reader.enrol(say))
        except EnrolError as error:
            refused = refusal(f"{command.reader}: {error}")
            return refused.model_copy(update={"unreachable": isinstance(error, ReaderDownError)})


def _entry(command: Enrol, digest: str) -> Add:
    return Add(kind="badge", value={**command.value, "digest": digest})
