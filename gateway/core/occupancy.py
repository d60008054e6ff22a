"""Users, their stays at billing points, owners: who pays at an instant, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from gateway.core.period import MAX, MIN, Period, local_date, midnight
from gateway.core.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date, datetime

Role = Literal["user", "owner"]
PayerReason = Literal["occupancy", "vacancy", "remainder", "unattributed", "unassigned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A natural or legal person."""

    id: str
    kind: Literal["natural", "legal"]
    name: str
    """first and last name, or the company's"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """A user's stay at a billing point, half-open."""

    id: str
    point: str
    user: str
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Who owns a facility, a building or a point from `start` on, until the next owner of the same."""

    id: str
    user: str
    target: tuple[Literal["facility", "building", "point"], str]
    start: datetime = MIN


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Payer:
    """Who pays, in which role and why."""

    id: str
    role: Role
    reason: PayerReason


def stay(entry: date, last_day: date | None, zone: str) -> Period:
    """The period of a stay as a manager types it: both days are the user's, from midnight to midnight local."""
    until = MAX if last_day is None else midnight(last_day + timedelta(days=1), zone)
    return Period(midnight(entry, zone), until)


def overlaps(occupancies: Iterable[Occupancy], zone_of: Callable[[str], str] = lambda _: "UTC") -> list[Problem]:
    """A problem for every stay that begins before an earlier one at the same point has ended.

    `zone_of` gives a point's time zone, so that days are told as they were typed.
    """
    ordered = sorted(occupancies, key=lambda stay: (stay.point, stay.period.start, stay.id))
    found: list[Problem] = []
    longest: Occupancy | None = None
    for stay in ordered:
        if longest is None or longest.point != stay.point:
            longest = stay
            continue
        if stay.period.start < longest.period.until:
            found.append(_overlap(longest, stay, zone_of(stay.point)))
        longest = max(longest, stay, key=lambda one: one.period.until)
    return found


def _overlap(first: Occupancy, second: Occupancy, zone: str) -> Problem:
    text = (
        f"{second.user} ({_days(second.period, zone)}) and {first.user} ({_days(first.period, zone)}, {first.id}) are "
        f"both at {second.point}: end the earlier stay before the later one begins"
    )
    return Problem(code="occupancy_overlap", kind="occupancy", id=second.id, text=text, field="entry")


def _days(period: Period, zone: str) -> str:
    """First and last day, as a manager types them."""
    last = "open" if period.until == MAX else f"{local_date(period.until, zone) - timedelta(days=1)}"
    return f"{local_date(period.start, zone)} to {last}"


def owner_at(owners: Iterable[Ownership], targets: Sequence[tuple[str, str]], instant: datetime) -> str | None:
    """The owner's user id: the first target with an owner wins (point, then building, then facility)."""
    held = [owner for owner in owners if owner.start <= instant]
    for target in targets:
        of_target = [owner for owner in held if owner.target == target]
        if of_target:
            return max(of_target, key=lambda owner: owner.start).user
    return None


def payers(
    occupancies: Iterable[Occupancy],
    owners: Sequence[Ownership],
    targets: Sequence[tuple[str, str]],
    period: Period,
    gap: PayerReason = "vacancy",
) -> list[tuple[Period, Payer]]:
    """Exactly one payer for every instant of the period: the occupant, else the owner for the reason `gap`.

    LookupError where nobody owns: `book.problems` refuses such property data.
    """
    stays = [stay for stay in occupancies if stay.period.overlap(period)]
    changes = [edge for stay in stays for edge in (stay.period.start, stay.period.until)]
    changes += [owner.start for owner in owners if owner.target in targets]
    found: list[tuple[Period, Payer]] = []
    for piece in period.cut(changes):
        payer = _payer_at(stays, owners, targets, piece.start, gap)
        if found and found[-1][1] == payer:
            found[-1] = (Period(found[-1][0].start, piece.until), payer)
        else:
            found.append((piece, payer))
    return found


def _payer_at(
    stays: Iterable[Occupancy],
    owners: Iterable[Ownership],
    targets: Sequence[tuple[str, str]],
    instant: datetime,
    gap: PayerReason,
) -> Payer:
    for one in stays:
        if instant in one.period:
            return Payer(id=one.user, role="user", reason="occupancy")
    owner = owner_at(owners, targets, instant)
    if owner is None:
        message = f"nobody owns {targets[0][1]} at {instant}"
        raise LookupError(message)
    return Payer(id=owner, role="owner", reason=gap)
