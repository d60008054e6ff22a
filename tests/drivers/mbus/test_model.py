"""A billed register is exactly the record that the model names, holding a value; everything else is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.mbus import driver
from drivers.mbus.model import MODELS, MBusModel, read_registers
from drivers.mbus.settings import BusSettings, MeterSettings
from drivers.mbus.telegram import decode
from drivers.model import ModelFileError, ModelFiles, mismatches
from gateway.core.units import Scaled
from gateway.ports.field import WrongAnswerError
from tests.drivers.mbus.slave import long_frame

HEADER = "72785634122440010755000000"


def model(**changes: object) -> MBusModel:
    """One register: Wh by VIF 03, delivered in kWh."""
    register = {
        "key": "import",
        "kind": "energy",
        "dib_vib": "0403",
        "unit": "kWh",
        "exponent": -3,
        "obis": "1-0:1.8.0",
    }
    proof = {
        "origin": "constructed",
        "source": "here",
        "raw": "00",
        "expect": {"serial": "1", "status": 0, "import": "0"},
    }
    return MBusModel.model_validate(
        {
            "protocol": "mbus",
            "make": "Test",
            "models": ["one register"],
            "identity": {"manufacturer": "PAD", "medium": 7},
            "register": [register | changes],
            "proof": [proof],
        }
    )


def read(records: str, **changes: object) -> str:
    telegram = decode(long_frame(bytes.fromhex(HEADER + records)))
    (value,), _ = read_registers(model(**changes), [telegram])
    return str(value.index)


def test_a_register_is_converted_exactly() -> None:
    assert read("0403 ffffff7f") == "2147483.647"
    assert read("0403 ffffff7f", unit="MWh", exponent=-6) == "2147.483647"
    assert read("0403 10270000", exponent=0) == "10"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ("0903 99", Scaled(1, -1)),
        ("0a03 9999", Scaled(1, 1)),
        ("0b03 999999", Scaled(1, 3)),
        ("0c03 99999999", Scaled(1, 5)),
        ("0c06 99999999", Scaled(1, 8)),
        ("0e03 999999999999", Scaled(1, 9)),
        ("0403 ffffff7f", None),  # how many digits its counter has, a binary number does not say
        ("0503 00004842", None),
        ("0d03c4 99999999", None),
        ("0c837d 99999999", Scaled(1, 8)),  # times a thousand
        ("0c837b 99999999", None),  # with a constant added
    ],
)
def test_a_counter_begins_again_where_its_digits_end(records: str, expected: Scaled | None) -> None:
    dib_vib = records.partition(" ")[0]
    telegram = decode(long_frame(bytes.fromhex(HEADER + records)))
    (value,), _ = read_registers(model(dib_vib=dib_vib), [telegram])
    assert value.modulus == expected


def test_the_same_bytes_several_times_are_told_apart_by_their_occurrence() -> None:
    twice = "0403 01000000 0c78 12345678 0403 02000000"

    assert read(twice) == "0.001"
    assert read(twice, occurrence=1) == "0.002"
    with pytest.raises(WrongAnswerError, match=r"record 0403 \(2\) is not in the answer"):
        read(twice, occurrence=2)


@pytest.mark.parametrize(
    "records",
    [
        pytest.param("4403 01000000", id="another storage"),
        pytest.param("841003 01000000", id="another tariff"),
        pytest.param("844003 01000000", id="another subunit"),
        pytest.param("1403 01000000", id="another function"),
        pytest.param("04833b 01000000", id="with an extension"),
        pytest.param("0c03 01000000", id="another coding"),
        pytest.param("0404 01000000", id="another exponent"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_record_that_differs_in_any_bit_is_not_the_register(records: str) -> None:
    with pytest.raises(WrongAnswerError, match=r"register import: record 0403 \(0\) is not in the answer"):
        read(records)


@pytest.mark.parametrize(
    ("records", "dib_vib"),
    [
        pytest.param("0c03 bdebdddd", "0c03", id="a display code"),
        pytest.param("048315 01000000", "048315", id="a record error"),
        pytest.param("0403 00000080", "0403", id="the smallest number, which says that there is none"),
        pytest.param("0503 0000c07f", "0503", id="not a number"),
        pytest.param("0003", "0003", id="no data"),
        pytest.param("0d0303 313233", "0d0303", id="text"),
        pytest.param("0413 01000000", "0413", id="a volume"),
        pytest.param("042b 01000000", "042b", id="a power"),
        pytest.param("02836f 1f0c", "02836f", id="a date"),
    ],
)
def test_what_is_no_value_of_the_kind_is_never_a_reading(records: str, dib_vib: str) -> None:
    with pytest.raises(WrongAnswerError, match=f"register import: record {dib_vib} holds no energy"):
        read(records, dib_vib=dib_vib)


@pytest.mark.parametrize(
    ("records", "changes", "text"),
    [
        ("0408 01000000", {"dib_vib": "0408"}, "J cannot be turned into kWh; correct the unit"),
        ("04fb0c 01000000", {"dib_vib": "04fb0c"}, "cal cannot be turned into kWh; correct the unit"),
        ("0402 01000000", {"dib_vib": "0402"}, r"no whole multiple|not a whole multiple"),
    ],
)
def test_a_unit_or_exponent_that_does_not_fit_is_refused(records: str, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(WrongAnswerError, match=f"register import: .*{text}"):
        read(records, **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"unit": "m3"}, "'m3' is no unit of energy"),
        ({"unit": "furlong"}, "'furlong' is no unit of energy"),
        ({"kind": "volume"}, "'kWh' is no unit of volume"),
        ({"key": "status"}, "cannot have the key 'status'"),
        ({"key": "Import"}, "should match pattern"),
        ({"exponent": "-3"}, "should be a valid integer"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
        ({"key": "export"}, "a proof expects exactly serial, status, export"),
    ],
)
def test_a_model_file_with_a_mistake_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        model(**changes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("protocol = ", "is not TOML: Invalid value"),
        ("protocol = 'modbus'", "protocol: \"modbus\" is not one of 'mbus'; identity: is missing"),
        ("[identity]\nmanufacturer = 'abc'\nmedium = 999", 'manufacturer: "abc" does not fit: write three capital'),
        ("[identity]\nmedium = 999", "identity.medium: 999 is too large; write 255 or less"),
        ("[[register]]\nkey = 5\ncolour = 'red'", r"register\[0\].key: 5 is no text; put it into quotes"),
        ("[[register]]\ncolour = 'red'", r"register\[0\].colour: this key is not known; remove it"),
        ("\udcff", "is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_broken_model_file_is_named_in_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "broken.toml").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(ModelFileError, match=f"model file broken.toml.*{reason}") as caught:
        dict(ModelFiles(tmp_path, MBusModel))
    assert "\n" not in str(caught.value)
    assert "nput should" not in str(caught.value)


def test_a_wrong_expectation_does_not_prove_a_model() -> None:
    proof = MODELS["itron-bm-plus-m"].proof[0]
    telegram = decode(proof.octets)
    values, _ = read_registers(MODELS["itron-bm-plus-m"], [telegram])

    found = mismatches(proof.model_copy(update={"expect": proof.expect | {"volume": "54.322"}}), "1", 0, values)

    assert found == [
        "libmbus itron_bm_+m: serial is '1', expected '11490378'",
        "libmbus itron_bm_+m: volume is '54.321', expected '54.322'",
    ]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"model": "itron-cf-56", "address": 1}, "is no model of an M-Bus meter; write e.g. itron-cf-55"),
        ({"model": "itron-cf-55", "address": 251}, "less than or equal to 250"),
        ({"model": "itron-cf-55", "address": 1, "serial": "A1"}, "should match pattern"),
        ({"model": "itron-cf-55", "address": 1, "adress": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_meter_that_cannot_be_wired_is_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        MeterSettings.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"host": "", "port": 10001}, "at least 1 character"),
        ({"host": "a", "port": 0}, "greater than or equal to 1"),
        ({"host": "a", "port": 1, "baud": 2401}, "2401 is no baud rate of the M-Bus"),
        ({"host": "a", "port": 1, "timeout": 0}, "greater than 0"),
        ({"host": "a", "port": 1, "baudrate": 2400}, "Extra inputs are not permitted"),
    ],
)
def test_a_line_that_cannot_be_opened_is_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        BusSettings.model_validate(settings)


def test_the_models_tell_their_registers() -> None:
    assert driver.models()["itron-cf-55"] == ("heat", "volume")
    assert driver.models()["emu-professional-375"] == ("import", "import-t2")


def test_the_example_of_the_readme_is_a_proven_model() -> None:
    readme = Path(__file__).parents[3] / "drivers" / "README.md"
    (example,) = re.findall(r"```toml\n(.*?)```", readme.read_text("utf-8"), re.DOTALL)
    described = MBusModel.model_validate(tomllib.loads(example))

    (proof,) = described.proof
    telegram = decode(proof.octets)
    values, _ = read_registers(described, [telegram])

    assert mismatches(proof, telegram.header.id or "", telegram.header.status or 0, values) == []


def test_the_reads_a_day_are_those_of_the_models_file() -> None:
    assert driver.reads_per_day(MeterSettings(model="itron-cf-55", address=1)) == 300
    assert driver.reads_per_day(MeterSettings(model="emu-professional-375", address=1)) is None
