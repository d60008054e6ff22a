"""What the gateway asks of the field: meters on a bus, found through drivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from gateway.core.units import Scaled
    from gateway.ports.clock import Clock


class FieldError(Exception):
    """A device did not deliver. The text is one sentence for the installer."""


class NoAnswerError(FieldError):
    """The device stayed silent through all repeats."""


class WrongAnswerError(FieldError):
    """Something answered, but it cannot be believed: checksum, address, length, register, identity."""


class LineDownError(FieldError):
    """The line itself is not there: connection refused or lost, device file missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterValue:
    """One register of one answer, as the meter's model reads it."""

    register: str
    """key of the register in the meter's model, such as "import" or "volume" """
    index: Scaled
    unit: str
    obis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one read of one meter gave. All values are of the same instant."""

    meter: str
    serial: str
    """the identity that the answer itself carries; "" where the protocol has none"""
    status: int
    """the device's own status byte, 0 = good (M-Bus header status; 0 for Modbus)"""
    values: tuple[RegisterValue, ...]
    raw: bytes
    """the checked telegrams as they came, one after the other"""


class MeterBus(Protocol):
    """One line with its meters: one conversation at a time."""

    async def read(self, meter: str) -> Answer:
        """Read the meter with this id (of the wiring given to `Driver.open`); FieldError otherwise."""

    async def close(self) -> None:
        """Let go of the line."""


class Driver(Protocol):
    """A protocol, found by the entry points `submeter.drivers`."""

    name: str
    bus_schema: type[BaseModel]
    """settings of one bus, without id, driver, poll and meter"""
    meter_schema: type[BaseModel]
    """settings of one meter on such a bus, without id: model, address, serial"""

    def open(self, bus: BaseModel, meters: Mapping[str, BaseModel], clock: Clock) -> MeterBus:
        """Make the bus; no connection yet: a line that is down shows at the first read."""

    def models(self) -> Mapping[str, tuple[str, ...]]:
        """Model name -> the register keys that it delivers."""

    def decode(self, frame: bytes) -> dict[str, Any]:
        """One frame as a JSON-ready object for `submeter decode`; {"ok": False, "error": ...} for bad bytes."""
