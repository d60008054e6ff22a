"""What is to be said of a line by what its driver has counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime  # noqa: TC003 - pydantic reads the type
from statistics import median
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from gateway.ports.health import LineHealth, Observed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gateway.ports.field import MeterBus
    from gateway.ports.health import MeterHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the running daemon tells of itself."""

    lines: dict[str, LineHealth] = field(default_factory=dict)
    """line id -> its health"""
    clock_trusted: bool = False
    now: datetime | None = None
    """by the daemon's clock, in UTC"""
    waiting: int = 0
    """rounds of readings, and alarms, that wait in memory for the store"""
    given_up: int = 0
    """of these, lost since the start because too many waited"""


TOLD: TypeAdapter[Told] = TypeAdapter(Told)
_ENOUGH = 5
"""requests from which on a share says something"""
_OFTEN = 0.05
_SLOW = 1.2
"""times what the wire needs"""
_NAMED = 5


def observed(lines: Mapping[str, MeterBus]) -> dict[str, LineHealth]:
    """The health of every line whose driver counts."""
    return {name: line.health() for name, line in lines.items() if isinstance(line, Observed)}


def with_budgets(health: LineHealth, spent: Mapping[str, tuple[int, int]]) -> LineHealth:
    """Beside it, of meters that spare a battery, the reads of this day and how many it may be."""
    meters = (
        replace(each, today=spent[each.meter][0], bears=spent[each.meter][1]) if each.meter in spent else each
        for each in health.meters
    )
    return replace(health, meters=tuple(meters))


def rounds(health: LineHealth) -> tuple[int, int] | None:
    """Milliseconds of a round of all meters that have answered: what the wire needs, and what it took."""
    read = [(each.wire_ms, each.ms) for each in health.meters if each.ms is not None and each.wire_ms is not None]
    return (sum(wire for wire, _ in read), sum(ms for _, ms in read)) if read else None


def troubles(health: LineHealth) -> Iterator[str]:
    """What is wrong on the line, each with what to do; nothing where all is well."""
    asked = [each for each in health.meters if each.requests or each.failed]
    heard = [each for each in asked if each.reads]
    if asked and not heard:
        yield _nobody(asked, health.baud)
        return
    if repeated := _named(heard, lambda each: each.repeats):
        yield f"asked more than once in 20 times: {repeated}; look at their terminals, the length of the line and noise"
    if late := _named(asked, lambda each: each.unasked):
        yield (
            f"late or twice: {late}; raise latency in the settings of the line, and look for a second meter or master"
            " that answers there"
        )
    if slow := _slow(health):
        yield slow


def rows(health: LineHealth) -> Iterator[tuple[str, ...]]:
    """A table of the meters: what each costs."""
    yield "meter", "reads", "failed", "repeats", "damaged", "late", "ms", "wire ms", "today"
    for each in health.meters:
        numbers = (each.reads, each.failed, each.repeats, each.damaged, each.unasked, each.ms, each.wire_ms)
        today = "-" if each.bears is None else f"{each.today}/{each.bears}"
        yield each.meter, *("-" if number is None else str(number) for number in numbers), today


def _nobody(asked: Sequence[MeterHealth], baud: int) -> str:
    requests, damaged = sum(each.requests for each in asked), sum(each.damaged for each in asked)
    refused = requests < sum(each.failed for each in asked)  # reads that ended before they could ask
    if refused or 2 * sum(each.unasked for each in asked) > requests:  # another baud rate spoils answers, adds none
        return (
            "no meter can be asked: the line never falls silent, or the converter closes the connection; look for a"
            " second master, a device that sends unasked, or a short circuit"
        )
    if 2 * damaged < requests:
        return (
            "no meter answers: look at the power of the converter, the two wires, the addresses, and the baud rate"
            f" ({baud}): `submeter scan` with --baud finds another"
        )
    return (
        f"whatever answers is garbage: the meters or the converter have another baud rate than {baud}, another parity,"
        " or A and B are swapped; `submeter scan` with --baud finds the rate"
    )


def _slow(health: LineHealth) -> str:
    """A converter is slow with every meter; one that is asked twice or is disturbed takes longer for that alone."""
    calm = [each for each in health.meters if max(each.repeats, each.damaged, each.unasked) <= _OFTEN * each.requests]
    known = [(each.wire_ms, each.ms) for each in calm if each.ms is not None and each.wire_ms is not None]
    if not known or median(ms - _SLOW * wire for wire, ms in known) <= 0:
        return ""
    return (
        f"{median(ms - wire for wire, ms in known):.0f} ms more than the wire needs for each read: shorten the time"
        " that the converter gathers octets for (packing time, latency timer)"
    )


def _named(meters: Sequence[MeterHealth], count: Callable[[MeterHealth], int]) -> str:
    """Those of which it happens often, the worst first."""
    often = [each for each in meters if each.requests >= _ENOUGH and count(each) > _OFTEN * each.requests]
    often.sort(key=count, reverse=True)
    more = f" and {len(often) - _NAMED} more" if len(often) > _NAMED else ""
    return ", ".join(f"{each.meter} ({count(each)} of {each.requests})" for each in often[:_NAMED]) + more
