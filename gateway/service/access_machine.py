"""The machine behind a reader: its relay and its meter."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.core.session import Count, Sampled
from gateway.core.units import UnitError, convert
from gateway.ports.field import FieldError
from gateway.service.polled import Poll, polled
from gateway.service.sessions import Identity

if TYPE_CHECKING:
    from gateway.ports.field import Answer
    from gateway.service.access_parts import Parts
    from gateway.service.access_site import Site, Wiring

TRIES = 3
PAUSE_S = 0.5
"""between tries of the relay: three in two seconds"""

_log = logging.getLogger(__name__)


class MeteredMachine:
    """A permit and what is used with it."""

    def __init__(self, wiring: Wiring, parts: Parts) -> None:
        self.identity = Identity()
        """what the meter called itself last"""
        self._wiring = wiring
        self._parts = parts
        self._poll: Poll | None = None

    async def switched(self, *, on: bool) -> bool:
        """Whether the relay is where it was told to be: up to three tries."""
        for number in range(TRIES):
            if number:
                await asyncio.sleep(PAUSE_S)
            try:
                await self._parts.permit.switch(on=on)
                if await self._parts.permit.is_on() == on:
                    return True
            except FieldError as error:
                _log.warning("%s: %s", self._wiring.machine, error)
        return False

    async def sample(self, site: Site | None) -> Sampled:
        """What meter and relay show."""
        index: Count | None = None
        on: bool | None = None
        try:
            index = self._read(await self._parts.bus.read(self._wiring.meter), site)
        except (FieldError, UnitError) as error:
            _log.debug("%s: %s", self._wiring.machine, error)
        try:
            on = await self._parts.permit.is_on()
        except FieldError as error:
            _log.debug("%s: %s", self._wiring.machine, error)
        return Sampled(index=index, on=on)

    def _read(self, answer: Answer, site: Site | None) -> Count | None:
        """The index of the machine's register; the whole answer is remembered, it may be kept."""
        seen = self._parts.moment()
        self._poll = polled(answer, seen.at, self._parts.boot, trusted=seen.trusted)
        value = next((one for one in answer.values if one.register == self._wiring.register), None)
        if value is None or site is None:
            return None
        self.identity = Identity(serial=answer.serial, obis=value.obis)
        modulus = None if value.modulus is None else convert(value.modulus, value.unit, site.register.unit)
        return Count(
            value=convert(value.index, value.unit, site.register.unit), seen=seen, modulus=modulus, serial=answer.serial
        )

    async def keep_reading(self, index: Count | None) -> None:
        """Keep the answer that a session begins or ends with, so that the register's course passes through it."""
        if index is not None and self._poll is not None and self._poll.at == index.seen.at:
            await self._parts.readings.keep([self._poll])
