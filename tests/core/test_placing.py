from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.core.metering import Reading
from gateway.core.units import Scaled
from gateway.service.placing import LIMIT, Placing
from gateway.service.polled import Poll

if TYPE_CHECKING:
    from collections.abc import Mapping

WRONG, RIGHT = datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)


class BootClock:
    """In 1970 until it is set right."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.right = False

    def now(self) -> datetime:
        return (RIGHT if self.right else WRONG) + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def trusted(self) -> bool:
        return self.right


def poll(clock: BootClock, registers: int) -> Poll:
    readings = tuple(
        Reading(
            meter="m", register=str(number), at=clock.now(), index=Scaled(1, 0), unit="kWh", obis="1-0:1.8.0",
            serial="", status=0, clock_trusted=clock.right, boot="b",
        )
        for number in range(registers)
    )  # fmt: skip
    return Poll(
        meter="m", at=clock.now(), serial="", status=0, clock_trusted=clock.right, boot="b", readings=readings, raw=b""
    )


def test_what_was_heard_before_the_clock_was_right_is_placed_once() -> None:
    clock = BootClock()
    placing = Placing(clock)
    placing.note(poll(clock, 2))
    clock.elapsed = 60.0
    assert placing.placed() == []
    clock.right = True
    (placed,) = placing.placed()
    assert (placed.at, placed.clock_trusted) == (RIGHT, True)
    assert [(reading.at, reading.clock_trusted) for reading in placed.readings] == [(RIGHT, True)] * 2
    assert placing.placed() == []


def test_the_latest_readings_are_remembered_however_many_a_meter_gives_at_once() -> None:
    clock = BootClock()
    placing = Placing(clock)
    for _ in range(2):  # also once more after they were placed
        clock.right = False
        for second in range(LIMIT // 10 + 5):
            clock.elapsed = float(second)
            placing.note(poll(clock, 10))
        clock.right = True
        placed = placing.placed()
        assert len(placed) == LIMIT // 10
        assert placed[0].at == RIGHT + timedelta(seconds=5)


def test_each_answer_comes_back_with_its_own_values_and_whatever_else_it_said() -> None:
    clock = BootClock()
    placing = Placing(clock)
    first = poll(clock, 3)
    changes: list[dict[str, Any]] = [
        {"index": Scaled(2**70, 0)},
        {"index": Scaled(17, -2)},
        {"unit": "Wh"},
        {"obis": "1-0:1.8.1"},
        {"serial": "B"},
        {"status": 4},
        {"boot": "c"},
        {"origin": "stored"},
        {"modulus": Scaled(1, 6)},
        {"register": "import"},
    ]
    fewer = [replace(first, readings=first.readings[:1]), replace(first, readings=())]
    said = [each for one in [*(changed(first, given) for given in changes), *fewer] for each in (one, first)]
    for one in said:
        placing.note(one)
    clock.right = True
    placed = placing.placed()
    trusted = [changed(one, {"at": RIGHT, "clock_trusted": True}) for one in said]
    assert placed == [replace(one, at=RIGHT, clock_trusted=True) for one in trusted]
    exponents = [[each.index.exponent for each in one.readings] for one in placed]
    assert exponents == [[each.index.exponent for each in one.readings] for one in said]


def changed(poll: Poll, given: Mapping[str, Any]) -> Poll:
    return replace(poll, readings=tuple(replace(one, **given) for one in poll.readings))
