from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.ports.field import Answer
from gateway.service.twice import Twice
from tests.core.polling import Book, Field, Plant, at, plant

if TYPE_CHECKING:
    import pytest

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


def heard(meter: str, device: str) -> Answer:
    return Answer(meter=meter, serial="1", status=0, values=(), raw=b"", device=device)


async def test_one_device_that_answers_for_two_meters_is_told_once_and_ends_once() -> None:
    book = Alarms()
    twice = Twice("m-1", book)
    for _ in range(3):
        for meter in ("b", "a"):
            twice.note(heard(meter, "ACW 17"))
        twice.note(heard("c", "ACW 18"))
        await twice.tell(NOW)
    assert book.alarms == [("ended", "meter_twice", "a"), ("raised", "meter_twice", "b"), ("ended", "meter_twice", "c")]
    assert book.texts[0].startswith("error: a and b on the line m-1 are answered by the same device ACW 17, so its ")
    book.alarms.clear()
    for _ in range(2):
        twice.note(heard("a", "ACW 19"))
        await twice.tell(NOW)
    assert book.alarms == [("ended", "meter_twice", "b")]


async def test_what_does_not_say_who_it_is_is_nobody_twice() -> None:
    book = Alarms()
    twice = Twice("m-1", book)
    for meter in ("a", "b"):
        twice.note(heard(meter, ""))
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
