"""Reads every meter of a line when it is due and keeps what it answered.

Deadlines lie on multiples of the poll time since midnight UTC. A deadline that passed while the line
was still busy is counted and left out, never made up for in a burst; so is one that a battery is not made for.
The meters of a line follow each other from the deadline on; lines have their deadlines in common, as the boundaries
of billing lie on them: what is read later than its boundary has to be interpolated.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from gateway.core.event import Alarm
from gateway.ports.clock import Waiter, WallClock
from gateway.ports.field import (
    Deferrer,
    FieldError,
    LineDownError,
    NoAnswerError,
    OwingError,
    UnreadableAnswerError,
)
from gateway.ports.health import Observed
from gateway.service.alarms import Gathered
from gateway.service.battery import Battery
from gateway.service.meter_status import Status
from gateway.service.placing import Placing
from gateway.service.polled import polled, unread
from gateway.service.storing import to_the_end
from gateway.service.twice import Devices, Twice
from gateway.service.unread import Unread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.ports.field import Answer, MeterBus
    from gateway.service.alarms import AlarmLog, AlarmSink
    from gateway.service.battery import Budget
    from gateway.service.polled import Poll, ReadingStore
    from gateway.service.unread import KeptAnswers

METER_SILENT = "meter_silent"
METER_WRONG = "meter_wrong"
LINE_DOWN = "line_down"
BACK_OFF = timedelta(seconds=2)
MAX_BACK_OFF = timedelta(minutes=5)
SPREAD = 5
"""a pause is longer by up to this part of it, which follows from whose it is"""
LINE_LOSSES = 2
"""as many reads in a row that lose the line end the round: one meter may break a connection, two say it is gone"""

_log = logging.getLogger(__name__)


class PollClock(WallClock, Waiter, Protocol):
    """The clock that polls are aligned to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is polled together: one conversation at a time."""

    id: str
    poll: timedelta
    meters: tuple[str, ...]
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    """of the meters that spare a battery"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterCount:
    """Polls of one meter since the start."""

    meter: str
    ok: int
    failed: int
    spared: int = 0
    """deadlines left out for a battery"""
    today: int = 0
    """reads and repeats of this day"""
    bears: int | None = None
    """of these, how many a day may be; None where no battery is to be spared"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollCounts:
    """What one line has done since the start."""

    line: str
    rounds: int
    missed: int
    """deadlines left out because the line was still busy or the clock jumped ahead"""
    meters: tuple[MeterCount, ...]


class Poller:
    """The worker of one line."""

    def __init__(  # noqa: PLR0913 - one for each thing that it is joined to
        self,
        line: Line,
        bus: MeterBus,
        *,
        clock: PollClock,
        store: ReadingStore,
        alarms: AlarmLog,
        boot: str,
        beat: Callable[[], None],
        kept: KeptAnswers | None = None,
        devices: Devices | None = None,
    ) -> None:
        """`beat` is called at every sign of life; `kept`: where answers from before the start wait for a key.

        `devices`: what answers on all lines; without, each line looks at its own meters only.
        """
        self._line = line
        self._bus = bus
        self._read_now = bus.read_now if isinstance(bus, Deferrer) else bus.read
        self._observed = bus if isinstance(bus, Observed) else None  # asked once: it looks through the whole protocol
        self._clock = clock
        self._store = store
        self._boot = boot
        self._beat = beat
        self._rounds = 0
        self._missed = 0
        self._placing = Placing(clock)
        self._unread = Unread(bus, kept)
        self._alarms = told = Gathered(alarms)
        self._twice = Twice(line.id, told, Devices() if devices is None else devices)
        self._whole = _Health(line.id, (LINE_DOWN,), told)
        self._batteries = {meter: Battery(line.poll, line.budgets.get(meter)) for meter in line.meters}
        self._status = {meter: Status(meter, told) for meter in line.meters}
        self._meters = {meter: _Health(meter, (METER_SILENT, METER_WRONG), told) for meter in line.meters}

    def counts(self) -> PollCounts:
        """What has been done so far."""
        meters = tuple(
            MeterCount(
                meter=meter,
                ok=health.ok,
                failed=health.failed,
                spared=battery.spared,
                today=battery.today,
                bears=battery.bears,
            )
            for (meter, health), battery in zip(self._meters.items(), self._batteries.values(), strict=True)
        )
        return PollCounts(line=self._line.id, rounds=self._rounds, missed=self._missed, meters=meters)

    async def run(self) -> None:
        """Poll until cancelled; what had been read by then is still kept."""
        every = self._line.poll
        for meter, battery in self._batteries.items():
            if battery.every != every:
                _log.info("%s: read every %s instead of %s to spare a battery", meter, battery.every, every)
        begun = self._clock.now()
        due = on_grid(begun, every)
        if begun < due:
            await self._round(begun)  # who has just started the gateway wants to see values; batteries are spared it
        while True:
            await self._clock.until(due)
            if self._clock.now() >= due:
                await self._round(due)
            due, missed = following(due, self._clock.now(), every)
            self._missed += missed

    async def _round(self, due: datetime) -> None:
        now = self._clock.now()
        if self._whole.resting(now):
            return
        self._rounds += 1
        heard: list[Poll] = []
        failed: dict[str, FieldError] = {}
        try:
            await self._read_all(due, heard, failed)
        finally:  # also when stopped half-way: what has been read is not lost
            late = (
                polled(answer, poll.at, poll.boot, trusted=poll.clock_trusted)
                for answer, poll in self._unread.read_since()
                if answer.values
            )
            if kept := [*self._placing.placed(), *late, *heard]:
                await to_the_end(self._store.keep(kept))
        await self._report(heard, failed)
        await self._alarms.tell()

    async def _read_all(self, due: datetime, heard: list[Poll], failed: dict[str, FieldError]) -> None:
        """The neighbours of a meter that has to be waited for are read before it; and no deadline is missed for it."""
        losses = 0
        owing: dict[str, OwingError] = {}
        for meter in self._order(self._clock.now()):
            if not self._batteries[meter].spend(due):
                continue
            error = await self._read(meter, self._read_now, heard)
            if isinstance(error, OwingError):
                owing[meter] = error
            elif error is not None:
                failed[meter] = error
            losses = losses + 1 if isinstance(error, LineDownError) else 0
            if losses == LINE_LOSSES:
                break
        for meter, error in owing.items():
            is_time = self._clock.now() + timedelta(seconds=error.seconds) < due + self._line.poll
            failure = await self._read(meter, self._bus.read, heard) if is_time and losses < LINE_LOSSES else error
            if failure is not None:
                failed[meter] = failure

    async def _read(self, meter: str, read: Callable[[str], Awaitable[Answer]], heard: list[Poll]) -> FieldError | None:
        """Why the meter could not be read; None where it was."""
        self._beat()
        before, failure = self._repeats(meter), None
        try:
            answer = await read(meter)
            trusted = self._clock.trusted()  # asked first: it may be set right between the two
            poll = polled(answer, self._clock.now(), self._boot, trusted=trusted)
            await self._unread.try_again(meter, poll.at)
            heard.append(poll)
            self._placing.note(poll)
            self._twice.note(answer, poll.at)
        except FieldError as error:
            failure = error
            if isinstance(error, UnreadableAnswerError):  # kept as it came: with the right key it can still be read
                heard.append(unread(meter, error, self._clock.now(), self._boot, trusted=self._clock.trusted()))
                self._unread.note(heard[-1])
        self._batteries[meter].repeated(self._repeats(meter) - before)
        return failure

    def _repeats(self, meter: str) -> int:
        return 0 if self._observed is None else self._observed.repeats(meter)

    def _order(self, now: datetime) -> list[str]:
        """Meters that answer come first, so that those in trouble delay nobody."""
        awake = [meter for meter, health in self._meters.items() if not health.resting(now)]
        return sorted(awake, key=lambda meter: self._meters[meter].in_trouble)

    async def _report(self, heard: list[Poll], failed: dict[str, FieldError]) -> None:
        now = self._clock.now()
        for meter in failed:
            self._twice.silent(meter, now)
        if failed and not heard and all(isinstance(error, LineDownError) for error in failed.values()):
            await self._whole.fail(LINE_DOWN, next(iter(failed.values())), now)
            return
        if heard or failed:
            await self._whole.well(now)
        await self._twice.tell(now)
        for poll in heard:
            await self._status[poll.meter].note(poll.status, poll.at)
            if poll.meter not in failed:
                await self._meters[poll.meter].well(now)
        for meter, error in failed.items():
            silent = isinstance(error, NoAnswerError | LineDownError)
            await self._meters[meter].fail(METER_SILENT if silent else METER_WRONG, error, now)


class _Health:
    """How one meter, or the whole line, is doing: tells it once when it fails and once when it is back.

    It is left alone for longer and longer, each by a step of its own: lines that lost one switch at the same time do
    not all come back to it in one instant.
    """

    def __init__(self, source: str, codes: tuple[str, ...], alarms: AlarmSink) -> None:
        self.ok = 0
        self.failed = 0
        self._source = source
        self._codes = codes
        self._alarms = alarms
        self._in_a_row = 0
        self._retry_at: datetime | None = None
        self._back_off = BACK_OFF * (1 + crc32(source.encode()) / 2**32 / SPREAD)

    @property
    def in_trouble(self) -> bool:
        return self._retry_at is not None

    def resting(self, now: datetime) -> bool:
        """Whether it is left alone for now. A rest longer than any is one from before the clock was set back."""
        return self._retry_at is not None and timedelta(0) < self._retry_at - now <= MAX_BACK_OFF

    async def fail(self, code: str, error: FieldError, now: datetime) -> None:
        self.failed += 1
        self._in_a_row += 1
        self._retry_at = now + min(self._back_off * self._in_a_row, MAX_BACK_OFF)
        if self._in_a_row == 1:
            _log.warning("%s: unavailable: %s", self._source, error)
            alarm = Alarm(code=code, source=self._source, severity="warning", since=now, text=str(error))
            await self._alarms.raise_alarm(alarm)

    async def well(self, now: datetime) -> None:
        if self.in_trouble:
            _log.warning("%s: recovered after %d failed polls", self._source, self._in_a_row)
        if self.in_trouble or self.ok == 0:  # the first answer also ends what was open before the start
            for code in self._codes:
                await self._alarms.end_alarm(code, self._source, now)
        self.ok += 1
        self._in_a_row = 0
        self._retry_at = None


def on_grid(instant: datetime, every: timedelta) -> datetime:
    """The first multiple of `every` since midnight UTC that is not before the instant; the next midnight is one."""
    midnight = instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    steps = -((midnight - instant) // every)
    return min(midnight + steps * every, midnight + timedelta(days=1))


def following(due: datetime, now: datetime, every: timedelta) -> tuple[datetime, int]:
    """The deadline after `due`, and how many between the two were left out.

    A deadline is never in the past; a clock that was set back starts a new row of them.
    """
    if now < due:
        return on_grid(now, every), 0
    after = on_grid(due + timedelta(microseconds=1), every)
    coming = max(after, on_grid(now, every))
    return coming, -((after - coming) // every)
