"""What the wire itself costs on an M-Bus line: the least that any master needs.

One octet is 11 bits. Who answers waits at least 11 bit times; that nobody answers is known after 330 bit times and
50 ms (M-Bus documentation 4.8, 5.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KINDS = (
    "itron-bm-plus-m",
    "itron-cf-55",
    "itron-cyble-cold-water",
    "itron-cf-51",
    "elster-f96-plus",
    "gmc-emmod206",
)
"""by turns, their answers have 101 octets on average, as the captured ones have"""
METERS = 60
_BITS = 11
_REQUEST, _SELECTION = 5, 17
"""octets"""


def octets(count: int, baud: int) -> float:
    """Seconds that they are under way."""
    return count * _BITS / baud


def silence(baud: int) -> float:
    """Seconds after which nobody answers any more."""
    return 330 / baud + 0.05


def read(answer: int, baud: int) -> float:
    """Seconds of one read of an answer with so many octets."""
    return octets(_REQUEST + answer, baud) + _BITS / baud


def search(answers: Mapping[str, int], baud: int) -> float:
    """Seconds of a search by digits for meters of which it is known beforehand how many fit a selection.

    `answers`: number of 8 digits -> octets of its answer.
    """
    return sum(_within(digit, answers, baud) for digit in "0123456789")


def _within(digits: str, answers: Mapping[str, int], baud: int) -> float:
    fitting = [answer for number, answer in answers.items() if number.startswith(digits)]
    selection = octets(_SELECTION, baud)
    if len(fitting) == 1:
        return selection + _BITS / baud + octets(1, baud) + read(fitting[0], baud)
    deeper: Iterable[float] = (_within(digits + digit, answers, baud) for digit in "0123456789") if fitting else ()
    return selection + silence(baud) + sum(deeper)
