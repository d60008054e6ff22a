"""A machine with a permit: every case of its table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.core.session import (
    Answer,
    Close,
    Command,
    Count,
    End,
    Event,
    Keep,
    Limits,
    Machine,
    Moment,
    Raise,
    Read,
    Sampled,
    Session,
    State,
    Switch,
    Switched,
    Tapped,
    restored,
    step,
)
from gateway.core.units import Scaled

EVENING = datetime(2026, 10, 5, 18, tzinfo=UTC)
NOW = Moment(at=EVENING, trusted=True, elapsed=timedelta(hours=1), boot="boot-1")
LIMITS = Limits(window_s=300, quiet_s=300, least_run_s=600, least=Scaled(2, -2), idle=Scaled(2, -2))


def index(steps: int) -> Count:
    return Count(value=Scaled(steps, -2), seen=NOW)


def offer(badge: str = "b-1") -> Session:
    return Session(id=f"s-{badge}", badge=badge, user="blumer", point="flat-1", started=NOW)


def tap(badge: str = "b-1", result: str = "Accepted") -> Tapped:
    return Tapped(result=result, badge=badge, offer=offer(badge) if result == "Accepted" else None)


def sample(steps: int | None, *, on: bool | None = True) -> Sampled:
    return Sampled(index=None if steps is None else index(steps), on=on)


class Story:
    """A machine through a sequence of events; the relay obeys."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine(limits=LIMITS)
        self.done: list[Command] = []
        self.now = 0.0
        self.on = False
        self.obeys = True

    def tell(self, event: Event, after: float = 0.0) -> list[Command]:
        """The commands that it leads to, with those of what the relay answers."""
        self.now += after
        self.machine, commands = step(self.machine, event, self.now)
        found = list(commands)
        for command in commands:
            if isinstance(command, Switch):
                self.on = command.on if self.obeys else self.on
                found += self.tell(Switched(on=command.on, confirmed=self.on == command.on))
        self.done += commands
        return found

    @property
    def closed(self) -> list[Session]:
        return [one.session for one in self.done if isinstance(one, Close)]

    @property
    def state(self) -> State:
        return self.machine.state

    def is_in(self, state: State) -> bool:
        return self.machine.state is state


def armed() -> Story:
    story = Story()
    story.tell(tap())
    story.tell(sample(81240, on=False))
    assert (story.state, story.on) == (State.ARMED, True)
    return story


def running() -> Story:
    story = armed()
    story.tell(sample(81242), 30)
    assert story.is_in(State.RUNNING)
    return story


def test_a_wash_from_the_tap_to_the_last_index() -> None:
    story = Story()
    assert story.tell(tap()) == [Answer("Accepted"), Keep(State.AUTHORISING, offer()), Read()]
    armed_as = replace(offer(), start=index(81240))
    assert story.tell(sample(81240, on=False), 0.2) == [Keep(State.ARMED, armed_as), Switch(on=True)]
    story.tell(sample(81242), 60)
    for steps in (81260, 81290, 81325):
        story.tell(sample(steps), 600)
        assert story.is_in(State.RUNNING)
    story.tell(sample(81325), 120)
    assert story.is_in(State.QUIET)
    story.tell(sample(81325), 200)
    assert (story.state, story.on) == (State.CLOSING, False)
    story.tell(sample(81325, on=False), 1)
    assert story.is_in(State.IDLE)
    (ended,) = story.closed
    assert (ended.start, ended.end, ended.ran, ended.stop) == (index(81240), index(81325), True, "Local")


def test_a_machine_that_pauses_in_mid_cycle_is_not_ended() -> None:
    story = running()
    story.tell(sample(81300), 900)
    story.tell(sample(81300), 299)
    assert story.is_in(State.QUIET)
    story.tell(sample(81310), 1)
    assert story.is_in(State.RUNNING)
    assert story.on


def test_a_short_first_pause_does_not_end_the_shortest_run() -> None:
    story = running()
    story.tell(sample(81242), 400)
    assert story.is_in(State.QUIET)
    story.tell(sample(81242), 200)
    assert story.is_in(State.CLOSING)


def test_a_machine_at_rest_is_no_use() -> None:
    story = running()
    story.tell(sample(81290), 900)
    story.tell(sample(81291), 1900)  # 10 Wh in half an hour: its lamp
    assert story.is_in(State.CLOSING)


