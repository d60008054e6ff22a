from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.service.lane import AHEAD, MAX_AGAIN, MAX_REFUSED, PATIENCE, Lane, Throttle
from tests.outbox import Outbox, stream

if TYPE_CHECKING:
    from gateway.core.event import Event

CHARGES = stream("charge")


def at_once(_: Event) -> bool:
    return True


def not_yet(_: Event) -> bool:
    return False


def outbox(count: int) -> Outbox:
    one = Outbox()
    one.add("charge", count)
    return one


async def drain(lane: Lane, store: Outbox, now: float = 0.0) -> list[int]:
    seqs = []
    while event := await lane.next(store.events, at_once, now):
        lane.hand_over(event.seq, now)
        seqs.append(event.seq)
    return seqs


async def repeats(lane: Lane, store: Outbox) -> list[int]:
    seqs = []
    while event := await lane.next_asked(store.events, at_once, 0.0):
        seqs.append(event.seq)
    return seqs


async def test_what_is_finished_is_not_sent_and_the_rest_goes_in_order() -> None:
    lane = Lane(CHARGES, head=250, finished=20, acks={})
    assert await drain(lane, outbox(250)) == list(range(21, 251))


async def test_a_new_event_is_sent_after_the_store_has_told_of_it() -> None:
    lane, store = Lane(CHARGES, head=1, finished=0, acks={}), outbox(1)
    assert await drain(lane, store) == [1]
    store.add("charge")
    assert await drain(lane, store) == []
    lane.live.more = True
    assert await drain(lane, store) == [2]


async def test_after_a_reconnect_everything_unfinished_is_sent_again() -> None:
    lane, store = Lane(CHARGES, head=5, finished=0, acks={"billing": 0}), outbox(5)
    await drain(lane, store)
    assert lane.claim("billing", 2)
    lane.record(lane.progress(), lane.finishable(), 0.0)
    lane.restart()
    assert await drain(lane, store) == [3, 4, 5]


async def test_confirmations_finish_no_further_than_the_first_that_is_missing() -> None:
    lane, store = Lane(CHARGES, head=5, finished=0, acks={}), outbox(5)
    await drain(lane, store)
    for seq in (1, 2, 4, 5):
        lane.confirm(seq)
    assert lane.finishable() == 2
    lane.record({}, 2, 0.0)
    lane.restart()
    assert lane.finishable() == 2


async def test_a_confirmation_finishes_nothing_where_a_consumer_is_named() -> None:
    lane = Lane(CHARGES, head=1, finished=0, acks={"billing": 0})
    await drain(lane, outbox(1))
    lane.confirm(1)
    assert lane.finishable() == 0


async def test_an_ack_of_what_an_earlier_run_sent_counts_once_this_run_has_sent_it() -> None:
    lane = Lane(CHARGES, head=3, finished=0, acks={"billing": 0})
    assert lane.claim("billing", 3)
    assert lane.progress() == {}
    await drain(lane, outbox(3))
    assert lane.progress() == {"billing": 3}


def test_an_ack_above_what_can_have_been_sent_is_refused() -> None:
    lane = Lane(CHARGES, head=3, finished=0, acks={"billing": 0})
    assert not lane.claim("billing", 4)
    assert lane.progress() == {}


async def test_what_is_refused_is_tried_again_later_and_later_before_what_is_new() -> None:
    lane, store = Lane(CHARGES, head=2, finished=0, acks={}), outbox(2)
    await drain(lane, store)
    lane.confirm(2)
    lane.refuse(1, 0.0)
    store.add("charge")
    lane.live.more = True
    lane.tick(0.9)
    assert lane.retry.due == 1.0
    lane.tick(1.0)
    assert await drain(lane, store) == [1, 3]
    lane.refuse(1, 1.0)
    assert lane.retry.due == 3.0
    lane.confirm(1)
    assert lane.retry.due is None


async def test_a_stream_that_the_broker_refuses_as_a_whole_stands_instead_of_filling_the_memory() -> None:
    lane, store = Lane(CHARGES, head=MAX_REFUSED + 50, finished=0, acks={}), outbox(MAX_REFUSED + 50)
    while event := await lane.next(store.events, at_once, 0.0):
        lane.hand_over(event.seq, 0.0)
        lane.refuse(event.seq, 0.0)
    assert len(lane.refused) == MAX_REFUSED
    lane.confirm(1)
    assert await drain(lane, store) == list(range(MAX_REFUSED + 1, MAX_REFUSED + 51))


