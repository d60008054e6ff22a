"""How far readings are looked at beside a month or an instant, so that those next to it can be judged by the others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.core.period import MAX, MIN, Period

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from gateway.core.metering import Reading

BESIDE = timedelta(hours=6)
"""enough to judge what is read at a boundary, where a meter is not silent there"""
WITNESSES = 4
"""measured readings on one side"""
FARTHER = 8
"""how often more is read; who was hardly ever read is judged by what there is"""


def spans(at: datetime, heard: list[Reading]) -> Iterator[Period]:
    """The spans to be read around an instant, one after the other, until that is as far as beside a month.

    Whoever asks leaves in `heard` what the store has found: in the span, the last before it and the first after it.
    """
    start, until = at - BESIDE, at + BESIDE
    for _ in range(1 + FARTHER):
        yield Period(start, until)
        earlier = heard and heard[0].at < start and not enough(heard, Period(MIN, at))
        later = heard and heard[-1].at > until and not enough(heard, Period(at, MAX))
        if not (earlier or later):
            return
        start = heard[0].at - BESIDE if earlier else start
        until = heard[-1].at + BESIDE if later else until


def enough(heard: Sequence[Reading], side: Period) -> bool:
    """Whether one wrong reading inside the period can be told from the others."""
    measured = {one.at for one in heard if one.origin == "measured" and one.clock_trusted}
    return sum(side.start < at < side.until for at in measured) >= WITNESSES
