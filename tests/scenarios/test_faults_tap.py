"""kill -9 of the daemon while somebody taps, washes and goes."""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.store import StoreView
from simulators.badges import Reader
from simulators.clock import Clock, ClockError
from simulators.laundry import Wash
from tests.delivery import listening
from tests.ordeal import DAY, HANGS, START, kill, ordeal, unseen

if TYPE_CHECKING:
    from datetime import datetime

    from tests.broker import Broker
    from tests.delivery import Ear
    from tests.ordeal import Ordeal, Progress

WASHES = 6
LONGEST = 10
"""as many things that concern the session happen in a wash, about"""
CHARGES = 2
"""of a wash: its energy and its cycle; no month is closed meanwhile"""
MACHINE = "washer-1"
HALF_AN_HOUR = timedelta(minutes=30)


def wash(number: int) -> Wash:
    start = START + number * DAY + DAY / 2
    return Wash(
        machine=MACHINE,
        register="power-washer-import",
        start=start,
        until=start + HALF_AN_HOUR,
        badge="04A1B2C3D4E5F6",
        who="blumer",
        place="flat-1",
        energy=500 + 10 * number,
    )


@dataclass(slots=True)
class Washing:
    """How far somebody has come with a wash."""

    one: Ordeal
    reader: Reader
    wash: Wash
    reached: datetime = START
    green: bool = False

    async def go_on(self, clock: Clock, ear: Ear, sessions: int) -> None:
        """From wherever it was cut off, up to its charges."""
        await self._pass_to(clock, max(self.wash.start, self.reached))
        washing = self.reached < self.wash.until
        if washing and self.green:
            self.green = await self._has_current()
        while not self.green:
            self.green = await self.reader.tap(self.wash.badge) == "green"
        if washing:
            await self._permitted()
        await self._pass_to(clock, self.wash.until)
        await ear.until(lambda: len({event["id"] for event in ear.events("charges/")}) >= CHARGES * sessions)

    async def _has_current(self) -> bool:
        """Whether the tap of an earlier life was worth it: the gateway may have died before the machine had any."""
        async with StoreView(self.one.url) as view, asyncio.timeout(HANGS):
            while not self.one.meters.relays[MACHINE].on and await view.open_sessions():
                pass
        return self.one.meters.relays[MACHINE].on

    async def _permitted(self) -> None:
        relay = self.one.meters.relays[MACHINE]
        async with asyncio.timeout(HANGS):
            while not relay.on:
                relay.moved.clear()
                await relay.moved.wait()

    async def _pass_to(self, clock: Clock, at: datetime) -> None:
        self.one.meters.show(at)
        self.reached = at
        await clock.step(at)


async def until_done_or_dead(washing: Washing, ear: Ear, sessions: int, doom: str) -> bool:
    """One life of the gateway; whether the wash was charged in it."""
    daemon, clock = await washing.one.born(doom), Clock(washing.one.folder / "clock")
    going = asyncio.create_task(washing.go_on(clock, ear, sessions))
    dying = asyncio.create_task(daemon.wait())
    try:
        await asyncio.wait({going, dying}, return_when=asyncio.FIRST_COMPLETED)
        if going.done():
            with suppress(ClockError):
                await going
                return True
        return False
    finally:
        going.cancel()
        dying.cancel()
        kill(daemon)
        await clock.close()
        _, err = await daemon.communicate()
        assert daemon.returncode == -9, err.decode()
        washing.one.places += [line for line in err.decode().splitlines() if line.startswith("died at ")]


async def killed_during_washes(
    tmp_path: Path, broker: Broker, count: int, seed: int, progress: Progress = unseen
) -> None:
    """Let the gateway die once in each of so many washes (a month has room for 30); assert that each is billed."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as short:  # the path of a terminal's link may be long, that of a socket not
        reader = Reader(Path(short) / "reader")
        reader.plug()
        washes = [wash(number) for number in range(count)]
        async with (
            ordeal(tmp_path, broker, washes=washes, readers={MACHINE: reader}) as one,
            listening(broker.host, broker.port) as ear,
        ):
            settings = tmp_path / "gateway.toml"
            settings.write_text(settings.read_text(encoding="utf-8").replace('"4s"', '"60s"'), encoding="utf-8")
            for number, each in enumerate(washes):
                await one.life(1)
                washing, doom = Washing(one, reader, each), f"kill tap {chance.randint(1, LONGEST)}"
                while not await until_done_or_dead(washing, ear, number + 1, doom):
                    doom = ""
                progress(number + 1, count)
            await one.conclude()
            await one.check_charges()
        reader.unplug()
    assert len(one.places) - count >= count / 2, one.places


async def test_a_daemon_killed_during_taps_bills_each_wash_once_to_who_tapped(broker: Broker, tmp_path: Path) -> None:
    await killed_during_washes(tmp_path, broker, WASHES, seed=12)