async def test_a_silent_consumer_costs_a_bounded_repeat_less_and_less_often() -> None:
    count = MAX_AGAIN + 500
    lane, store = Lane(CHARGES, head=count, finished=0, acks={"billing": 0}), outbox(count)
    for half_second in range(6):
        await drain(lane, store, half_second / 2)
    assert lane.sent == count
    assert lane.silence.due == 60
    lane.tick(60.0)
    assert await drain(lane, store, 60.0) == list(range(1, MAX_AGAIN + 1))
    assert lane.silence.due == 180
    assert lane.claim("billing", 10)
    lane.record(lane.progress(), lane.finishable(), 70.0)
    assert lane.silence.due == 130


async def test_it_goes_ahead_of_the_fastest_consumer_only_so_far() -> None:
    lane, store = Lane(CHARGES, head=2000, finished=0, acks={"billing": 0, "away": 0}), outbox(2000)
    assert await drain(lane, store) == list(range(1, AHEAD + 1))
    assert lane.claim("billing", 100)
    assert await drain(lane, store, 0.1) == list(range(AHEAD + 1, AHEAD + 101))
    assert await drain(lane, store, 0.1 + PATIENCE / 2) == []
    assert await drain(lane, store, 0.1 + PATIENCE) == list(range(AHEAD + 101, 2 * AHEAD + 101))


async def test_a_repeat_goes_ahead_of_who_asked_only_so_far() -> None:
    lane, store = Lane(CHARGES, head=2000, finished=0, acks={"billing": 2000, "slow": 700, "away": 0}), outbox(2000)
    lane.ask(701)
    assert await repeats(lane, store) == list(range(701, 701 + AHEAD))
    assert lane.claim("slow", 701)
    assert await repeats(lane, store) == [701 + AHEAD]


async def test_no_silence_is_waited_for_when_everything_is_acknowledged() -> None:
    lane = Lane(CHARGES, head=3, finished=0, acks={"billing": 0})
    await drain(lane, outbox(3))
    assert lane.claim("billing", 3)
    lane.record(lane.progress(), lane.finishable(), 0.0)
    assert lane.silence.due is None


async def test_a_request_within_one_that_is_being_carried_out_begins_nothing_again() -> None:
    lane, store = Lane(CHARGES, head=9, finished=9, acks={}), outbox(10)
    lane.ask(4)
    event = await lane.next_asked(store.events, at_once, 0.0)
    assert event is not None
    assert event.seq == 4
    lane.hand_over(10, 0.0)
    lane.ask(5)
    assert await repeats(lane, store) == [5, 6, 7, 8, 9, 10]
    assert lane.asked is None


async def test_a_request_for_earlier_events_begins_there() -> None:
    lane, store = Lane(CHARGES, head=9, finished=9, acks={}), outbox(9)
    lane.ask(7)
    lane.ask(5)
    lane.ask(10)
    assert await repeats(lane, store) == [5, 6, 7, 8, 9]


async def test_what_may_not_go_yet_keeps_its_place_whether_it_is_new_repeated_or_asked_for() -> None:
    lane, store = Lane(CHARGES, head=3, finished=0, acks={}), outbox(3)
    assert await lane.next(store.events, not_yet, 0.0) is None
    assert await drain(lane, store) == [1, 2, 3]
    lane.refuse(1, 0.0)
    lane.tick(1.0)
    assert await lane.next(store.events, not_yet, 1.0) is None
    assert await drain(lane, store) == [1]
    lane.ask(2)
    assert await lane.next_asked(store.events, not_yet, 1.0) is None
    assert await repeats(lane, store) == [2, 3]


def test_a_throttle_lets_its_rate_through_and_makes_up_for_late_wakes_but_not_for_pauses() -> None:
    throttle = Throttle(100)
    thousandths = [1000.0 + number / 1000 for number in range(2000)]
    assert sum(throttle.lets(now) for now in thousandths) == 200 + 10
    assert throttle.due is not None
    assert sum(throttle.lets(2000.0) for _ in range(50)) == 11


@given(
    st.lists(st.tuples(st.sampled_from(["ack-a", "ack-b", "send", "book", "restart"]), st.integers(0, 30)), max_size=60)
)
async def test_it_never_finishes_what_some_consumer_has_not_acknowledged(steps: list[tuple[str, int]]) -> None:
    lane, store = Lane(CHARGES, head=12, finished=0, acks={"a": 0, "b": 0}), outbox(20)
    said = {"a": 0, "b": 0}
    for step, number in steps:
        match step:
            case "send":
                if event := await lane.next(store.events, at_once, 0.0):
                    lane.hand_over(event.seq, 0.0)
            case "book":
                lane.record(lane.progress(), lane.finishable(), 0.0)
            case "restart":
                lane.restart()
            case _:
                name = step[-1]
                if lane.claim(name, number):
                    said[name] = max(said[name], number)
        assert lane.finished <= lane.finishable() <= min(*said.values(), lane.sent)
