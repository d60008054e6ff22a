"""Badges: who may use an access point, and what a tap is answered. Results are the words of OCPP.

An identifier is the bytes of the badge's UID in ISO 14443 order as upper-case hex: 4, 7 or 10 bytes. Beyond the
reader only its digest is known. It identifies, it does not authenticate.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gateway.core.period import ALWAYS, Period
from gateway.core.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from gateway.core.occupancy import Occupancy

Result = Literal["Accepted", "Blocked", "Expired", "Invalid", "Unknown", "ConcurrentTx"]
SEALED = "hmac-sha256:"
ABSENCE = 1.0
"""seconds without the badge after which the next tap is a new one: a held card and a double tap are one"""
TAPS_PER_S = 20
"""of one reader are judged; nobody holds out more badges than that"""
_HEX = re.compile(r"[0-9A-F]{8}|[0-9A-F]{14}|[0-9A-F]{20}")
_SHORT = 8
_RANDOM = "08"
_CASCADE = "88"


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A badge of a user: valid in `period` at its access points, billed to its point."""

    id: str
    user: str
    point: str
    digest: str
    """HMAC-SHA-256 of the identifier, as `digest` gives it"""
    access_points: frozenset[str]
    period: Period = ALWAYS
    blocked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a tap is answered, and whose badge it was, where that is certain."""

    result: Result
    badge: Badge | None = None
    ambiguous: tuple[str, ...] = ()
    """ids of the badges that cannot be told apart: none of them is picked"""


def canonical_identifier(text: str) -> str:
    """The identifier as it may be enrolled; ValueError, one sentence, where it may not."""
    identifier = text.strip().replace(":", "").replace(" ", "").upper()
    message = ""
    if not _HEX.fullmatch(identifier):
        message = "is no badge identifier: write its 4, 7 or 10 bytes as hex digits, such as 04A1B2C3"
    elif len(identifier) == _SHORT and identifier.startswith(_RANDOM):
        message = "is a random identifier (4 bytes beginning 08), another one at every tap: enrol another badge"
    elif len(identifier) == _SHORT and identifier.startswith(_CASCADE):
        message = "is the first part of a longer identifier (4 bytes beginning 88): write all 7 or 10 bytes"
    if message:
        raise ValueError(message)
    return identifier


def digest(identifier: str, pepper: bytes) -> str:
    """What is kept of an identifier: "hmac-sha256:" and 64 hex digits."""
    return SEALED + hmac.new(pepper, identifier.encode("ascii"), "sha256").hexdigest()


def authorize(
    badges: Iterable[Badge], tapped: str, access_point: str, now: datetime, busy: Collection[str] = ()
) -> Decision:
    """What a tap of the digest `tapped` is answered. `busy`: ids of badges that have a session elsewhere."""
    known = sorted((badge for badge in badges if badge.digest == tapped), key=lambda badge: badge.id)
    held = [badge for badge in known if now in badge.period]
    if len(held) > 1:
        return Decision(result="Invalid", ambiguous=tuple(badge.id for badge in held))
    if not held:
        ended = [badge for badge in known if badge.period.until <= now]
        last = max(ended, key=lambda badge: badge.period.until, default=None)
        result: Result = "Expired" if last else "Invalid" if known else "Unknown"
        return Decision(result=result, badge=last)
    return Decision(result=_judged(held[0], access_point, busy), badge=held[0])


def _judged(badge: Badge, access_point: str, busy: Collection[str]) -> Result:
    if badge.blocked:
        return "Blocked"
    if access_point not in badge.access_points:
        return "Invalid"
    return "ConcurrentTx" if badge.id in busy else "Accepted"


def until_exit(badge: Badge, stays: Iterable[Occupancy]) -> Period:
    """The badge's validity, ended by the last exit of its user from the points of the `stays` given.

    A user without any stay there, such as a caretaker, has no exit.
    """
    exits = [stay.period.until for stay in stays if stay.user == badge.user]
    return Period(badge.period.start, min([badge.period.until, max(exits)])) if exits else badge.period


def collisions(badges: Iterable[Badge]) -> list[Problem]:
    """A problem for every badge that a reader cannot tell from an earlier one that is valid at the same time.

    A badge without a digest is not enrolled yet and collides with none.
    """
    enrolled = (badge for badge in badges if badge.digest)
    ordered = sorted(enrolled, key=lambda badge: (badge.digest, badge.period.start, badge.id))
    found: list[Problem] = []
    for number, badge in enumerate(ordered):
        twins = (one for one in ordered[:number] if one.digest == badge.digest and one.period.overlap(badge.period))
        twin = next(twins, None)
        if twin is not None:
            text = f"has the same identifier as {twin.id} at the same time: end one of them before the other begins"
            found.append(Problem(code="badge_collision", kind="badge", id=badge.id, text=text, field="identifier"))
    return found


@dataclass(frozen=True, slots=True)
class Presence:
    """What lies on a reader: an identifier, and when (monotonic seconds) it was last reported."""

    identifier: str = ""
    last: float = float("-inf")

    def seen(self, identifier: str, now: float) -> tuple[Presence, bool]:
        """After a report of the reader; whether it is a new tap."""
        same = identifier == self.identifier and now - self.last < ABSENCE
        return Presence(identifier, now), not same


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many taps may be judged at once: `TAPS_PER_S` come back each second, up to as many."""

    left: float = TAPS_PER_S
    since: float = float("-inf")
    """monotonic seconds"""

    def spent(self, now: float) -> tuple[Allowance, bool]:
        """After one more tap; whether it may be judged."""
        left = min(TAPS_PER_S, self.left + TAPS_PER_S * (now - self.since))
        return (Allowance(left - 1, now), True) if left >= 1 else (Allowance(left, now), False)
