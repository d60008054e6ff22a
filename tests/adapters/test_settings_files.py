"""What lies in config/ for installers and their editors."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from jsonschema import Draft202012Validator

from gateway import drivers
from gateway.settings import Settings, load
from gateway.settings_schema import json_schema

CONFIG = Path(__file__).parents[2] / "config"


def test_the_editors_schema_is_current() -> None:
    lines = [drivers.find("mbus"), drivers.find("modbus")]
    current = json_schema(lines, [drivers.find_reader("wedge")], [drivers.find_machine("modbus-coil")])
    written = json.loads((CONFIG / "gateway.schema.json").read_text(encoding="utf-8"))
    assert written == current, "write it anew: submeter check --schema > config/gateway.schema.json"


def test_the_example_is_good_for_the_gateway_and_for_editors() -> None:
    loaded = load(CONFIG / "gateway.example.toml", drivers)
    assert isinstance(loaded, Settings), loaded
    validator = Draft202012Validator(json.loads((CONFIG / "gateway.schema.json").read_text(encoding="utf-8")))
    example = tomllib.loads((CONFIG / "gateway.example.toml").read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(example)] == []


def test_an_editor_sees_an_unknown_key_and_a_wrong_type_of_a_drivers_table() -> None:
    validator = Draft202012Validator(json.loads((CONFIG / "gateway.schema.json").read_text(encoding="utf-8")))
    example = tomllib.loads((CONFIG / "gateway.example.toml").read_text(encoding="utf-8"))
    example["bus"][0]["meter"][0]["adress"] = 1
    assert not validator.is_valid(example)
    del example["bus"][0]["meter"][0]["adress"]
    example["bus"][1]["port"] = "502"
    assert not validator.is_valid(example)
