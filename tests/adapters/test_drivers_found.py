from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from gateway import drivers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package whose driver does not import."""
    (tmp_path / "acme_knx.py").write_text("import acme_library_that_is_not_there\n", encoding="utf-8")
    info = tmp_path / "acme_knx-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-knx\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[submeter.drivers]\nknx = acme_knx:driver\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def test_the_drivers_of_the_product_are_found_by_name() -> None:
    assert {"mbus", "modbus"} <= set(drivers.names())
    assert drivers.find("mbus").name == "mbus"
    assert drivers.find("modbus").name == "modbus"


def test_an_unknown_driver_is_one_sentence_with_those_that_are_there() -> None:
    with pytest.raises(drivers.NoDriverError, match=r"^no driver 'knx' is installed; installed are: mbus, modbus$"):
        drivers.find("knx")


@pytest.mark.usefixtures("broken")
def test_a_package_that_does_not_load_is_one_sentence_with_its_name_and_reason() -> None:
    assert "knx" in drivers.names()
    with pytest.raises(drivers.NoDriverError, match=r"the package acme-knx does not load: No module named"):
        drivers.find("knx")
