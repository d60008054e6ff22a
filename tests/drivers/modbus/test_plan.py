from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.modbus.plan import Limits, PlanError, Request, Span, plan, split

SPANS = st.lists(
    st.builds(
        Span,
        function=st.sampled_from((3, 4)),
        address=st.one_of(st.integers(0, 300), st.integers(0xFFFF - 40, 0xFFFF - 3)),
        words=st.sampled_from((1, 2, 4)),
    ),
    min_size=1,
    max_size=40,
)
LIMITS = st.builds(
    Limits,
    max_words=st.integers(6, 125),
    even_counts=st.booleans(),
    max_hole=st.integers(0, 12),
)


def keeps_limits(request: Request, limits: Limits) -> bool:
    return (
        1 <= request.count <= limits.max_words
        and request.address >= 0
        and request.address + request.count <= 65536
        and not (limits.even_counts and request.count % 2)
        and not any(request.address < barrier < request.address + request.count for barrier in limits.barriers)
    )


def brings(request: Request, span: Span) -> bool:
    return (
        request.function == span.function
        and request.address <= span.address
        and span.end <= request.address + request.count
    )


def holes(request: Request) -> list[int]:
    found, end = [], request.spans[0].address
    for span in request.spans:
        found.append(span.address - end)
        end = max(end, span.end)
    return found


@given(SPANS, LIMITS)
def test_each_value_is_brought_whole_by_exactly_one_request_within_the_limits(
    spans: list[Span], limits: Limits
) -> None:
    requests = plan(spans, limits)
    assert sorted(span for request in requests for span in request.spans) == sorted(set(spans))
    for request in requests:
        assert keeps_limits(request, limits)
        assert all(brings(request, span) for span in request.spans)
        assert max(holes(request)) <= limits.max_hole


@given(SPANS, LIMITS)
def test_a_refused_request_falls_apart_into_single_values_within_the_limits(spans: list[Span], limits: Limits) -> None:
    open_ = list(plan(spans, limits))
    single: list[Request] = []
    while open_:
        request = open_.pop()
        parts = split(request, limits)
        assert all(keeps_limits(part, limits) for part in parts)
        assert sorted(span for part in parts for span in part.spans) == list(request.spans)
        if len(request.spans) == 1:
            single += parts
        else:
            assert len(parts) > 1
            open_ += parts
    assert sorted(span for request in single for span in request.spans) == sorted(set(spans))


@given(st.lists(st.integers(0, 124), min_size=1, max_size=40, unique=True), st.sets(st.integers(1, 124), max_size=4))
def test_no_request_reads_across_a_barrier(addresses: list[int], barriers: set[int]) -> None:
    limits = Limits(max_hole=125, barriers=frozenset(barriers))
    requests = plan([Span(function=3, address=address, words=1) for address in addresses], limits)
    assert all(keeps_limits(request, limits) for request in requests)
    blocks = {sum(barrier <= address for barrier in barriers) for address in addresses}
    assert len(requests) == len(blocks)


@st.composite
def apart(draw: st.DrawFn) -> list[Span]:
    """Up to 7 values that do not overlap."""
    spans, address = [], 0
    for _ in range(draw(st.integers(1, 7))):
        address += draw(st.integers(0, 6))
        words = draw(st.sampled_from((1, 2, 4)))
        spans.append(Span(function=3, address=address, words=words))
        address += words
    return spans


def can_be_asked(spans: list[Span], limits: Limits) -> bool:
    """Whether one request may bring these neighbours: every start and count is tried."""
    first, end = spans[0].address, spans[-1].end
    if any(behind.address - before.end > limits.max_hole for before, behind in pairwise(spans)):
        return False
    requests = (
        Request(function=3, address=address, count=count, spans=tuple(spans))
        for address in (first - 1, first)
        for count in (end - address, end + 1 - address)
    )
    return any(keeps_limits(request, limits) and all(brings(request, span) for span in spans) for request in requests)


def fewest(spans: list[Span], limits: Limits) -> int:
    """The fewest requests there can be, by trying every way to cut the row of values."""
    best = len(spans)
    for cuts in range(2 ** (len(spans) - 1)):
        edges = [0, *(at + 1 for at in range(len(spans) - 1) if cuts >> at & 1), len(spans)]
        blocks = [spans[start:end] for start, end in pairwise(edges)]
        if len(blocks) < best and all(can_be_asked(block, limits) for block in blocks):
            best = len(blocks)
    return best


@given(
    apart(),
    st.builds(
        Limits,
        max_words=st.integers(5, 20),
        even_counts=st.booleans(),
        max_hole=st.integers(0, 6),
        barriers=st.frozensets(st.integers(1, 50), max_size=3),
    ),
)
def test_there_are_no_fewer_requests_than_by_trying_every_way(spans: list[Span], limits: Limits) -> None:
    assume(all(can_be_asked([span], limits) for span in spans))
    assert len(plan(spans, limits)) == fewest(spans, limits)


def span(address: int, words: int = 2, function: int = 3) -> Span:
    return Span(function=4 if function == 4 else 3, address=address, words=words)


def test_a_hole_of_eight_is_read_along_and_one_of_nine_is_not() -> None:
    assert [(r.address, r.count) for r in plan([span(0), span(10)], Limits())] == [(0, 12)]
    assert [(r.address, r.count) for r in plan([span(0), span(11)], Limits())] == [(0, 2), (11, 2)]


def test_holding_and_input_registers_are_asked_apart() -> None:
    asked = [(r.function, r.address, r.count) for r in plan([span(0), span(2, function=4)], Limits())]
    assert asked == [(3, 0, 2), (4, 2, 2)]


def test_an_odd_count_is_made_even_by_the_word_behind_or_before() -> None:
    even = Limits(even_counts=True)
    assert [(r.address, r.count) for r in plan([span(7, 1)], even)] == [(7, 2)]
    assert [(r.address, r.count) for r in plan([span(0xFFFF, 1)], even)] == [(0xFFFE, 2)]
    assert [(r.address, r.count) for r in plan([span(7, 1)], Limits(even_counts=True, barriers=frozenset({8})))] == [
        (6, 2)
    ]


def test_a_refused_block_is_cut_at_its_largest_hole_first() -> None:
    (block,) = plan([span(0), span(2), span(10), span(12), span(14)], Limits())
    assert [(r.address, r.count) for r in split(block, Limits())] == [(0, 4), (10, 6)]


@pytest.mark.parametrize(
    ("value", "limits", "why"),
    [
        (span(100, 4), Limits(max_words=3), "4 words at 100 fit no request of at most 3 words; correct the limits or"),
        (span(100, 3), Limits(max_words=3, even_counts=True), "of at most 3 words and even counts; correct the limits"),
        (
            span(100, 4),
            Limits(barriers=frozenset({90, 103, 102})),
            "4 words at 100 lie across the barrier 102; correct",
        ),
        (span(0xFFFF), Limits(), "2 words at 65535 reach behind the last address 65535; correct the address or the"),
    ],
)
def test_a_value_that_fits_no_request_is_refused_at_once_and_says_why(value: Span, limits: Limits, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        plan([value], limits)