def test_refused_taps_start_nothing() -> None:
    for result in ("Blocked", "Expired", "Unknown", "Invalid", "ConcurrentTx"):
        story = Story()
        assert story.tell(tap(result=result)) == [Answer(result)]
        assert story.is_in(State.IDLE)


def test_the_owner_cancels_before_anything_has_started() -> None:
    story = armed()
    story.tell(tap(), 10)
    assert (story.state, story.on) == (State.CLOSING, False)
    story.tell(sample(81240, on=False))
    assert [(one.ran, one.stop) for one in story.closed] == [(False, "Local")]


def test_a_permit_that_nobody_uses_is_withdrawn_and_costs_nothing() -> None:
    story = armed()
    story.tell(sample(81240), 299)
    assert story.is_in(State.ARMED)
    story.tell(sample(81241), 1)  # a step of the register is no start
    assert not story.on
    story.tell(sample(81241, on=False))
    assert [(one.ran, one.stop) for one in story.closed] == [(False, "TimeLimitReached")]


def test_a_machine_started_at_the_last_moment_is_charged() -> None:
    story = armed()
    story.tell(sample(81241), 300)
    story.tell(sample(81243, on=False))
    assert [one.ran for one in story.closed] == [True]


def test_another_badge_during_a_session_is_refused_and_changes_nothing() -> None:
    for story in (armed(), running()):
        before = story.machine
        assert story.tell(tap("b-2"), 5) == [Answer("ConcurrentTx")]
        assert story.tell(tap("b-3", "Unknown"), 5) == [Answer("Unknown")]
        assert story.machine == before


def test_the_owners_tap_does_not_end_a_run() -> None:
    story = running()
    assert story.tell(tap()) == [Answer("ConcurrentTx")]
    assert story.is_in(State.RUNNING)


def test_without_the_meter_no_permit_is_given() -> None:
    story = Story()
    story.tell(tap())
    assert story.tell(sample(None, on=False), 1) == [Raise("meter_lost")]
    assert story.tell(sample(None, on=False), 2) == [
        Answer("Invalid"),
        Close(replace(offer(), stop="EnergyMeterLost")),
    ]
    assert not story.on
    assert story.tell(sample(81240, on=False), 60) == [End("meter_lost")]


def test_a_meter_that_is_silent_during_the_run_ends_it_with_its_next_reading() -> None:
    story = running()
    assert story.tell(sample(None), 60) == [Raise("meter_lost")]
    assert story.tell(sample(None), 3600) == []
    assert story.tell(sample(81325), 60) == [End("meter_lost")]
    story.tell(sample(None), 60)
    story.tell(sample(81325), 400)
    assert story.is_in(State.CLOSING)
    story.tell(sample(None, on=False))
    assert story.is_in(State.CLOSING)
    story.tell(sample(81325, on=False), 60)
    assert [one.end for one in story.closed] == [index(81325)]


def test_a_relay_that_does_not_confirm_ends_the_session_with_nothing() -> None:
    story = Story()
    story.obeys = False
    story.tell(tap())
    commands = story.tell(sample(81240, on=False))
    assert Raise("relay_unconfirmed") in commands
    assert Answer("Invalid") in commands
    story.tell(sample(81250, on=False))
    assert [(one.ran, one.stop) for one in story.closed] == [(False, "RelayNotConfirmed")]


def test_a_relay_that_sticks_is_told_and_tried_again() -> None:
    story = Story()
    story.on, story.obeys = True, False
    assert story.tell(sample(81240)) == [Raise("relay_mismatch"), Switch(on=False)]
    story.obeys = True
    assert story.tell(sample(81240), 60) == [Switch(on=False), End("relay_mismatch")]


def test_use_without_a_session_is_told_and_a_lamp_is_not() -> None:
    story = Story()
    story.tell(sample(81240, on=False))
    assert story.tell(sample(81242, on=False), 60) == [Raise("unattributed_use")]
    assert story.tell(sample(81242, on=False), 60) == [End("unattributed_use")]
    for steps in range(81243, 81300):
        assert story.tell(sample(steps, on=False), 1800) == []


def test_a_power_cut_while_armed_ends_with_nothing() -> None:
    story = armed()
    story.on = False
    story.tell(sample(81240, on=False), 20)
    story.tell(sample(81240, on=False))
    assert [(one.ran, one.stop) for one in story.closed] == [(False, "PowerLoss")]


