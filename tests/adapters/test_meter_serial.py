"""The serial number that property data name for a meter, beside months that are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.adapters.importing import HOUSE, new_desk
from tests.adapters.test_commands import NOVEMBER, done

if TYPE_CHECKING:
    from pathlib import Path


def test_whose_readings_are_billed_is_asked_again_of_closed_months(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    desk.take(HOUSE)
    desk.close("sonnenhof", ["2024-09", "2024-10"], NOVEMBER)
    assert done(desk, "meter", "set", "power", "--serial", "0004 711a")["settled_again"] == ["2024-09", "2024-10"]
    assert {one.month for one in desk.dirty()} == {"2024-09", "2024-10"}


def test_another_writing_of_the_number_or_another_name_asks_nothing_again(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    desk.take(HOUSE)
    done(desk, "meter", "set", "power", "--serial", "0004 711a")
    desk.close("sonnenhof", ["2024-10"], NOVEMBER)
    assert done(desk, "meter", "set", "power", "--serial", "4711A")["settled_again"] == []
    assert done(desk, "meter", "set", "power", "--name", "Power, cellar")["settled_again"] == []
    assert not desk.dirty()
