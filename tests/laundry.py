"""A laundry: a badge reader on a pty, a relay and a meter on a Modbus line, a store, and the access point."""

from __future__ import annotations

import asyncio
import json
import tomllib
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from drivers import badges, modbus
from drivers.modbus import machine
from gateway.clock import SystemClock
from gateway.core.access import digest
from gateway.service.access import AccessPoint
from gateway.service.access_parts import Parts
from gateway.service.access_site import Wiring
from gateway.service.property_schema import TABLES, Badge
from gateway.service.records import PropertyChange
from gateway.store import Store
from gateway.store.migrate import migrate
from simulators import modbus as wire
from simulators.badges import Reader
from simulators.relay import Relay
from tests.outbox import HANGS
from tests.washing import WASHING, badge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.core.event import Kind
    from gateway.core.session import State

PEPPER = b"p" * 32
ANNA, BLOCKED, EXPIRED, CARETAKER = "04A1B2C3D4E5F6", "04000000000001", "04000000000002", "04000000000003"
HOUSE = f"""\
facility = [{{ id = "house", name = "House", time_zone = "Europe/Zurich", currency = "CHF" }}]
building = [{{ id = "a", facility = "house", name = "A" }}]
user = [
  {{ id = "blumer", kind = "natural", first_name = "Anna", last_name = "Blumer", address = "Sonnenweg 1" }},
  {{ id = "rossi", kind = "natural", first_name = "Marco", last_name = "Rossi", address = "Sonnenweg 1" }},
  {{ id = "ag", kind = "legal", company = "AG", registration = "1", address = "Sonnenweg 1" }},
]
owner = [{{ id = "o", user = "ag", facility = "house" }}]
occupancy = [
  {{ id = "rossi", point = "flat-1", user = "rossi", entry = 2020-01-01, exit = 2020-12-31 }},
  {{ id = "blumer", point = "flat-1", user = "blumer", entry = 2021-01-01 }},
]
[[point]]
id = "flat-1"
building = "a"
name = "Flat"
kind = "apartment"
{WASHING}
{badge("b-anna", "blumer", "flat-1", ANNA)}
{badge("b-expired", "rossi", "flat-1", EXPIRED)}
{badge("b-caretaker", "ag", "laundry", CARETAKER)}
{badge("b-blocked", "blumer", "flat-1", BLOCKED)}state = "blocked"
"""
WIRING = Wiring(
    access_point="washer",
    machine="washer-1",
    meter="power",
    register="import",
    place="laundry",
    window=timedelta(seconds=4),
    quiet=timedelta(seconds=0.4),
    least_run=timedelta(seconds=0.4),
)

MOMENT = timedelta(microseconds=1)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[datetime, datetime]] = WeakKeyDictionary()
"""of each loop: what time it was at its beginning, and the last one that was shown; no two are the same"""


class RightClock(SystemClock):
    """The event loop's clock, known to be right: a test machine may not be synchronised.

    Both its times are the loop's, which may stand still while the machine does: a session is placed by the one, and
    lies between readings by the other.
    """

    behind = timedelta(0)
    """what it is wrong by, and known to be"""
    later = timedelta(0)
    """what has passed unseen"""

    def now(self) -> datetime:
        return self._now() + self.later - self.behind

    def _now(self) -> datetime:
        loop = asyncio.get_running_loop()
        began, last = _SHOWN.get(loop) or (super().now() - timedelta(seconds=loop.time()), _NEVER)
        now = max(began + timedelta(seconds=loop.time()), last + MOMENT)
        _SHOWN[loop] = began, now
        return now

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def trusted(self) -> bool:
        return not self.behind

    def boot(self) -> None:
        """As on a box without a battery: it is 1970."""
        self.behind = self._now() - datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(kw_only=True)
