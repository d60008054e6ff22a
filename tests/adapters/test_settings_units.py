"""Which meters of a Modbus line may share a unit id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway import drivers
from gateway.settings import Settings, load

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """\
site = "s"
gateway = "g"
store = "sqlite:///gateway.db"
[[bus]]
id = "b"
driver = "modbus"
host = "127.0.0.1"
poll = "15min"
"""


def mistakes(folder: Path, *meters: str) -> list[str]:
    path = folder / "gateway.toml"
    path.write_text(HEAD + "".join(f'[[bus.meter]]\nid = "m{at}"\n{keys}\n' for at, keys in enumerate(meters)))
    loaded = load(path, drivers)
    return [] if isinstance(loaded, Settings) else [str(each).removeprefix(f"{folder}/") for each in loaded]


def test_a_sunspec_device_may_have_several_meters_behind_one_unit_id(tmp_path: Path) -> None:
    device = 'model = "sunspec"\naddress = 240'
    assert not mistakes(tmp_path, device, f"{device}\ninstance = 2", f"{device}\ninstance = 3")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ('model = "sunspec"', 'model = "sunspec"', "instance: {} it is meter 1 of unit 5 too; give each its own"),
        ('model = "sunspec"', 'model = "abb-b23"', "address: {} it has unit id 5 too; give each its own"),
        ('model = "abb-b23"', 'model = "abb-b23"', "address: {} it has unit id 5 too; give each its own"),
    ],
)
def test_any_other_unit_id_used_twice_is_refused_with_both_lines(
    tmp_path: Path, one: str, other: str, expected: str
) -> None:
    key, _, why = expected.partition(" {}")
    found = mistakes(tmp_path, f"address = 5\n{one}", f"address = 5\n{other}")
    assert len(found) == 1, found
    assert f"bus[0].meter[1].{key} this may be the meter in line 9 once more:{why}" in found[0]