def test_after_a_power_cut_in_a_run_its_user_goes_on_and_pays_one_cycle() -> None:
    story = running()
    story.on = False
    story.tell(sample(81300, on=False), 600)
    assert story.is_in(State.INTERRUPTED)
    assert story.tell(tap("b-2"), 10) == [Answer("ConcurrentTx")]
    story.tell(tap(), 60)
    assert (story.state, story.on) == (State.RUNNING, True)
    story.tell(sample(81325), 700)
    story.tell(sample(81325), 700)
    story.tell(sample(81325, on=False))
    assert [(one.start, one.end) for one in story.closed] == [(index(81240), index(81325))]


def test_after_a_power_cut_without_a_tap_the_run_ends_with_what_was_counted() -> None:
    story = running()
    story.on = False
    story.tell(sample(81300, on=False), 600)
    story.tell(sample(81300, on=False), 900)
    story.tell(sample(81300, on=False))
    assert [(one.ran, one.end, one.stop) for one in story.closed] == [(True, index(81300), "PowerLoss")]


def test_a_restart_leaves_the_relay_alone_and_adopts_the_run() -> None:
    kept = replace(offer(), start=index(81240), ran=True)
    machine, commands = restored(LIMITS, State.QUIET, kept, 0.0)
    assert commands == ()
    story = Story(machine)
    story.on = True
    story.tell(sample(81300))
    story.tell(sample(81325), 100)
    assert story.is_in(State.RUNNING)
    story.tell(sample(81325), 700)
    story.tell(sample(81325, on=False))
    assert [(one.start, one.end, one.ran) for one in story.closed] == [(index(81240), index(81325), True)]


def test_a_restart_before_the_permit_closes_with_nothing() -> None:
    machine, commands = restored(LIMITS, State.AUTHORISING, offer(), 0.0)
    assert commands == (Close(replace(offer(), stop="PowerLoss")),)
    assert machine.state is State.IDLE


def test_a_restart_while_closing_withdraws_the_permit_again() -> None:
    kept = replace(offer(), start=index(81240), ran=True)
    machine, commands = restored(LIMITS, State.CLOSING, kept, 0.0)
    assert commands == (Switch(on=False),)
    story = Story(machine)
    story.tell(Switched(on=False, confirmed=True))
    story.tell(sample(81300, on=False))
    assert [one.end for one in story.closed] == [index(81300)]


def test_a_run_of_more_than_four_hours_is_told_and_not_cut() -> None:
    story = running()
    for hour in range(1, 6):
        commands = story.tell(sample(81242 + 50 * hour), 3600)
        assert (Raise("run_too_long") in commands) == (hour == 4)
    assert (story.state, story.on) == (State.RUNNING, True)


@pytest.mark.parametrize("own", [None, Scaled(1000, 0)])
@pytest.mark.parametrize(
    ("said", "last", "most", "state"),
    [
        (Scaled(1000, 0), 99999, Scaled(100, 0), State.RUNNING),
        (Scaled(1000, 0), 99999, Scaled(50, 0), State.ARMED),  # 0.06 in a minute are 86.4 a day
        (Scaled(1000, 0), 99999, None, State.ARMED),
        (Scaled(1000, 0), 50000, Scaled(100, 0), State.ARMED),  # it was reset
    ],
)
def test_a_counter_that_passes_its_highest_number_goes_on_where_so_much_can_flow(
    own: Scaled | None, said: Scaled, last: int, most: Scaled | None, state: State
) -> None:
    """The register's own number, or else the one that the meter's model says."""
    story = Story(Machine(limits=replace(LIMITS, modulus=own, max_per_day=most)))
    story.tell(tap())
    story.tell(Sampled(index=replace(index(last), modulus=said), on=False))
    later = replace(NOW, elapsed=NOW.elapsed + timedelta(seconds=60))
    story.tell(Sampled(index=Count(value=Scaled(5, -2), seen=later, modulus=said), on=True), 60)
    assert story.is_in(state)


def test_time_passes_as_the_monotonic_clock_says_and_from_boot_to_boot_as_the_clock_of_the_day_does() -> None:
    later = replace(NOW, at=NOW.at + timedelta(days=1), elapsed=NOW.elapsed + timedelta(seconds=5))
    assert later.since(NOW) == timedelta(seconds=5)
    assert replace(later, boot="boot-2").since(NOW) == timedelta(days=1)
