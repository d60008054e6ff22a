"""When something happened, also while the time of day was not known yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What the two clocks showed: that of the day, and the monotonic one, which begins anew with each boot."""

    at: datetime
    trusted: bool
    """whether the clock of the day was known to be right"""
    elapsed: timedelta
    """on the monotonic clock"""
    boot: str
    """id of the boot"""

    def since(self, before: Moment) -> timedelta:
        """The time that has passed: on the monotonic clock within a boot, else as the clock of the day shows it."""
        return self.elapsed - before.elapsed if self.boot == before.boot else self.at - before.at

    def told_by(self, known: Moment) -> Moment:
        """The same moment, as far from a trusted one of its boot as the monotonic clock says."""
        return replace(self, at=known.at + (self.elapsed - known.elapsed), trusted=True)


def in_time(moments: Mapping[str, Moment], now: Moment) -> Mapping[str, Moment] | None:
    """The moments of a session at their right instants; None where one of them has none yet.

    Durations hold: one that is trusted gives the others of its boot. `now` is the present moment.
    """
    trusted = [one for one in (*moments.values(), now) if one.trusted]
    found = {}
    for name, one in moments.items():
        known = one if one.trusted else next((each for each in trusted if each.boot == one.boot), None)
        if known is None:
            return None
        found[name] = one.told_by(known)
    return found


def lost(moments: Collection[Moment], now: Moment) -> bool:
    """Whether one of the moments never gets its right instant: its boot has ended, and nothing in it was trusted."""
    boots = {one.boot for one in (*moments, now) if one.trusted} | {now.boot}
    return not all(one.trusted or one.boot in boots for one in moments)
