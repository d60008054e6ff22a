"""One M-Bus line with its meters, as the gateway reads it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.mbus.master import Master
from drivers.mbus.model import check_identity, read_registers
from gateway.ports.field import Answer, LineDownError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.mbus.link import Timing
    from drivers.mbus.master import Taken
    from drivers.mbus.model import MBusModel
    from drivers.mbus.transport import Connect, Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """A meter as the settings describe it."""

    address: int
    model: MBusModel
    serial: str | None
    """8 digits; None: whatever meter answers at the address"""


class MBusBus:
    """Satisfies `gateway.ports.field.MeterBus`. Connects at the first read, and again once the line was lost."""

    def __init__(self, connect: Connect, timing: Timing, meters: Mapping[str, Wired]) -> None:
        self._connect = connect
        self._timing = timing
        self._meters = meters
        self._one_at_a_time = asyncio.Lock()
        self._line: Line | None = None
        self._master: Master | None = None

    async def read(self, meter: str) -> Answer:
        """Read one meter; FieldError otherwise."""
        wired = self._meters[meter]
        async with self._one_at_a_time:
            taken = await self._taken(wired.address)
        return answer(meter, wired, taken)

    async def close(self) -> None:
        """Let go of the line once the read under way has ended."""
        async with self._one_at_a_time:
            await self._hang_up()

    async def _taken(self, address: int) -> tuple[Taken, ...]:
        if self._master is not None:
            try:
                return await self._master.read(address)
            except LineDownError:  # perhaps long ago: level converters close idle connections
                await self._hang_up()
        master = await self._connected()
        return await master.read(address)

    async def _connected(self) -> Master:
        self._line = await self._connect()
        self._master = Master(self._line, self._timing)
        return self._master

    async def _hang_up(self) -> None:
        line, self._line, self._master = self._line, None, None
        if line is not None:
            await line.close()


def answer(meter: str, wired: Wired, taken: tuple[Taken, ...]) -> Answer:
    """What the telegrams of one read mean; WrongAnswerError where they are not the wired meter's or lack a register."""
    header = taken[0].telegram.header
    try:
        for one in taken:
            check_identity(wired.model, one.telegram.header, wired.serial or header.id)
        values = read_registers(wired.model, [one.telegram for one in taken])
    except WrongAnswerError as error:
        message = f"address {wired.address}: {error}"
        raise WrongAnswerError(message) from error
    return Answer(
        meter=meter,
        serial=header.id or "",
        status=header.status or 0,
        values=values,
        raw=b"".join(one.octets for one in taken),
    )
