"""Baud rates and parities of a serial line, and the order in which a search tries them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.serial import Parity
    from gateway.ports.field import ScanOrder

_USUAL = (9600, 19200, 38400, 115200, 4800, 2400)
_STANDARD = 19200
"""where parity is even unless it was changed (Modbus over Serial Line V1.02, 2.5.1); elsewhere none is more usual"""
_RARE = "odd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How octets travel on a serial line; None where a socket decides."""

    baud: int | None = None
    parity: Parity | None = None
    stopbits: int | None = None

    @property
    def told(self) -> str:
        """For the installer."""
        if self.baud is None:
            return ""
        return f" at {self.baud} baud" + ("" if self.parity is None else f", parity {self.parity}")

    @property
    def settings(self) -> dict[str, str | int]:
        """The keys of the line's settings that say so."""
        keys = {"baud": self.baud, "parity": self.parity, "stopbits": self.stopbits}
        return {key: value for key, value in keys.items() if value is not None}


def tried(own: tuple[int, str], order: ScanOrder, *, every: bool) -> list[tuple[int, str]]:
    """Baud rates and parities, those first at which most meters are found: the line's own, odd parity last.

    What the order names is tried as it stands there. `every`: all usual ones, where it names none.
    """
    named = bool(order.speeds or order.parities)
    bauds = order.speeds or ((*_USUAL, own[0]) if every else (own[0],))
    wanted = [(baud, parity) for baud in bauds for parity in order.parities or _parities(baud, own[1], every=every)]
    rare = [] if order.parities else [each for each in wanted if each[1] == _RARE != own[1]]
    usual = [each for each in wanted if each not in rare]
    return list(dict.fromkeys([*([] if named else [own]), *usual, *rare]))


def _parities(baud: int, own: str, *, every: bool) -> tuple[str, ...]:
    if not every:
        return (own,)
    return ("even", "none", _RARE) if baud == _STANDARD else ("none", "even", _RARE)
