"""Every model file of every protocol reads its own proofs right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from pydantic import BaseModel, ValidationError

from drivers.mbus import driver as mbus
from drivers.modbus import driver as modbus
from drivers.model import instead

if TYPE_CHECKING:
    from collections.abc import Mapping


class Proven(Protocol):
    """What this test asks of a driver beyond its port."""

    name: str
    meter_schema: type[BaseModel]

    def models(self) -> Mapping[str, tuple[str, ...]]: ...

    def prove(self, model: str, /) -> list[str]: ...


DRIVERS: tuple[Proven, ...] = (mbus, modbus)
MODELS = [(driver, name) for driver in DRIVERS for name in driver.models()]


@pytest.mark.parametrize(("driver", "name"), MODELS, ids=[f"{driver.name}/{name}" for driver, name in MODELS])
def test_a_model_reads_its_proofs_as_expected(driver: Proven, name: str) -> None:
    assert driver.prove(name) == []


def test_every_protocol_has_models() -> None:
    assert {driver.name for driver, _ in MODELS} == {"mbus", "modbus"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("abb-b32", "write e.g. abb-b23, abb-b21, abb-x, or add models/abb-b32.toml"),
        ("abb-counts-all", "write e.g. abb-b21, abb-b23, abb-delta, or add models/abb-counts-all.toml"),
        ("zzz", "`submeter check --schema` lists all, or add models/zzz.toml"),
    ],
)
def test_instead_of_a_model_that_nobody_knows_a_few_are_named_that_are_like_it(name: str, told: str) -> None:
    assert instead(name, ["itron-cf-55", "abb-b21", "abb-b23", "abb-delta", "abb-x", "eastron-sdm630"]) == told


@pytest.mark.parametrize("driver", DRIVERS, ids=[driver.name for driver in DRIVERS])
def test_a_model_that_nobody_knows_is_refused_in_a_short_sentence(driver: Proven) -> None:
    with pytest.raises(ValidationError, match="`submeter check --schema` lists all") as refused:
        driver.meter_schema.model_validate({"model": "zzz", "address": 1})
    (error,) = refused.value.errors()
    assert len(error["msg"]) < 140


@pytest.mark.parametrize("driver", DRIVERS, ids=[driver.name for driver in DRIVERS])
def test_the_schema_for_editors_lists_every_model(driver: Proven) -> None:
    (field,) = [each for name, each in driver.meter_schema.model_json_schema()["properties"].items() if name == "model"]
    assert set(field["examples"]) == set(driver.models())
