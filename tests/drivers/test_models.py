"""Every model file of every protocol reads its own proofs right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from drivers.mbus import driver as mbus
from drivers.modbus import driver as modbus

if TYPE_CHECKING:
    from collections.abc import Mapping


class Proven(Protocol):
    """What this test asks of a driver beyond its port."""

    name: str

    def models(self) -> Mapping[str, tuple[str, ...]]: ...

    def prove(self, model: str, /) -> list[str]: ...


DRIVERS: tuple[Proven, ...] = (mbus, modbus)
MODELS = [(driver, name) for driver in DRIVERS for name in driver.models()]


@pytest.mark.parametrize(("driver", "name"), MODELS, ids=[f"{driver.name}/{name}" for driver, name in MODELS])
def test_a_model_reads_its_proofs_as_expected(driver: Proven, name: str) -> None:
    assert driver.prove(name) == []


def test_every_protocol_has_models() -> None:
    assert {driver.name for driver, _ in MODELS} == {"mbus", "modbus"}
