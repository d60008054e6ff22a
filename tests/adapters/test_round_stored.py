"""What the rounds of a line with very many meters cost the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event

from gateway.clock import SteppedClock
from gateway.core.event import Alarm
from gateway.ports.field import NoAnswerError
from gateway.service.poll import Line, Poller
from gateway.store import Store
from tests.core.polling import QUARTER, Field, at

if TYPE_CHECKING:
    from sqlalchemy import Connection

METERS = tuple(f"m-{number:03}" for number in range(100))
SILENT = Alarm(code="meter_silent", source="m-042", severity="warning", since=at(-60), text="x")


async def test_a_hundred_meters_tell_what_is_over_and_what_begins_in_one_transaction_each_round(store_url: str) -> None:
    field, clock = Field(), SteppedClock()
    async with Store(store_url) as store:
        await store.raise_alarm(SILENT)
        commits: list[Connection] = []
        event.listen(store.writer._engine, "commit", commits.append)  # noqa: SLF001 - counted where it happens
        line = Line(id="line", poll=QUARTER, meters=METERS)
        poller = Poller(line, field, clock=clock, store=store, alarms=store, boot="boot", beat=lambda: None)
        spent = []
        for minutes in (0, 15, 30):
            await clock.step(at(minutes))
            await poller._round(at(minutes))  # noqa: SLF001 - one round, without its deadline
            spent.append(len(commits))
            commits.clear()
            field.errors = {meter: NoAnswerError("silent") for meter in METERS if minutes == 15}
        told = await store.open_alarms()
    assert spent == [2, 1, 1]
    assert {(alarm.code, alarm.source) for alarm in told} == {
        *(("meter_status", meter) for meter in METERS),
        *(("meter_silent", meter) for meter in METERS),
    }
