"""A meter on a Modbus line."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulators.modbus.device import Device
from simulators.modbus.faults import refusal

if TYPE_CHECKING:
    from simulators.modbus.layouts import Layout, Limits, Place

_QUESTION = struct.Struct(">BHH")
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3


@dataclass(slots=True, kw_only=True)
class Unit(Device):
    """One meter. `counts` are whole steps per register; a register without counts shows 0."""

    layout: Layout
    counts: dict[str, int] = field(default_factory=dict)
    serial: str | None = None
    """where the layout has a place for it; None: whatever stands there"""
    missing: set[str] = field(default_factory=set)
    """registers that show their pattern for "no value" """

    def answer(self, request: bytes) -> bytes:
        """See `Device.answer`; an exception PDU for what this meter does not offer."""
        if self._drawn == "reset":
            self.reset()
        function = request[0]
        if function not in self.layout.functions or len(request) != _QUESTION.size:
            return refusal(function, _ILLEGAL_FUNCTION)
        _, first, count = _QUESTION.unpack(request)
        limits = self.layout.limits
        if not 1 <= count <= limits.max_words or (limits.even_counts and count % 2):
            return refusal(function, _ILLEGAL_VALUE)
        words, places = self.words(), [(function, first + n) for n in range(count)]
        if not all(place in words for place in places) or self._cuts(function, first, count, limits):
            return refusal(function, _ILLEGAL_ADDRESS)
        return struct.pack(f">BB{count}H", function, 2 * count, *(words[place] for place in places))

    def words(self) -> dict[Place, int]:
        """All that can be read now."""
        words = dict(self.layout.image)
        if self.serial is not None and self.layout.serial is not None:
            words |= self.layout.serial.encode(self.serial)
        for name, counter in self.layout.counters.items():
            gone = name in self.missing or self._drawn == "not_available"
            shown = counter.nothing() if gone else counter.encode(self.counts.get(name, 0))
            words |= {(counter.function, counter.address + n): word for n, word in enumerate(shown)}
        return words

    def advance(self, steps: int) -> None:
        """All counters go on."""
        for name in self.layout.counters:
            self.counts[name] = self.counts.get(name, 0) + steps

    def reset(self) -> None:
        """All counters begin anew, as in a meter that was exchanged or has lost its memory."""
        self.counts.clear()

    def wind(self, steps: int) -> None:
        """All counters that have an end stand so many steps before it: they begin again at 0 there."""
        for name, counter in self.layout.counters.items():
            if counter.end is not None:
                self.counts[name] = counter.end - steps

    def _cuts(self, function: int, first: int, count: int, limits: Limits) -> bool:
        """Whether the request crosses a barrier, or begins or ends within a counter of a meter that has barriers."""
        if any(first < barrier < first + count for barrier in limits.barriers):
            return True
        inside = {
            counter.address + n
            for counter in self.layout.counters.values()
            for n in range(1, counter.size)
            if counter.function == function
        }
        return bool(limits.barriers) and not inside.isdisjoint({first, first + count})
