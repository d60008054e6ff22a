"""An outbox in memory, with the rules that the one on disk must keep."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.core.canonical import canonical
from gateway.core.event import ORDER, Alarm, Event, Kind
from gateway.service.alarms import Ended
from gateway.service.messages import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.service.messages import Ack

EPOCH = "5f1c2a9e"
HANGS = 120.0
"""seconds after which a test that waits for something has failed"""
NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)


def stream(kind: Kind) -> str:
    return f"{kind}s-{EPOCH}"


class Outbox:
    def __init__(self) -> None:
        self.rows: dict[str, list[Event]] = {stream(kind): [] for kind in ORDER}
        self.done: dict[str, int] = dict.fromkeys(self.rows, 0)
        self.taken: dict[tuple[str, str], int] = {}
        self.alarms: list[Alarm] = []
        self.ended: list[tuple[str, str]] = []
        self.transactions = 0
        """of acks"""
        self.told = 0
        """transactions of alarms"""
        self.changed = asyncio.Condition()

    def add(self, kind: Kind, count: int = 1, *, subject: str | None = None, time: datetime = NOON) -> None:
        name = stream(kind)
        for _ in range(count):
            seq = len(self.rows[name]) + 1
            event = Event(
                kind=kind,
                stream=name,
                seq=seq,
                id=f"{name}:{seq}",
                subject=subject or f"{kind}s/flat-{seq % 5}",
                time=time,
                data=canonical({"no": seq}).decode(),
                bootid="boot-1",
            )
            self.rows[name].append(event)

    async def streams(self) -> Sequence[Stream]:
        return [
            Stream(kind=kind, name=stream(kind), head=len(self.rows[stream(kind)]), finished=self.done[stream(kind)])
            for kind in ORDER
        ]

    async def events(self, name: str, after: int, limit: int) -> Sequence[Event]:
        later = bisect_right(self.rows[name], after, key=lambda event: event.seq)
        return self.rows[name][later : later + limit]

    async def acks(self) -> Mapping[tuple[str, str], int]:
        return dict(self.taken)

    async def acknowledge(self, acks: Sequence[Ack], finished: Mapping[str, int]) -> None:
        self.transactions += 1
        for ack in acks:
            key = (ack.consumer, ack.stream)
            self.taken[key] = max(self.taken.get(key, 0), ack.seq)
        for name, seq in finished.items():
            self.done[name] = max(self.done[name], seq)
        await self._tell()

    async def change_alarms(self, changes: Sequence[Alarm | Ended]) -> None:
        self.told += 1
        for each in changes:
            if isinstance(each, Ended):
                self.ended.append((each.code, each.source))
            else:
                self.alarms.append(each)
        await self._tell()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(HANGS), self.changed:
            await self.changed.wait_for(true)

    async def finished(self, name: str, seq: int) -> None:
        """Return once the stream is finished up to this number."""
        await self.until(lambda: self.done[name] >= seq)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()
