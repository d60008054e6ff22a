"""One run of the demo: what is started, how the clock is stepped, and when the charges are judged."""

from __future__ import annotations

import asyncio
import calendar
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from simulators import broker, field, verdict
from simulators.badges import Reader
from simulators.clock import Clock, ClockError
from simulators.processes import python

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from datetime import date, datetime
    from pathlib import Path

    from simulators.laundry import Wash
    from simulators.processes import Children
    from simulators.relay import Relay
    from simulators.truth import Truth
    from simulators.verdict import Verdict

POLL = timedelta(hours=1)
"""so that each local midnight, a whole hour, has readings of its own"""
GRACE = timedelta(hours=48)
"""how long the gateway waits for late readings before it closes a month"""
ROOT = "submeter/v0/demo/gw-01"
_QUIET = 10.0
"""seconds without a further charge, after which none is waited for"""
_LEISURE = 0.25
"""seconds that an hour takes once the first month is shown"""

_LAST_WORDS = 5.0
"""seconds in which a child that has hung up ends"""
Result = TypeVar("Result")


class Run:
    """The building, the broker, the gateway and the receiver, from the first poll on."""

    def __init__(self, truth: Truth, folder: Path, socket: Path, children: Children) -> None:
        """`folder`, an absolute path, keeps everything; the clock is stepped at `socket`."""
        self._truth = truth
        self._folder = folder
        self._socket = socket
        self._children = children
        self._field = field.build(truth)
        self._readers = {one.id: Reader(folder / f"reader-{one.id}") for one in truth.machines}
        self._clock = Clock(socket)
        self._at = truth.midnight(truth.month)
        self._acknowledged = 0
        self._washes = self._ended = 0
        self._taps: list[tuple[Wash, str]] = []
        """each with the lamp that the reader showed"""
        self._news = asyncio.Event()
        self._relay: asyncio.Task[None] | None = None

    async def begin(self, named_broker: str, config: Path) -> None:
        """Start all but the gateway, and write its settings; BrokerError, ChildError, FileExistsError."""
        truth, children = self._truth, self._children
        host, port, name = await broker.connect(children, self._folder, named_broker)
        say(f"building   {truth.name}: {len(truth.places)} billing points, {len(truth.devices)} meters")
        say(f"broker     {name} at {host}:{port}")
        ports = await self._field.start()
        self._field.show(self._at)
        for reader in self._readers.values():
            reader.plug()
        settings = field.wiring(truth, ports, broker=(host, port), poll=POLL, readers=self._readers)
        with config.open("x", encoding="utf-8") as file:
            file.write(settings)
        receive = python("simulators.subscriber", f"{host}:{port}", ROOT, "demo", str(self._folder))
        subscriber = await children.start("subscriber", receive, piped=True)
        self._relay = asyncio.create_task(self._pass_on(subscriber))
        await self._unless_one_dies(self._news.wait())

    async def employ(self, config: Path, told: Path) -> None:
        """Start a gateway with these settings; `told` is the building's property.toml; ChildError."""
        gateway, children = python("gateway.cli", "--config", str(config)), self._children
        await children.run("migrate", [*gateway, "migrate"])
        await children.run("import", [*gateway, "import", str(told)])
        await children.start("daemon", [*gateway, "run"], environment={"SUBMETER_CLOCK": str(self._socket)})

    async def months(self, seconds: int | None) -> bool:
        """Let months pass: the first as fast as it goes, and with a time limit only this one; whether it agreed."""
        month = self._truth.month
        try:
            async with asyncio.timeout(seconds):
                await self._unless_one_dies(self._month(month, pace=0))
                judged = await self._unless_one_dies(self._settled(month))
        except TimeoutError:
            say(f"The {seconds} s are over and it is {self._local(self._at):%d %b %H:%M} in the building.")
            judged = self._judge(month)
        self._show(month, judged)
        while seconds is None:
            month = following(month)
            await self._unless_one_dies(self._month(month, pace=_LEISURE))
            self._show(month, await self._unless_one_dies(self._settled(month)))
        return not judged.differences

    async def close(self) -> None:
        """Hang up all lines."""
        if self._relay is not None:
            self._relay.cancel()
        await self._clock.close()
        for reader in self._readers.values():
            reader.unplug()
        await self._field.close()

    async def _month(self, month: date, *, pace: float) -> None:
        """Step from poll to poll until the month is closed. The first step is the one that the gateway starts at."""
        closed = self._truth.midnight(following(month)) + GRACE + POLL
        while self._at <= closed:
            await self._pass_to(self._at)
            if self._local(self._at).hour == 0:
                say(f"{self._local(self._at):%a %d %b %Y}  {', '.join(self._happenings())}".rstrip())
            await asyncio.sleep(pace)
            for wash in self._truth.washes:
                if self._at <= wash.start < self._at + POLL:
                    await self._wash(wash)
            self._at += POLL

    async def _wash(self, wash: Wash) -> None:
        """Somebody taps, and washes where the lamp shows green: in real time, while the clock stands."""
        await self._pass_to(wash.start)
        lamp = await self._readers[wash.machine].tap(wash.badge)
        say(f"{self._local(wash.start):%a %d %b %H:%M}  {wash.who or 'somebody'} taps at {wash.machine}: {lamp}")
        self._taps.append((wash, lamp))
        if "red" in (lamp, wash.lamp):
            return
        relay = self._field.relays[wash.machine]
        await _moved(relay, on=True)
        await self._pass_to(wash.until)
        await _moved(relay, on=False)
        self._washes += 1
        while self._ended < self._washes:
            self._news.clear()
            await self._news.wait()

    async def _pass_to(self, at: datetime) -> None:
        self._field.show(at)
        await self._clock.step(at)

    async def _settled(self, month: date) -> Verdict:
        """The verdict once all charges are acknowledged and agree with the truth, or once no more come."""
        while True:
            self._news.clear()
            acknowledged = self._acknowledged
            judged = self._judge(month)
            if not judged.differences and acknowledged == judged.received:
                return judged
            try:
                async with asyncio.timeout(_QUIET):
                    await self._news.wait()
            except TimeoutError:
                return judged

    def _judge(self, month: date) -> Verdict:
        start, until = self._truth.midnight(month), self._truth.midnight(following(month))
        return verdict.judge(self._truth, start, until, verdict.read(self._folder / "charges.jsonl"), self._taps)

    def _show(self, month: date, judged: Verdict) -> None:
        say(
            f"\n{month:%B %Y}: {judged.charges} charges received, {self._acknowledged} acknowledged since the beginning"
        )
        if not judged.closed:
            say("The month has not been closed. Allow more DEMO_SECONDS, or look into daemon.log.")
        elif judged.differences:
            say(
                "\n".join([*judged.table, "They do not agree with what happened in the building:", *judged.differences])
            )
        else:
            agreed = f"{judged.compared} quantities by payer and register, {len(judged.amounts)} amounts by payer"
            say("\n".join([*judged.table, f"All agrees: {agreed}."]))
        say(f"Charges and logs are in {self._folder}.\n")

    def _happenings(self) -> Iterator[str]:
        """What changes in the building at this instant."""
        for place in self._truth.places.values():
            for stay in place.stays:
                if stay.until == self._at:
                    yield f"{stay.who} has left {place.id}"
                if stay.start == self._at:
                    yield f"{stay.who} moves into {place.id}"
        for price in self._truth.prices:
            if price.start == self._at:
                yield f"{price.source} now costs {price.price}"

    async def _pass_on(self, subscriber: asyncio.subprocess.Process) -> None:
        """Print what the subscriber says."""
        if subscriber.stdout is not None:
            async for line in subscriber.stdout:
                say(line.decode().rstrip())
                self._acknowledged += line.startswith(b"acknowledged ")
                self._ended += line.startswith(b"session ")
                self._news.set()

    async def _unless_one_dies(self, work: Coroutine[None, None, Result]) -> Result:
        """The work's result; ChildError as soon as a child ends on its own."""
        task = asyncio.ensure_future(work)
        death = asyncio.create_task(self._children.first_death())
        try:
            await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and isinstance(task.exception(), ClockError):
                await asyncio.wait({death}, timeout=_LAST_WORDS)  # the clock stops because its gateway has ended
            if death.done():
                death.result()
            return task.result()
        finally:
            task.cancel()
            death.cancel()

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(self._truth.zone)


def following(month: date) -> date:
    """The first day of the next month."""
    return month + timedelta(days=calendar.monthrange(month.year, month.month)[1])


async def _moved(relay: Relay, *, on: bool) -> None:
    """Wait until the gateway has switched the relay."""
    while relay.on != on:
        relay.moved.clear()
        await relay.moved.wait()


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)
