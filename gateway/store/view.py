"""What is asked of the store. Any number of processes may look while one writes."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from gateway.service.messages import Stream
from gateway.store import (
    alarms,
    charges,
    corrections,
    events,
    months,
    properties,
    reading_span,
    sessions,
    spans,
    strangers,
    streams,
)
from gateway.store.database import database, require_revision, usable
from gateway.store.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from gateway.core.event import Alarm, Event
    from gateway.core.metering import Reading, Stranger
    from gateway.core.period import Period
    from gateway.service.records import (
        ClosedMonth,
        Correction,
        DirtyMonth,
        KeptAlarm,
        PropertyRow,
        SessionRecord,
        SpanRead,
    )
    from gateway.store.database import Database

READERS = 2
_T = TypeVar("_T")


class StoreView:
    """A store that is only read."""

    def __init__(self, url: str) -> None:
        """Open the store at an SQLAlchemy URL. StoreError where it is missing or of another release."""
        self._open(database(url))

    def _open(self, base: Database) -> None:
        base.require()
        engine = base.reading(READERS)
        with ExitStack() as opened:
            opened.callback(engine.dispose)
            with usable(base), engine.connect() as connection:
                require_revision(connection, base)
            opened.pop_all()
        self.reader = Reader(engine, READERS, partial(base.trouble, reading=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what was begun and let go of the file."""
        await asyncio.to_thread(self.reader.close)

    async def readings(
        self,
        facility_meters: Collection[str],
        start: datetime,
        until: datetime,
        keys: Collection[str] | None = None,
    ) -> dict[tuple[str, str], tuple[Reading, ...]]:
        """(meter, register key) -> its readings in [start, until], the last before and the first after, by time.

        Conflicting values for one instant are all there, voided ones are not; registers without any reading are
        left out. `keys`: only registers of these keys, None: all. `boot` is "": it stands with the poll.
        """
        return await self.reader.run(
            partial(reading_span.span, meters=frozenset(facility_meters), start=start, until=until, keys=keys)
        )

    async def stranger(self, meter: str, register: str, answered: Period, serial: str) -> Stranger | None:
        """Who answers for the register (key) with this number, where another meter did first within the period."""
        return await self.reader.run(
            partial(strangers.stranger, meter=meter, register=register, answered=answered, serial=serial)
        )

    async def first_reading(self) -> datetime | None:
        """The instant of the oldest reading."""
        return await self.reader.run(reading_span.first)

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """Every entity as known at an instant, now for None; ended ones are there with the value None."""
        return await self.reader.run(partial(properties.known, at=known_at))

    async def property_history(self, kind: str | None, entity: str | None) -> Sequence[PropertyRow]:
        """Every value that entities ever had, in the order of recording; of one kind, of one id, or of all."""
        return await self.reader.run(partial(properties.history, kind=kind, entity=entity))

    async def corrections(self) -> Sequence[Correction]:
        """Every added and voided reading, in the order in which they were recorded."""
        return await self.reader.run(corrections.recorded)

    async def open_sessions(self) -> Sequence[SessionRecord]:
        """The sessions that have not ended, the oldest first."""
        return await self.reader.run(sessions.running)

    async def sessions(self, facility: str, start: datetime, until: datetime) -> Sequence[SessionRecord]:
        """The ended sessions of a facility of which a part lies in [start, until), by their start."""
        return await self.reader.run(partial(sessions.ended, facility=facility, start=start, until=until))

    async def voided(self, meter: str, register: str, start: datetime, until: datetime) -> Collection[datetime]:
        """The instants in [start, until] at which a reading of the register (key) is voided."""
        return await self.reader.run(
            partial(corrections.voided, meter=meter, register=register, start=start, until=until)
        )

    async def span_read(
        self, meter: str, registers: Collection[str], start: datetime, until: datetime
    ) -> Sequence[SpanRead]:
        """What the meter told of these registers (keys) in [start, until) and counts; not what a person added."""
        return await self.reader.run(partial(spans.read, meter=meter, registers=registers, start=start, until=until))

    async def standing_charges(self, facility: str, month: str, read: Callable[[str], _T]) -> Sequence[_T]:
        """What `read` makes of each canonical body of a closing's charges ("2026-10"), neither reversed nor a reversal.

        One after the other: a body that shares a register among hundreds of points has 20 kB.
        """
        return await self.reader.run(partial(charges.standing, facility=facility, month=month, read=read))

    async def revisions(self, facility: str, month: str) -> Mapping[str, int]:
        """line_id -> the highest revision published in a closing."""
        return await self.reader.run(partial(charges.revisions, facility=facility, month=month))

    async def all_charges(self, wanted: charges.ChargeFilter) -> Sequence[charges.KeptCharge]:
        """The charges that the filter lets through, in the order of publication."""
        return await self.reader.run(partial(charges.published, wanted=wanted))

    async def dirty(self) -> Sequence[DirtyMonth]:
        """The months to be settled again."""
        return await self.reader.run(months.marked)

    async def closed_months(self, facility: str | None = None) -> Sequence[ClosedMonth]:
        """The closed months of one facility or of all."""
        return await self.reader.run(partial(months.closed, facility=facility))

    async def open_alarms(self) -> Sequence[Alarm]:
        """The alarms that have not ended, the oldest first."""
        return [kept.alarm for kept in await self.kept_alarms()]

    async def kept_alarms(self) -> Sequence[KeptAlarm]:
        """The same with their ids."""
        return await self.reader.run(alarms.still_open)

    async def alarms_ended_by_hand(self) -> Sequence[KeptAlarm]:
        """The alarms that a person has ended, in that order."""
        return await self.reader.run(alarms.ended_by_hand)

    async def streams(self) -> Sequence[Stream]:
        """The streams of the current epoch, in the order of delivery."""
        return await self.reader.run(_streams)

    async def events(self, stream: str, after: int, limit: int) -> Sequence[Event]:
        """At most `limit` events of a stream with a number above `after`, finished or not, in order."""
        return await self.reader.run(partial(events.after, name=stream, seq=after, limit=limit))

    async def acks(self) -> Mapping[tuple[str, str], int]:
        """(consumer, stream) -> the number up to which it has acknowledged, current epoch."""
        return await self.reader.run(streams.acks)


def _streams(connection: Connection) -> list[Stream]:
    return [
        Stream(kind=stream.kind, name=stream.name, head=streams.head(connection, stream), finished=stream.finished)
        for stream in streams.all_current(connection)
    ]
