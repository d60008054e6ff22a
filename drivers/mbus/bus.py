"""One M-Bus line with its meters, as the gateway reads it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.mbus.keys import read_key
from drivers.mbus.master import Master, kept, told
from drivers.mbus.model import check_identity, read_registers, stored_values
from drivers.mbus.secondary import FABRICATION
from drivers.mbus.tally import Reads, Tally, wire_s
from gateway.ports.field import Answer, LineDownError, WrongAnswerError
from gateway.ports.health import LineHealth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.mbus.link import Timing
    from drivers.mbus.master import Asked, Taken
    from drivers.mbus.model import MBusModel
    from drivers.network import Connect, Line


_APPLICATION_RESET = 0x50


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """A meter as the settings describe it."""

    asked: Asked
    model: MBusModel
    serial: str | None
    """8 digits; None: whatever meter answers at the address"""
    application_reset: int | None = None
    """subcode that is sent before each read, so that the wanted telegrams come (M-Bus documentation 4.8, 6.4.1)"""
    key: str | None = None
    """file with the key of a meter that encrypts"""
    daylight_saving: bool | None = None
    """whether its clock goes with summer time; None: as the model says"""


class MBusBus:
    """Satisfies `gateway.ports.field.MeterBus`. Connects at the first read, and again once the line was lost."""

    def __init__(self, connect: Connect, timing: Timing, meters: Mapping[str, Wired]) -> None:
        self._connect = connect
        self._timing = timing
        self._meters = meters
        self._one_at_a_time = asyncio.Lock()
        self._tallies: dict[Asked, Tally] = {}
        self._reads = {meter: Reads() for meter in meters}
        self._echo = False
        self._line: Line | None = None
        self._master: Master | None = None

    async def read(self, meter: str) -> Answer:
        """Read one meter; FieldError otherwise."""
        wired = self._meters[meter]
        reads, clock = self._reads[meter], asyncio.get_running_loop().time
        reads.begun += 1
        async with self._one_at_a_time:
            begun = clock()
            taken = await self._taken(wired)
            seconds = clock() - begun
        heard = answer(meter, wired, taken)
        octets = [len(one.octets) for one in taken]
        reads.note(seconds, wire_s(self._timing, octets, selected=not isinstance(wired.asked, int)))
        return heard

    def health(self) -> LineHealth:
        """See `gateway.ports.health.Observed`."""
        meters = tuple(reads.health(meter, self._tally(meter)) for meter, reads in self._reads.items())
        return LineHealth(baud=self._timing.baud, echo=self._has_echo(), meters=meters)

    def repeats(self, meter: str) -> int:
        """See `gateway.ports.health.Observed`."""
        return self._tally(meter).repeats

    def needs_key(self, meter: str) -> bool:
        """See `gateway.ports.field.Rereader`."""
        return self._meters[meter].key is not None

    def reread(self, meter: str, raw: bytes) -> Answer:
        """What an answer that was kept means with the key of today; FieldError otherwise."""
        wired = self._meters[meter]
        return answer(meter, wired, kept(wired.asked, raw, _key(wired)))

    async def close(self) -> None:
        """Let go of the line once the read under way has ended."""
        async with self._one_at_a_time:
            await self._hang_up()

    def _tally(self, meter: str) -> Tally:
        return self._tallies.get(self._meters[meter].asked, Tally())

    def _has_echo(self) -> bool:
        return self._echo or (self._master is not None and self._master.echo)

    async def _taken(self, wired: Wired) -> tuple[Taken, ...]:
        if self._master is not None:
            try:
                return await _read(self._master, wired)
            except LineDownError:  # perhaps long ago: level converters close idle connections
                await self._hang_up()
        return await _read(await self._connected(), wired)

    async def _connected(self) -> Master:
        self._line = await self._connect()
        self._master = Master(self._line, self._timing, self._tallies)
        return self._master

    async def _hang_up(self) -> None:
        self._echo = self._has_echo()
        line, self._line, self._master = self._line, None, None
        if line is not None:
            await line.close()


async def _read(master: Master, wired: Wired) -> tuple[Taken, ...]:
    if wired.application_reset is not None:
        await master.tell(wired.asked, bytes([_APPLICATION_RESET, wired.application_reset]))
    return await master.read(wired.asked, _key(wired))


def _key(wired: Wired) -> bytes | None:
    return None if wired.key is None else read_key(wired.key)


def answer(meter: str, wired: Wired, taken: tuple[Taken, ...]) -> Answer:
    """What the telegrams of one read mean; WrongAnswerError where they are not the wired meter's or lack a register."""
    header = taken[0].telegram.header
    try:
        for one in taken:
            check_identity(wired.model, one.telegram.header, wired.serial or header.id)
        _check_fabrication(wired.asked, taken)
        telegrams = [one.telegram for one in taken]
        values, without = read_registers(wired.model, telegrams)
        stored = stored_values(wired.model, telegrams, daylight_saving=wired.daylight_saving)
    except WrongAnswerError as error:
        message = f"{told(wired.asked)}: {error}"
        raise WrongAnswerError(message) from error
    return Answer(
        meter=meter,
        serial=header.id or "",
        status=header.status or 0,
        values=values,
        raw=b"".join(one.octets for one in taken),
        stored=stored,
        device=_device(taken),
        without=without,
    )


def _device(taken: tuple[Taken, ...]) -> str:
    """Manufacturer, number, version, medium and, where it is carried, fabrication number."""
    header = taken[0].telegram.header
    fabrication = "".join(f", fabrication number {each}" for each in sorted(set(_fabrications(taken))))
    who = f"{header.manufacturer} {header.id}, version {header.version}, medium {header.medium}{fabrication}"
    return "" if header.id is None else who


def _fabrications(taken: tuple[Taken, ...]) -> list[str]:
    records = [record for one in taken for record in one.telegram.records]
    return [each.data[::-1].hex() for each in records if each.meaning.dib_vib == FABRICATION]


def _check_fabrication(asked: Asked, taken: tuple[Taken, ...]) -> None:
    """The header does not carry the fabrication number: a record must."""
    if isinstance(asked, int) or asked.fabrication is None:
        return
    if asked.fabrication not in _fabrications(taken):
        message = f"the answer carries no fabrication number {asked.fabrication}; give another address of this meter"
        raise WrongAnswerError(message)
