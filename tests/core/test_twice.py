from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.clock import SteppedClock
from gateway.ports.field import Answer, LineDownError
from gateway.service.poll import Line
from gateway.service.twice import GONE, Devices, Twice
from tests.core.polling import Book, Field, Plant, at, plant, poller_of

if TYPE_CHECKING:
    from gateway.core.event import Alarm

__all__ = ["plant"]
NOW = at(0)


class Alarms(Book):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    async def raise_alarm(self, alarm: Alarm) -> None:
        await super().raise_alarm(alarm)
        self.texts.append(f"{alarm.severity}: {alarm.text}")


def heard(meter: str, device: str, serial: str = "17") -> Answer:
    return Answer(meter=meter, serial=serial, status=0, values=(), raw=b"", device=device)


async def test_one_device_that_answers_for_two_meters_is_told_once_and_ends_once() -> None:
    book = Alarms()
    twice = Twice("m-1", book, Devices())
    for _ in range(3):
        for meter in ("b", "a"):
            twice.note(heard(meter, "ACW 17"), NOW)
        twice.note(heard("c", "ACW 18"), NOW)
        await twice.tell(NOW)
    assert book.alarms == [("ended", "meter_twice", "a"), ("raised", "meter_twice", "b"), ("ended", "meter_twice", "c")]
    assert book.texts[0].startswith("error: a and b on the line m-1 are answered by the same device ACW 17, so its ")
    book.alarms.clear()
    for _ in range(2):
        twice.note(heard("a", "ACW 19"), NOW)
        await twice.tell(NOW)
    assert book.alarms == [("ended", "meter_twice", "b")]


async def test_one_device_on_two_lines_is_told_once_by_the_line_of_the_later_id() -> None:
    book, devices = Alarms(), Devices()
    lines = {line: Twice(line, book, devices) for line in ("m-1", "m-2")}
    for _ in range(3):
        lines["m-1"].note(heard("b", "ACW 17"), NOW)
        lines["m-2"].note(heard("a", "ACW 17"), NOW)
        for twice in lines.values():
            await twice.tell(NOW)
    assert book.alarms == [("raised", "meter_twice", "b"), ("ended", "meter_twice", "a")]
    (text,) = book.texts
    assert text == (
        "error: a on the line m-2 and b on the line m-1 are answered by the same device ACW 17, so its counts would be"
        " billed twice; take one of them out, or correct its address, in the settings, and void what was read of it"
    )
    book.alarms.clear()
    lines["m-2"].note(heard("a", "ACW 18"), NOW)
    for twice in lines.values():
        await twice.tell(NOW)
    assert book.alarms == [("ended", "meter_twice", "b")]


@pytest.mark.parametrize("unset", ["", "0", "00000000", "99999999", "FFFFFFFF", "fFFf"])
async def test_numbers_that_were_never_set_are_no_one_device_on_two_lines_and_are_told_on_one(unset: str) -> None:
    book, devices = Alarms(), Devices()
    lines = {line: Twice(line, book, devices) for line in ("m-1", "m-2")}
    for line, meter in (("m-1", "a"), ("m-2", "b"), ("m-2", "c")):
        lines[line].note(heard(meter, f"ACW {unset}", unset), NOW)
    for twice in lines.values():
        await twice.tell(NOW)
    assert [each for each in book.alarms if each[0] == "raised"] == [("raised", "meter_twice", "c")]


async def test_a_meter_that_was_moved_is_its_own_once_the_old_place_was_silent_for_a_day() -> None:
    book, devices = Alarms(), Devices()
    old, new = Twice("m-1", book, devices), Twice("m-2", book, devices)
    old.note(heard("a", "ACW 17"), NOW)
    later = NOW + GONE
    new.note(heard("b", "ACW 17"), later)
    old.silent("a", later)
    await new.tell(later)
    assert book.alarms == [("raised", "meter_twice", "b")]
    old.silent("a", later + timedelta(seconds=1))
    await old.tell(later)
    await new.tell(later)
    assert book.alarms == [("raised", "meter_twice", "b"), ("ended", "meter_twice", "b")]


async def test_what_does_not_say_who_it_is_is_nobody_twice() -> None:
    book = Alarms()
    twice = Twice("m-1", book, Devices())
    for meter in ("a", "b"):
        twice.note(heard(meter, ""), NOW)
    await twice.tell(NOW)
    assert book.alarms == []


async def test_a_line_on_which_a_device_answers_for_two_meters_says_so_and_keeps_what_it_read(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Field.read

    async def alike(self: Field, meter: str) -> Answer:
        await read(self, meter)
        return heard(meter, "ACW 17" if meter in "ab" else "ACW 18")

    monkeypatch.setattr(Field, "read", alike)
    await plant.clock.step(at(0))
    assert [each for each in plant.book.alarms if each[0] == "raised"] == [("raised", "meter_twice", "b")]
    assert plant.meters_of_rounds() == [["a", "b", "c"]]


async def test_a_line_that_is_gone_says_after_a_day_no_more_what_stood_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a meter is moved and its old line taken down, before the settings say so."""
    read = Field.read

    async def alike(self: Field, meter: str) -> Answer:
        await read(self, meter)
        return heard(meter, "ACW 17")

    monkeypatch.setattr(Field, "read", alike)
    old, new, book, clock, devices = Field(), Field(), Book(), SteppedClock(), Devices()
    await clock.step(at(0))
    lines = {
        name: Line(id=name, poll=timedelta(hours=1), meters=(meter,)) for name, meter in (("m-1", "a"), ("m-2", "b"))
    }
    wired = [poller_of(lines["m-1"], old, book, clock, devices), poller_of(lines["m-2"], new, book, clock, devices)]
    tasks = [asyncio.ensure_future(clock.enrolled(poller.run)()) for poller in wired]
    await clock.step(at(60))
    await clock.step(at(120))
    assert ("raised", "meter_twice", "b") in book.alarms
    old.errors["a"] = LineDownError("there is nobody")
    await clock.step(at(120) + GONE)
    assert ("ended", "meter_twice", "b") not in book.alarms
    await clock.step(at(240) + GONE)
    assert book.alarms[-1] == ("ended", "meter_twice", "b")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