class Laundry:
    """All of it. `meter.counts` are hundredths of a kWh."""

    reader: Reader
    relay: Relay
    meter: wire.Unit
    line: wire.Line
    clock: RightClock
    store: Store
    parts: Parts
    point: AccessPoint
    news: asyncio.Event = field(default_factory=asyncio.Event)
    worker: asyncio.Task[None] | None = None

    async def tap(self, badge: str) -> str:
        """Hold a badge to the reader; the lamp."""
        async with asyncio.timeout(HANGS):
            return await self.reader.tap(badge)

    async def switched(self, *, on: bool) -> None:
        """Wait until the relay is there and the gateway has seen it: before that it may switch it again."""
        async with asyncio.timeout(HANGS):
            while self.relay.on != on:
                self.relay.moved.clear()
                await self.relay.moved.wait()
            await self.relay.looked_at.wait()

    async def ended(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many session events; the payloads."""
        async with asyncio.timeout(HANGS):
            while True:
                self.news.clear()  # first: what comes while the store is asked is not missed
                found = await self.events("session")
                if len(found) >= count:
                    return found
                await self.news.wait()

    async def is_in(self, state: State) -> None:
        """Wait until the session is durable in this state."""
        async with asyncio.timeout(HANGS):
            while state.value not in [json.loads(one.data)["state"] for one in await self.store.open_sessions()]:
                pass

    async def alarmed(self, code: str, *, over: bool = False) -> None:
        """Wait until the alarm is open, or over."""
        async with asyncio.timeout(HANGS):
            while True:
                self.news.clear()
                told = [one["ended"] is not None for one in await self.events("alarm") if one["code"] == code]
                if told and told[-1] == over:
                    return
                await self.news.wait()

    async def events(self, kind: Kind) -> list[dict[str, Any]]:
        name = next(stream.name for stream in await self.store.streams() if stream.kind == kind)
        return [json.loads(event.data) for event in await self.store.events(name, 0, 1000)]

    def start(self) -> None:
        self.worker = asyncio.create_task(self.point.run())

    async def stop(self) -> None:
        """As SIGTERM does."""
        if self.worker is not None:
            self.worker.cancel()
            await asyncio.wait({self.worker}, timeout=HANGS)
            assert self.worker.cancelled(), self.worker.exception()

    async def restart(self, wiring: Wiring = WIRING) -> None:
        """The gateway begins again, with nothing but its store."""
        await self.stop()
        self.parts.busy.clear()
        self.point = AccessPoint(wiring, self.parts)
        self.start()

    async def reboot(self, wiring: Wiring = WIRING) -> None:
        """The box begins again; its clock is right by then."""
        self.clock.behind = timedelta(0)
        self.parts = replace(self.parts, boot="boot-2")
        await self.restart(wiring)

    async def wash(self, badge: str, hundredths: int) -> None:
        """A tap, a permit, a cycle; returns once the permit is withdrawn."""
        assert await self.tap(badge) == "green"
        await self.switched(on=True)
        self.meter.counts["import"] += hundredths
        await self.switched(on=False)


async def tell(store: Store, text: str) -> None:
    """Keep property data as an import would."""
    changes = []
    for table, entries in tomllib.loads(text).items():
        for entry in entries:
            entity = TABLES[table].model_validate(entry)
            if isinstance(entity, Badge):
                entity = entity.sealed(digest(entity.identifier or "", PEPPER))
            changes.append(PropertyChange(kind=table, id=entity.id, value=entity.printed()))
    await store.record_property(changes, "test", SystemClock().now())


@asynccontextmanager
async def laundry(
    folder: Path, *, house: str = HOUSE, wiring: Wiring = WIRING, model: str = "eastron-sdm630"
) -> AsyncIterator[Laundry]:
    """The laundry, its worker running."""
    url = f"sqlite:///{folder}/gateway.db"
    migrate(url)
    meter = wire.Unit(address=1, layout=(wire.layouts() | wire.layouts_of_models())[model], counts={"import": 81240})
    relay = Relay(address=9)
    clock = RightClock()
    line = wire.Line([meter, relay])
    async with AsyncExitStack() as opened:
        reader = await opened.enter_async_context(Reader(folder / "ttyUSB0"))
        port = await line.start()
        opened.push_async_callback(line.close)
        store = Store(url, boot="boot-1")
        opened.push_async_callback(store.close)
        await tell(store, house)
        settings = modbus.driver.bus_schema.model_validate({"host": "127.0.0.1", "port": port, "timeout": 0.3})
        wired = modbus.driver.meter_schema.model_validate({"model": model, "address": 1})
        bus = modbus.driver.open(settings, {"power": wired}, clock)
        opened.push_async_callback(bus.close)
        badge_reader = badges.driver.open(badges.driver.schema.model_validate({"device": str(reader.link)}))
        opened.push_async_callback(badge_reader.close)
        parts = Parts(
            reader=badge_reader,
            permit=machine.driver.open(machine.driver.schema.model_validate({"address": 9, "coil": 0}), bus),
            bus=bus,
            store=store,
            readings=store,
            alarms=store,
            clock=clock,
            seal=lambda identifier: digest(identifier, PEPPER),
            busy={},
            gateway="gw-01",
            boot="boot-1",
            beat=lambda: None,
        )
        one = Laundry(
            reader=reader,
            relay=relay,
            meter=meter,
            line=line,
            clock=clock,
            store=store,
            parts=parts,
            point=AccessPoint(wiring, parts),
        )
        store.listen(one.news.set)
        one.start()
        try:
            yield one
        finally:
            await one.stop()
