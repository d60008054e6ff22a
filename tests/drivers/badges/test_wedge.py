"""A serial wedge reader on a pseudo-terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drivers.badges import driver
from gateway.ports.field import BadgeReader, LineDownError
from simulators.badges import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def plugged(tmp_path: Path) -> AsyncIterator[Reader]:
    async with Reader(tmp_path / "ttyUSB0") as simulated:
        yield simulated


def opened(device: Path, **settings: str) -> BadgeReader:
    return driver.open(driver.schema.model_validate({"device": str(device), **settings}))


async def test_a_badge_is_reported_and_the_lamp_shows_the_answer(plugged: Reader) -> None:
    reader = opened(plugged.link)
    try:
        await reader.show(accepted=False)
        assert await plugged.shown.get() == "red"
        plugged.hold("04a1b2c3")
        assert await reader.report() == "04A1B2C3"
        await reader.show(accepted=True)
        assert await plugged.shown.get() == "green"
    finally:
        await reader.close()


async def test_a_reader_that_reports_backwards_is_turned_around(plugged: Reader) -> None:
    reader = opened(plugged.link, order="reversed")
    await reader.show(accepted=False)
    plugged.hold("C3B2A104")
    assert await reader.report() == "04A1B2C3"
    await reader.close()


async def test_a_reader_that_is_pulled_out_is_found_again(plugged: Reader) -> None:
    reader = opened(plugged.link)
    await reader.show(accepted=False)
    plugged.unplug()
    with pytest.raises(LineDownError):
        await reader.report()
    with pytest.raises(LineDownError, match="ttyUSB0"):
        await reader.report()
    plugged.plug()
    await reader.show(accepted=True)
    plugged.hold("04A1B2C3")
    assert await reader.report() == "04A1B2C3"
    await reader.close()
