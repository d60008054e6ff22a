"""The store as the daemon uses it: everything that is kept, and the one process that writes it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gateway.service.records import Correction
from gateway.store import alarms, charges, corrections, late, months, properties, sessions, spans, streams, unread
from gateway.store.database import database, usable
from gateway.store.view import StoreView
from gateway.store.writer import Priority, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from gateway.core.event import Alarm
    from gateway.core.metering import Reading
    from gateway.service.alarms import Ended
    from gateway.service.messages import Ack
    from gateway.service.polled import Poll
    from gateway.service.records import (
        DirtyMonth,
        KeptAlarm,
        NewCharge,
        PropertyChange,
        SessionRecord,
        VoidedSpan,
    )
    from gateway.store.readings import Kept


class _Health:
    """Tells those who watch, in their event loop, when storing begins to fail and when it succeeds again."""

    def __init__(self) -> None:
        self._watchers: list[tuple[asyncio.AbstractEventLoop, Callable[[str], None], Callable[[], None]]] = []
        self._reason: str | None = None

    def watch(self, failing: Callable[[str], None], well: Callable[[], None]) -> None:
        self._watchers.append((asyncio.get_running_loop(), failing, well))
        if self._reason is not None:
            failing(self._reason)

    def failing(self, reason: str) -> None:
        if self._reason != reason:
            self._reason = reason
            for loop, failing, _ in self._watchers:
                loop.call_soon_threadsafe(failing, reason)

    def well(self) -> None:
        if self._reason is not None:
            self._reason = None
            for loop, _, well in self._watchers:
                loop.call_soon_threadsafe(well)


class Store(StoreView):
    """A store that this process alone writes. What a method has returned from is durable."""

    def __init__(self, url: str, *, boot: str = "", ballast: int = 0) -> None:
        """Lock and open the store; events made here carry the boot id; `ballast` bytes are kept free on its disk.

        StoreInUseError where another process writes it, StoreError where it is missing or of another release.
        """
        base = database(url)
        base.require()
        self._health = _Health()
        with ExitStack() as opened:
            engine = opened.enter_context(base.exclusive())
            self._open(base)
            with ExitStack() as begun:
                begun.callback(self.reader.close)
                with usable(base):
                    self.writer = Writer(engine, base.guard(ballast), base.trouble, self._health)
                begun.pop_all()
            self._exclusive = opened.pop_all()
        self._boot = boot
        self._listeners: list[Callable[[], None]] = []
        self.stored = 0
        """readings, since it was opened"""

    def watch(self, failing: Callable[[str], None], well: Callable[[], None]) -> None:
        """From now on call `failing` in the event loop when a write fails for want of a disk, `well` when one succeeds.

        Each is called when it changes; the reason of `failing` is a sentence.
        """
        self._health.watch(failing, well)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop whenever there are new events."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """Finish what is queued, let go of the files, then of the lock."""
        await super().close()  # readers first: the last connection to close checkpoints
        await asyncio.to_thread(self.writer.close)
        self._exclusive.close()

    async def keep(self, polls: Sequence[Poll]) -> Kept:
        """Keep the polls of a round in one transaction. What is known already changes nothing."""
        kept = await self.writer.submit(Priority.POLL, partial(late.keep, polls=polls))
        self.stored += kept.stored
        self._tell()
        return kept

    async def unread(self, meter: str, before: datetime, limit: int) -> Sequence[Poll]:
        """The meter's last answers before the instant, back to the one that gave readings: those gave none."""
        return await self.reader.run(partial(unread.unread, meter=meter, before=before, limit=limit))

    async def add_reading(
        self, reading: Reading, reason: str, by: str, at: datetime, dirty: Sequence[DirtyMonth] = ()
    ) -> bool:
        """Keep a reading that no meter gave, why and by whom, its event and the marks in one transaction.

        False, and nothing kept, where the same value is known and not voided. StoreError beyond 63 bits.
        """
        correction = Correction(
            kind="added",
            meter=reading.meter,
            register=reading.register,
            at=reading.at,
            values=(),
            reason=reason,
            recorded_at=at,
            recorded_by=by,
        )
        made_here = replace(reading, boot=self._boot)
        work = partial(corrections.add, correction=correction, reading=made_here, dirty=dirty)
        added = await self.writer.submit(Priority.DELIVERY, work)
        self._tell()
        return added

    async def void_readings(
        self,
        meter: str,
        register: str,
        instant: datetime,
        reason: str,
        by: str,
        at: datetime,
        dirty: Sequence[DirtyMonth] = (),
    ) -> Sequence[Reading]:
        """Leave the values of a register (key) and instant out of `readings`, also where they come again.

        What was voided; empty, and nothing kept, where none counted.
        """
        correction = Correction(
            kind="voided",
            meter=meter,
            register=register,
            at=instant,
            values=(),
            reason=reason,
            recorded_at=at,
            recorded_by=by,
        )
        return await self.writer.submit(
            Priority.DELIVERY, partial(corrections.void, correction=correction, dirty=dirty)
        )

    async def void_span(self, span: VoidedSpan, dirty: Sequence[DirtyMonth] = ()) -> int:
        """Leave out all that a meter told in a stretch, with a correction for each instant, and keep the marks.

        How many readings; all in one transaction.
        """
        return await self.writer.submit(Priority.DELIVERY, partial(spans.void, span=span, dirty=dirty))

    async def keep_session(self, session: SessionRecord) -> None:
        """Keep a session as it is now, new or known. One that has ended stays as it ended."""
        await self.writer.submit(Priority.TAP, partial(sessions.keep, session=session))

    async def end_session(
        self,
        session: SessionRecord,
        subject: str,
        data: str,
        charges: Sequence[NewCharge],
        at: datetime,
        dirty: Sequence[DirtyMonth] = (),
    ) -> None:
        """Keep the ended session, its event, its charges with their events and the marks in one transaction.

        A session that has ended already changes nothing.
        """
        end = partial(sessions.end, session=session, subject=subject, data=data, costs=charges)

        def work(connection: Connection) -> None:
            end(connection, at=at, bootid=self._boot)
            months.mark(connection, dirty)

        await self.writer.submit(Priority.TAP, work)
        self._tell()

    async def acknowledge(self, acks: Sequence[Ack], finished: Mapping[str, int]) -> None:
        """Record acks and, per stream, how far it is finished. Lower numbers than the recorded change nothing."""
        await self.writer.submit(Priority.DELIVERY, partial(streams.acknowledge, acks=acks, finished=finished))

    async def raise_alarm(self, alarm: Alarm) -> None:
        """Open the alarm and make its event, unless one of its code and source is open."""
        await self.writer.submit(Priority.DELIVERY, partial(alarms.begin, alarm=alarm, bootid=self._boot))
        self._tell()

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        """End the open alarm of this code and source and make its event, if there is one."""
        work = partial(alarms.end, code=code, source=source, at=at, bootid=self._boot)
        await self.writer.submit(Priority.DELIVERY, work)
        self._tell()

    async def change_alarms(self, changes: Sequence[Alarm | Ended]) -> None:
        """Raise and end alarms in this order and make their events, in one transaction."""
        await self.writer.submit(Priority.DELIVERY, partial(alarms.change, changes=changes, bootid=self._boot))
        self._tell()

    async def end_alarm_by_hand(self, alarm_id: str, at: datetime, by: str, reason: str) -> KeptAlarm | None:
        """End the open alarm of this id, keep who did it and why, and make its event; None where there is none."""
        work = partial(alarms.end_by_hand, alarm_id=alarm_id, at=at, bootid=self._boot, by=by, reason=reason)
        ended = await self.writer.submit(Priority.DELIVERY, work)
        self._tell()
        return ended

    async def publish(self, new: Sequence[NewCharge], at: datetime) -> int:
        """Keep charges and make their events in one transaction; how many were new.

        Known charges change nothing. StoreError, and nothing published, where a reversal names a charge that
        does not stand.
        """
        work = partial(charges.publish, charges=new, at=at, bootid=self._boot)
        count = await self.writer.submit(Priority.SETTLE, work)
        self._tell()
        return count

    async def record_property(
        self,
        changes: Sequence[PropertyChange],
        by: str,
        at: datetime,
        dirty: Sequence[DirtyMonth] = (),
    ) -> int:
        """Add property changes and mark the months that they touch, in one transaction; how many really changed."""
        work = partial(properties.record, changes=changes, by=by, at=at, dirty=dirty)
        return await self.writer.submit(Priority.SETTLE, work)

    async def mark_dirty(self, marked: Sequence[DirtyMonth]) -> None:
        """Ask for months to be settled again."""
        await self.writer.submit(Priority.SETTLE, partial(months.mark, months=marked))

    async def close_month(self, facility: str, month: str, at: datetime, settled: Sequence[DirtyMonth] = ()) -> None:
        """The month is settled: closed if it was not; the marks in `settled` are gone, newer ones stay."""
        work = partial(months.close, facility=facility, month=month, at=at, settled=settled)
        await self.writer.submit(Priority.SETTLE, work)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
