"""A month of readings, put into the store as the daemon would have: what takes a month cannot be waited for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from benches.figure import say
from gateway import drivers, settings
from gateway.clock import SystemClock
from gateway.core.units import Scaled
from gateway.service.polled import polled
from gateway.store import Store

if TYPE_CHECKING:
    from datetime import datetime

    from benches.plant import Plant
    from gateway.ports.field import Answer
    from gateway.service.polled import Poll
    from simulators.truth import Device

EVERY = timedelta(minutes=15)
DAY = timedelta(days=1)


async def fill(plant: Plant, start: datetime, until: datetime, *, delivered: bool) -> int:
    """Keep polls of all meters in [start, until], as the meters answer and the truth counts; how many.

    `delivered`: the consumer has them all already.
    """
    answers = await _answers(plant)
    store = Store(plant.url, boot="bench")
    polls = 0
    try:
        while start <= until:
            instants = [start + EVERY * step for step in range(DAY // EVERY)]
            day = [poll for at in instants if at <= until for poll in _round(plant, answers, at)]
            await store.keep(day)
            polls += len(day)
            start += DAY
        if delivered:
            (stream,) = (one for one in await store.streams() if one.kind == "reading")
            await store.acknowledge([], {stream.name: stream.head})
    finally:
        await store.close()
    say(f"  {polls} polls in the store")
    return polls


async def _answers(plant: Plant) -> dict[str, Answer]:
    """What each meter answers, read by its driver."""
    loaded = settings.load(plant.config, drivers)
    assert isinstance(loaded, settings.Settings), loaded  # noqa: S101 - written by ourselves
    found: dict[str, Answer] = {}
    for line in loaded.buses:
        bus = line.driver.open(line.line, line.meters, SystemClock())
        try:
            found |= {meter: await bus.read(meter) for meter in line.meters}
        finally:
            await bus.close()
    return found


def _round(plant: Plant, answers: dict[str, Answer], at: datetime) -> list[Poll]:
    devices = plant.meters.truth.devices
    found = (_at(plant, device, answers[device.id], at) for device in devices)
    return [polled(answer, at, "bench", trusted=True) for answer in found]


def _at(plant: Plant, device: Device, answer: Answer, at: datetime) -> Answer:
    """The answer with the counters as they are at an instant."""
    truth = plant.meters.truth
    indexes = {one.key: Scaled(truth.counts(one, at) * one.step, -3) for one in device.counters}
    values = (replace(value, index=indexes.get(value.register, value.index)) for value in answer.values)
    return replace(answer, values=tuple(values))
