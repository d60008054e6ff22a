"""Which registers are read in which request. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Function = Literal[3, 4]
"""3 reads holding registers, 4 reads input registers"""
MAX_WORDS = 125
"""most words of one request (Modbus Application Protocol V1.1b3, 6.3 and 6.4)"""
ADDRESSES = 0x10000
MAX_HOLE = 8


class PlanError(ValueError):
    """A value that no request of this meter can hold."""


class Span(NamedTuple):
    """The words of one value: never split over two requests. A tuple, as every value of every read is found by it."""

    function: Function
    address: int
    """zero-based, as on the wire"""
    words: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.words


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request to a meter may ask for."""

    max_words: int = MAX_WORDS
    even_counts: bool = False
    max_hole: int = MAX_HOLE
    """unasked words that are read along to save a request; 12-32 words cost as much as one request at 9600 Bd"""
    barriers: frozenset[int] = frozenset()
    """addresses that begin a block: no request reads across one"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One read request and the values that it brings."""

    function: Function
    address: int
    count: int
    spans: tuple[Span, ...]
    """sorted by address, all within the request"""

    def parts(self, words: tuple[int, ...]) -> dict[Span, tuple[int, ...]]:
        """The words of each span, out of the `count` words that the request brought."""
        return {span: words[span.address - self.address : span.end - self.address] for span in self.spans}


def plan(spans: Iterable[Span], limits: Limits) -> tuple[Request, ...]:
    """Requests that bring every span whole and keep the limits, each as long as it may be from the lowest address on.

    PlanError for a span that no request within the limits can bring.
    """
    requests: list[Request] = []
    block: tuple[Span, ...] = ()
    for span in sorted(set(spans)):
        merged = _request((*block, span), limits) if _may_join(block, span, limits) else None
        if merged is None:
            merged = _alone(span, limits)
            requests.append(merged)
        else:
            requests[-1] = merged
        block = merged.spans
    return tuple(requests)


def split(request: Request, limits: Limits) -> tuple[Request, ...]:
    """The spans of a refused request in smaller ones, cut at the largest hole, else in the middle.

    A request of a single span comes back alone: it cannot be split.
    """
    spans = request.spans
    if len(spans) == 1:
        return (request,)
    middle = len(spans) / 2
    cut = max(range(1, len(spans)), key=lambda cut: (_hole(spans[:cut], spans[cut]), -abs(cut - middle)))
    return plan(spans[:cut], limits) + plan(spans[cut:], limits)


def _may_join(block: tuple[Span, ...], span: Span, limits: Limits) -> bool:
    return bool(block) and block[0].function == span.function and _hole(block, span) <= limits.max_hole


def _hole(block: tuple[Span, ...], span: Span) -> int:
    return span.address - max(before.end for before in block)


def _alone(span: Span, limits: Limits) -> Request:
    request = _request((span,), limits)
    if request is None:
        raise PlanError(_why_not(span, limits))
    return request


def _why_not(span: Span, limits: Limits) -> str:
    """Why no request can bring the span, and what to correct."""
    asked = f"{span.words} words at {span.address}"
    if span.end > ADDRESSES:
        return f"{asked} reach behind the last address {ADDRESSES - 1}; correct the address or the type"
    if across := [barrier for barrier in sorted(limits.barriers) if span.address < barrier < span.end]:
        return f"{asked} lie across the barrier {across[0]}; correct one of them"
    even = " and even counts" if limits.even_counts else ""
    return f"{asked} fit no request of at most {limits.max_words} words{even}; correct the limits or the type"


def _request(spans: tuple[Span, ...], limits: Limits) -> Request | None:
    """One request for all the spans, if the limits allow one. An odd count is made even by a word behind or before."""
    start, end = spans[0].address, max(span.end for span in spans)
    odd = limits.even_counts and (end - start) % 2
    for first, behind in [(start, end + 1), (start - 1, end)] if odd else [(start, end)]:
        if _allowed(first, behind, limits):
            return Request(function=spans[0].function, address=first, count=behind - first, spans=spans)
    return None


def _allowed(first: int, behind: int, limits: Limits) -> bool:
    within = first >= 0 and behind <= ADDRESSES and behind - first <= limits.max_words
    return within and not any(first < barrier < behind for barrier in limits.barriers)
