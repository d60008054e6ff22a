"""Both clocks are read at one moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.service.access_parts import TRIES, moment_of

START = datetime(2026, 10, 1, tzinfo=UTC)


class Halting:
    """Clocks of a machine that stands still for a second the first times that one of them is asked."""

    def __init__(self, halts: int) -> None:
        self.passed = 0.0
        self.halts = halts

    def trusted(self) -> bool:
        return True

    def monotonic(self) -> float:
        return self.passed

    def now(self) -> datetime:
        if self.halts:
            self.halts -= 1
            self.passed += 1
        return START + timedelta(seconds=self.passed)


def test_a_machine_that_stands_still_between_two_clocks_places_nothing_wrongly() -> None:
    for halts in range(5):
        moment = moment_of(Halting(halts), "boot")
        assert moment.at - moment.elapsed == START


def test_on_a_machine_that_always_stands_still_it_is_a_moment_all_the_same() -> None:
    clocks = Halting(99)
    assert moment_of(clocks, "boot").elapsed == timedelta(seconds=TRIES - 1)
    assert clocks.passed == TRIES
