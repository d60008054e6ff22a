"""A meter's status byte in words, and the alarm that begins and ends with its complaint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gateway.service.meter_status import Status, words

if TYPE_CHECKING:
    from gateway.core.event import Alarm

NOW = datetime(2026, 10, 1, tzinfo=UTC)


class Sink:
    def __init__(self) -> None:
        self.said: list[str] = []

    async def raise_alarm(self, alarm: Alarm) -> None:
        self.said.append(f"{alarm.severity}: {alarm.text.partition(';')[0]}")

    async def end_alarm(self, code: str, source: str, at: datetime) -> None:
        assert (code, source, at) == ("meter_status", "heat-1", NOW)
        self.said.append("ended")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0x00, ()),
        (0x01, ("application busy",)),
        (0x02, ("application error",)),
        (0x03, ("abnormal condition",)),
        (0x04, ("power low",)),
        (0x18, ("permanent error", "temporary error")),
        (0xE0, ("maker's bits e0",)),
        (0x27, ("abnormal condition", "power low", "maker's bits 20")),
    ],
)
def test_the_byte_is_told_in_words(status: int, said: tuple[str, ...]) -> None:
    assert words(status) == said


async def noted(*statuses: int) -> list[str]:
    sink = Sink()
    status = Status("heat-1", sink)
    for each in statuses:
        await status.note(each, NOW)
    return sink.said


async def test_a_complaint_is_told_once_and_ends_once() -> None:
    assert await noted(4, 4, 4, 0, 0) == ["ended", "warning: the meter reports power low", "ended"]


async def test_a_permanent_error_is_graver_and_told_also_behind_a_lesser_one() -> None:
    assert await noted(4, 0x0C) == [
        "ended",
        "warning: the meter reports power low",
        "ended",
        "error: the meter reports power low, permanent error",
    ]


async def test_being_busy_and_the_makers_bits_are_no_complaint() -> None:
    assert await noted(0x00, 0x01, 0xE0, 0xE1) == ["ended"]
