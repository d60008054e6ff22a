"""What answers at one address of a Modbus line, and the devices of a line together. Pure: they are told the time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulators.modbus.faults import lied_address, lied_pdu, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulators.chance import Chance
    from simulators.modbus.faults import Fault

DEVICE_FAILURE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a device says to a request, before it is framed."""

    address: int
    pdu: bytes
    fault: Fault | None = None
    delay: float = 0.0
    """seconds that it comes later than the line's turnaround"""


@dataclass(slots=True, kw_only=True)
class Device(ABC):
    """A meter or a relay."""

    address: int
    fault: Fault | None = None
    chance: Chance[Fault] | None = None
    """draws a fault for each answer while `fault` is None"""
    code: int = DEVICE_FAILURE
    """of the fault `exception`"""
    late: float = 1.5
    """seconds more of an answer with the fault `late`"""
    boot: float = 2.0
    """seconds that a reboot takes"""
    baud: int | None = None
    """the only speed at which it hears and answers on a serial line; None: at any"""
    asked: int = 0
    """requests that were meant for it"""
    _drawn: Fault | None = None
    _right: bytes = b""
    """what the request before was to be answered with"""
    _back: float = 0.0

    @abstractmethod
    def answer(self, request: bytes) -> bytes:
        """The right answer PDU to a request PDU."""

    def hear(self, request: bytes, now: float) -> Reply | None:
        """What it says to a request PDU, None for nothing."""
        self.asked += 1
        self._drawn = self.fault or (self.chance() if self.chance is not None else None)
        if self._drawn == "silence" or now < self._back:
            return None
        if self._drawn == "reboot":
            self._back = now + self.boot
        pdu = self._pdu(request)
        if not pdu:
            return None
        delay = self.late if self._drawn == "late" else 0.0
        shown = lied_address(self.address, self._drawn)
        return Reply(address=shown, pdu=lied_pdu(pdu, self._drawn), fault=self._drawn, delay=delay)

    def _pdu(self, request: bytes) -> bytes:
        if self._drawn == "exception":
            return refusal(request[0], self.code)
        before, self._right = self._right, self.answer(request)
        return before if self._drawn == "other_request" else self._right


class Devices:
    """All devices behind one wire or port."""

    def __init__(self, units: Iterable[Device]) -> None:
        self.units: dict[int, Device] = {unit.address: unit for unit in units}
        """by address; may change at any time"""
        self.mute = False
        """it takes requests and says nothing"""
        self.requests = 0
        """that were well-formed, for whatever address"""

    def reply(self, address: int, request: bytes, now: float) -> Reply | None:
        """What the device of that address says to a request PDU."""
        self.requests += 1
        device = self.units.get(address)
        return None if device is None or self.mute else device.hear(request, now)
