"""A building whose gateway ends again and again, while its meters, its broker and its consumer live on.

The building is the Sonnenhof, in UTC and read once a day at midnight: a month is 31 polls, and all that is counted is
known exactly at every change of payer and price.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice, pairwise
from typing import TYPE_CHECKING, Any, Protocol

from gateway.store import StoreView
from simulators import truth, verdict
from simulators.clock import Clock, ClockError
from simulators.field import Field, build, wiring
from tests.broker import ROOT as PROJECT
from tests.delivery import ROOT, listening
from tests.scenarios.plant import BUILDING, begin, patient, submeter
from tests.verifier import verify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from simulators.badges import Reader
    from simulators.laundry import Wash
    from tests.broker import Broker
    from tests.delivery import Ear

START = datetime(2026, 10, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CONSUMER = "demo"
KINDS = ("charges", "sessions", "alarms", "readings")
MORTAL = ("-m", "tests.mortal")
PRICE = 'price = "0.1180"'
OTHER_PRICE = 'price = "0.1190"'
KILLED = -9
LAST = 4
LONGEST = {"poll": 30, "settle": 120, "poll/COMMIT": 9, "deliver": 60}
"""as many things of a kind happen in a life, about"""
HANGS = 120
"""seconds after which something that is waited for does not come"""


class Disk(Protocol):
    """The disk that the store lies on."""

    folder: Path

    def cut(self) -> None:
        """Take its power away, again without effect."""

    def repair(self) -> None:
        """Give it power again."""


class Progress(Protocol):
    """Who is told how far it has come."""

    def __call__(self, done: int, count: int, /) -> None:
        """So many of so many are done."""


def unseen(*_: int) -> None:
    """Nobody watches how far it has come."""


@dataclass(slots=True, kw_only=True)
class Ordeal:
    """What outlives the gateway, and what it has promised."""

    folder: Path
    """settings, building and consumer"""
    store: Path
    """the folder that the store lies in"""
    broker: Broker
    meters: Field
    disk: Disk | None = None
    """what loses its power whenever the gateway is killed"""
    at: datetime = START
    """the next poll"""
    answered: list[datetime] = field(default_factory=list)
    """the polls that the gateway has called done"""
    places: list[str] = field(default_factory=list)
    """where it died"""

    @property
    def config(self) -> str:
        return str(self.folder / "gateway.toml")

    @property
    def url(self) -> str:
        return f"sqlite:///{self.store}/gateway.db"

    async def command(self, *arguments: str) -> str:
        """Run a command that must succeed; what it said."""
        code, out, err = await submeter("--config", self.config, *arguments)
        assert code == 0, err
        return out

    async def tell(self, *, dearer: bool) -> None:
        """Import the property data, with the true price of heating or another one."""
        text = (self.folder / "property.toml").read_text(encoding="utf-8")
        changed = self.folder / "changed.toml"
        changed.write_text(text.replace(PRICE, OTHER_PRICE) if dearer else text, encoding="utf-8")
        await self.command("import", str(changed))

    async def lives(self, count: int, seed: int, how: str = "kill", progress: Progress = unseen) -> None:
        """A month of peace, then so many lives that end in the middle of polling, settling and delivering."""
        chance = random.Random(seed)
        await self.life(34)
        for number, (where, longest) in enumerate(islice(cycle(LONGEST.items()), count - LAST - 1)):
            if where == "settle":
                await self.tell(dearer=number // len(LONGEST) % 2 == 0)
            await self.life(3, f"{how} {where} {chance.randint(1, longest)}")
            progress(number + 2, count)
        await self.tell(dearer=False)
        for number in range(LAST):  # nothing is told any more: what one of them leaves undone is done by the next
            await self.life(1, f"{how} settle {chance.randint(1, LONGEST['settle'] // 2)}")
            progress(count - LAST + number + 1, count)
        died = {place.partition(":")[0] for place in self.places}
        assert died >= {"poll", "settle", "deliver"}, "it died in the middle of each kind of work"

    async def life(self, days: int, doom: str = "", **environment: str) -> None:
        """Let the gateway live for so many polls, or until its doom; then kill it."""
        daemon = await self.born(doom, **environment)
        clock = Clock(self.folder / "clock")
        try:
            for _ in range(days):
                if not await self.step(daemon, clock):
                    break
        finally:
            if self.disk is not None:
                self.disk.cut()
            kill(daemon)
            await clock.close()
            _, err = await daemon.communicate()
            if self.disk is not None:
                self.disk.repair()
        assert daemon.returncode == KILLED, err.decode()
        last = err.decode().splitlines()[-1:]
        self.places += [line.removeprefix("died at ") for line in last if line.startswith("died at ")] or ["rest"]

    async def born(
        self, doom: str = "", program: Sequence[str] = MORTAL, **environment: str
    ) -> asyncio.subprocess.Process:
        variables = {"SUBMETER_CLOCK": str(self.folder / "clock"), "MORTAL_FOLDER": str(self.store), **environment}
        return await begin("--config", self.config, "run", program=program, MORTAL=doom, **variables)

    @asynccontextmanager
    async def living(
        self, program: Sequence[str] = MORTAL, **environment: str
    ) -> AsyncIterator[tuple[asyncio.subprocess.Process, Clock]]:
        """A gateway that is ended in good order."""
        daemon, clock = await self.born(program=program, **environment), Clock(self.folder / "clock")
        try:
            yield daemon, clock
        finally:
            await clock.close()
            kill(daemon, signal.SIGTERM)
            _, err = await daemon.communicate()
        assert daemon.returncode == 0, err.decode()

    async def step(self, daemon: asyncio.subprocess.Process, clock: Clock) -> bool:
        """One poll; whether the gateway has called it done."""
        self.meters.show(self.at)
        stepping = asyncio.create_task(clock.step(self.at))
        dying = asyncio.create_task(daemon.wait())
        try:
            async with asyncio.timeout(HANGS):
                await asyncio.wait({stepping, dying}, return_when=asyncio.FIRST_COMPLETED)
                if not stepping.done():
                    return False
                await stepping
        except ClockError:
            return False
        finally:
            for task in (stepping, dying):
                task.cancel()
        self.answered.append(self.at)
        self.at += DAY
        return True

    async def conclude(self) -> None:
        """A last life, from which the gateway goes in peace: the month is closed, the consumer has everything."""
        async with (
            listening(self.broker.host, self.broker.port, "last-ear") as ear,
            self.living() as (daemon, clock),
        ):
            until = (self.at.replace(day=1) + 32 * DAY).replace(day=4)
            while self.at <= until:
                assert await self.step(daemon, clock)
            await self.taken(ear)

    async def taken(self, ear: Ear) -> None:
        """Return once the consumer has acknowledged all that there is."""
        async with StoreView(self.url) as view:
            heads = {stream.name: stream.head for stream in await view.streams() if f"{stream.kind}s" in KINDS}
            known = {name: seq for (_, name), seq in (await view.acks()).items()}

        def all_of_it() -> bool:
            found = dict(known)
            for message in ear.heard:
                if message.topic == f"{ROOT}/ack/{CONSUMER}":
                    ack = json.loads(message.payload)
                    found[ack["stream"]] = max(int(ack["seq"]), found.get(ack["stream"], 0))
            return all(found.get(name, 0) >= head for name, head in heads.items())

        await ear.until(all_of_it)

    def received(self, kind: str) -> list[dict[str, Any]]:
        """The consumer's events of a kind, in their order."""
        lines = (self.folder / "consumer.jsonl").read_bytes().splitlines()
        return [event for event in map(json.loads, lines) if event["stream"].startswith(f"{kind}-")]

    async def check(self) -> None:
        """Assert that nothing was lost, nothing came twice, no number is missing, and the total is the truth's."""
        readings = self.received("readings")
        names = [device.id for device in self.meters.truth.devices]
        polled = sorted((event["data"]["at"], event["data"]["meter"]) for event in readings)
        wanted = sorted((f"{at:%Y-%m-%dT%H:%M:%SZ}", meter) for at in self.answered for meter in names)
        assert polled == wanted, "each meter at each poll, once"
        for events in (readings, self.received("alarms")):
            assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1)), "no gap"
        await self.check_charges()

    async def check_charges(self) -> None:
        """Assert that the newest stream of charges is whole, that of the store, and adds up to the truth."""
        async with StoreView(self.url) as view:
            name = next(stream.name for stream in await view.streams() if stream.kind == "charge")
            kept = await view.events(name, 0, 1_000_000)
        charges = [event for event in self.received("charges") if event["stream"] == name]
        assert verify(charges) == len({event["data"]["charge_id"] for event in charges}), "no charge twice"
        assert [event.id for event in kept] == [event["id"] for event in charges], "the store has what was delivered"
        self._compare_with_the_truth([event["data"] for event in charges])

    def _compare_with_the_truth(self, charges: list[dict[str, Any]]) -> None:
        firsts = [START]
        while firsts[-1] + 34 * DAY < self.at:
            firsts.append((firsts[-1] + 31 * DAY).replace(day=1))
        for start, until in pairwise(firsts):
            judged = verdict.judge(self.meters.truth, start, until, charges, taps=())
            assert judged.charges, f"{start:%B} was closed"
            assert not judged.differences, judged.differences


