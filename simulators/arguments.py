"""Values on the command lines of simulators that a person starts; what cannot be is one sentence."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

FaultName = TypeVar("FaultName", bound=str)


def part(text: str) -> float:
    """A number between 0 and 1."""
    return _within(text, float, 1)


def seconds(text: str) -> float:
    """Up to an hour."""
    return _within(text, float, 3600)


def port(text: str) -> int:
    """A TCP port; 0 for a free one."""
    return int(_within(text, int, 65535))


def at_most(most: int) -> Callable[[str], int]:
    """A whole number between 0 and `most`."""
    return lambda text: int(_within(text, int, most))


def share(faults: tuple[FaultName, ...]) -> Callable[[str], tuple[FaultName, float]]:
    """NAME=SHARE: one of the faults, and the part of the answers that has it."""

    def read(text: str) -> tuple[FaultName, float]:
        name, _, chance = text.partition("=")
        for fault in faults:
            if fault == name:
                return fault, part(chance or "1")
        message = f"{name!r} is no fault; choose one of {', '.join(faults)}"
        raise argparse.ArgumentTypeError(message)

    return read


def _within(text: str, kind: type[float], most: int) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        message = f"{text!r} is no number between 0 and {most}"
        raise argparse.ArgumentTypeError(message)
    return number
