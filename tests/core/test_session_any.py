"""Whatever happens to a session and in whatever order, what it promises holds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.core.session import (
    Close,
    Event,
    Keep,
    Machine,
    Sampled,
    State,
    Switch,
    Switched,
    restored,
)
from gateway.core.units import Scaled
from tests.core.test_session import LIMITS, Story, armed, sample, tap


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 900)), min_size=1, max_size=20))
def test_a_session_counts_what_the_meter_counted_however_it_runs(flow: list[tuple[int, int]]) -> None:
    story, steps = armed(), 81240
    for more, seconds in flow:
        if story.closed:
            break
        steps += more
        story.tell(sample(steps, on=story.on), seconds)
    while not story.closed:
        story.tell(sample(steps, on=story.on), 400)
    (ended,) = story.closed
    assert ended.end is not None
    assert ended.ran == (ended.end.value - Scaled(81240, -2) >= LIMITS.least)


class AnySequence(RuleBasedStateMachine):
    """Whatever happens, in whatever order."""

    @initialize()
    def begin(self) -> None:
        self.story = Story()
        self.steps = 0
        self.ids: list[str] = []

    @rule(badge=st.sampled_from(["b-1", "b-2"]), result=st.sampled_from(["Accepted", "Blocked", "Unknown"]))
    def taps(self, badge: str, result: str) -> None:
        self.do(tap(badge, result))

    @rule(flow=st.integers(0, 30), heard=st.booleans(), seen=st.booleans(), after=st.integers(0, 1000))
    def samples(self, *, flow: int, heard: bool, seen: bool, after: int) -> None:
        self.steps += flow
        self.do(sample(self.steps if heard else None, on=self.story.on if seen else None), after)

    @rule(obeys=st.booleans())
    def the_relay(self, *, obeys: bool) -> None:
        self.story.obeys = obeys

    @rule()
    def a_power_cut(self) -> None:
        self.story.on = False

    @rule()
    def a_restart(self) -> None:
        kept = [one for one in self.story.done if isinstance(one, Keep | Close)]
        if kept and isinstance(kept[-1], Keep):
            machine, commands = restored(LIMITS, kept[-1].state, kept[-1].session, self.story.now)
        else:
            machine, commands = Machine(limits=LIMITS), ()
        self.story.machine = machine
        self.story.done += commands
        for command in commands:
            if isinstance(command, Switch):
                self.story.on = command.on if self.story.obeys else self.story.on
                self.do(Switched(on=command.on, confirmed=self.story.on == command.on))

    def do(self, event: Event, after: float = 0.0) -> None:
        before = self.story.machine
        commands = self.story.tell(event, after)
        cuts = [one for one in commands if one == Switch(on=False)]
        if before.state in {State.RUNNING, State.QUIET} and cuts:
            assert isinstance(event, Sampled), "a run is never cut by a tap"
            assert event.index is not None, "nor blindly"

    @invariant()
    def the_relay_follows_what_is_durable(self) -> None:
        kept: Keep | None = None
        for command in self.story.done:
            match command:
                case Keep():
                    kept = command
                case Close():
                    kept = None
                case Switch(on=True):
                    assert kept is not None
                    assert kept.state in {State.ARMED, State.RUNNING}
                case _:
                    pass

    @invariant()
    def a_session_ends_once(self) -> None:
        begun = sum(isinstance(one, Keep) and one.state is State.AUTHORISING for one in self.story.done)
        assert begun - len(self.story.closed) == (self.story.machine.session is not None)
        assert (self.story.machine.session is None) == (self.story.state is State.IDLE)

    @invariant()
    def what_ended_was_counted_or_is_free(self) -> None:
        for one in self.story.closed:
            assert not one.ran or (one.start is not None and one.end is not None)


AnySequence.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


test_any_sequence = AnySequence.TestCase