def kill(process: asyncio.subprocess.Process, number: signal.Signals = signal.SIGKILL) -> None:
    """Send the signal to a process that may be dying: asyncio's own would reap it behind asyncio's back."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


@asynccontextmanager
async def ordeal(
    folder: Path,
    broker: Broker,
    disk: Disk | None = None,
    home: Path | None = None,
    poll: timedelta = DAY,
    washes: Sequence[Wash] = (),
    readers: Mapping[str, Reader] | None = None,
    *,
    consumed: bool = True,
) -> AsyncIterator[Ordeal]:
    """Everything but the gateway, which has its settings, its store and its property data.

    Its consumer runs all the time, unless the test says itself when it does.
    """
    for name in ("devices.toml", "property.toml"):
        text = (BUILDING / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace('"Europe/Zurich"', '"UTC"'), encoding="utf-8")
    lines = build(replace(truth.load(folder), washes=tuple(washes)))
    address = (broker.host, broker.port)
    settings = patient(wiring(lines.truth, await lines.start(), broker=address, poll=poll, readers=readers))
    home = home or (disk.folder if disk else folder)
    places = {'site = "demo"': 'site = "sonnenhof"', "sqlite:///gateway.db": f"sqlite:///{home}/gateway.db"}
    for old, new in places.items():
        settings = settings.replace(old, new)
    (folder / "gateway.toml").write_text(settings, encoding="utf-8")
    one = Ordeal(folder=folder, store=home, disk=disk, broker=broker, meters=lines)
    await one.command("migrate")
    await one.tell(dearer=False)
    try:
        if consumed:
            async with consuming(one):
                yield one
        else:
            yield one
    finally:
        await lines.close()


@asynccontextmanager
async def consuming(one: Ordeal, **environment: str) -> AsyncIterator[None]:
    """The consumer, from the moment it has subscribed; begun anew it goes on where it was."""
    arguments = (one.broker.host, str(one.broker.port), ROOT, CONSUMER, str(one.folder / "consumer.jsonl"), *KINDS)
    consumer = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROJECT / "tests/consumer.py"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        assert consumer.stdout is not None
        assert await consumer.stdout.readline() == b"subscribed\n"
        yield
    finally:
        consumer.kill()
        await consumer.communicate()
