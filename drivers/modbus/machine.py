"""A coil of a Modbus relay board as the permit of a machine (Modbus Application Protocol V1.1b3, 6.1 and 6.5).

It stands here and not in a driver of its own because on a serial line there is one master: meters and relays of a
line share its turns, its silences and its connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from pydantic import Field

from drivers.model import Strict
from gateway.ports.field import FieldError, LineDownError, WrongAnswerError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from drivers.modbus.bus import ModbusBus
    from gateway.ports.field import Machine, MeterBus

_READ, _WRITE = 1, 5
_ON, _OFF = b"\xff\x00", b"\x00\x00"


class CoilSettings(Strict):
    """Settings of a relay on a Modbus line. Its own position after a power cut must be off."""

    address: Annotated[int, Field(ge=0, le=255, examples=[9])]
    """unit id of the relay board"""
    coil: Annotated[int, Field(ge=0, le=0xFFFF, examples=[0])]
    """counted from 0"""


class Coil:
    """See `gateway.ports.field.Machine`."""

    def __init__(self, bus: ModbusBus, unit: int, coil: int) -> None:
        self._bus = bus
        self._unit = unit
        self._place = coil.to_bytes(2, "big")

    async def switch(self, *, on: bool) -> None:
        """Write the coil; the answer must repeat the request."""
        request = bytes([_WRITE]) + self._place + (_ON if on else _OFF)
        if await self._ask(request) != request:
            raise WrongAnswerError(self._told("does not repeat what was written to its coil"))

    async def is_on(self) -> bool:
        """Read the coil back."""
        answer = await self._ask(bytes([_READ]) + self._place + b"\x00\x01")
        if answer[:2] != bytes([_READ, 1]) or len(answer) != 3 or answer[2] > 1:
            raise WrongAnswerError(self._told(f"answers {answer.hex()} to a read of its coil"))
        return answer[2] == 1

    async def _ask(self, request: bytes) -> bytes:
        try:
            answer = await self._bus.ask(self._unit, request)
        except LineDownError:
            raise
        except FieldError as error:
            raise type(error)(self._told(str(error))) from error
        if answer[:1] == bytes([request[0] | 0x80]):
            raise WrongAnswerError(self._told(f"refuses its coil: exception {answer[1:].hex()}"))
        return answer

    def _told(self, text: str) -> str:
        return f"relay unit {self._unit} {text}"


class CoilDriver:
    """See `gateway.ports.field.MachineDriver`."""

    name = "modbus-coil"
    bus = "modbus"
    schema: type[BaseModel] = CoilSettings

    def open(self, settings: BaseModel, bus: MeterBus) -> Machine:
        """The coil on a Modbus line."""
        wiring = cast("CoilSettings", settings)
        return Coil(cast("ModbusBus", bus), wiring.address, wiring.coil)


driver = CoilDriver()
