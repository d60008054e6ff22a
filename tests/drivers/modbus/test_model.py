from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from drivers.modbus import driver
from drivers.modbus.model import ModbusModel
from drivers.modbus.proof import failures, read_raw
from drivers.modbus.settings import BusSettings, MeterSettings
from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from gateway.ports.field import Driver

MODELS = Path(__file__).parents[3] / "drivers" / "modbus" / "models"


def table(name: str) -> dict[str, Any]:
    return tomllib.loads((MODELS / f"{name}.toml").read_text("utf-8"))


def test_the_driver_is_one_to_the_gateway() -> None:
    as_the_gateway_sees_it: Driver = driver  # what mypy proves
    assert as_the_gateway_sees_it.name == "modbus"


@pytest.mark.parametrize("name", ["carlo-gavazzi-em340", "eastron-sdm630"])
def test_each_model_gives_import_and_export_and_proves_itself(name: str) -> None:
    assert driver.models()[name] == ("import", "export")
    assert driver.prove(name) == []


def test_the_example_in_the_readme_is_a_model_that_proves_itself() -> None:
    section = (MODELS.parents[1] / "README.md").read_text("utf-8").partition("## Modbus")[2]
    example = section.partition("~~~toml")[2].partition("~~~")[0]
    assert failures(ModbusModel.model_validate(tomllib.loads(example))) == []


def test_a_proof_that_expects_something_else_says_what() -> None:
    wrong = table("eastron-sdm630")
    wrong["proof"][0]["expect"]["import"] = "12345.68"
    (found,) = failures(ModbusModel.model_validate(wrong))
    assert "import is '12345.67', expected '12345.68'" in found


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("000100000006 01 03 0034 0002", "not complete pairs"),
        ("000100000006 01 03 0034 0002 000200000007 01 03 04 e2400001", "followed by another one's answer"),
        ("000100000006 01 03 0035 0002 000100000007 01 03 04 e2400001", "0300350002 is no request of this model"),
        ("000100000006 01 03 0034 0002 000100000007 01 03 04 e2400001", "nothing asks for export"),
        ("000100010006 01 03 0034 0002", "no Modbus TCP frame"),
    ],
)
def test_a_raw_answer_that_is_not_the_models_conversation_is_refused(raw: str, text: str) -> None:
    model = ModbusModel.model_validate(table("carlo-gavazzi-em340"))
    with pytest.raises(WrongAnswerError, match=text):
        read_raw(model, bytes.fromhex(raw))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"type": "u16"}, "not_available needs 4 hex digits for u16"),
        ({"scale": "0.01"}, "not a whole multiple"),
        ({"scale": "1e-1"}, "not a plain decimal"),
        ({"resolves_below": "131072"}, "is for floats"),
        ({"type": "float32"}, "resolves_below must be '1677721'"),
        ({"address": 0xFFFF}, "import: 2 words at 65535 reach behind the last address 65535"),
        ({"scale": "0"}, "scale 0 is no number above 0"),
        ({"scale": "-0.1"}, "scale -0.1 is no number above 0"),
        ({"type": "float32", "scale": "0"}, "scale 0 is no number above 0"),
        ({"address": 70000}, "less than or equal to 65535"),
        ({"function": 6}, "Input should be 3 or 4"),
        ({"order": "middle"}, "Input should be 'big' or 'little'"),
        ({"words": 2}, "Extra inputs are not permitted"),
    ],
)
def test_a_register_that_cannot_be_exact_or_cannot_be_asked_is_refused(change: dict[str, Any], text: str) -> None:
    file = table("carlo-gavazzi-em340")
    file["register"][0] |= change
    with pytest.raises(ValidationError, match=text):
        ModbusModel.model_validate(file)


def test_a_register_must_say_what_means_no_value() -> None:
    file = table("carlo-gavazzi-em340")
    del file["register"][0]["not_available"]
    with pytest.raises(ValidationError, match="Field required"):
        ModbusModel.model_validate(file)


def test_settings_have_the_ports_and_times_of_modbus_tcp() -> None:
    settings = BusSettings.model_validate({"host": "10.0.0.5"})
    assert (settings.place, settings.timeout) == ("10.0.0.5:502", 1.0)
    assert BusSettings.model_validate({"host": "10.0.0.5", "port": 1502}).place == "10.0.0.5:1502"
    assert BusSettings.model_validate({"host": "10.0.0.5", "timeout": 2}).timeout == 2


@pytest.mark.parametrize(
    ("meter", "text"),
    [
        ({"model": "eastron", "address": 1}, "no Modbus model 'eastron'"),
        ({"model": "eastron-sdm630", "address": 256}, "less than or equal to 255"),
        ({"model": "eastron-sdm630", "address": "1"}, "valid integer"),
        ({"model": "eastron-sdm630", "address": 1, "unit": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_meter_that_cannot_be_wired_is_refused(meter: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        MeterSettings.model_validate(meter)


def test_a_meter_without_a_battery_may_be_read_at_will() -> None:
    assert driver.reads_per_day(MeterSettings(model="eastron-sdm630", address=1)) is None
