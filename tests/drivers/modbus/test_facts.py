"""The model files say what was read in the sources, compared with a list of facts that was made apart from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drivers.modbus.model import meter_models
from gateway.core.units import Scaled

FACTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "facts.json").read_text("utf-8"))["meters"]
CASES = [(fact, name) for fact in FACTS for name in fact["files"]]
IMPORT_ONLY = {"abb-b21-steel", "abb-b23-steel", "schneider-iem3150", "bg-ds100"}
"""variants without an export counter, and the DS100, whose export address the facts call suspect"""
COUNTED_FROM_1 = {"saia-burgess-ale3-bidirectional"}
"""the facts leave open where they count from; the source's own code asks for the register number - 1"""
CORRECTED = {"carlo-gavazzi-em24-rs485": 0x3E}
"""the facts have 0042h, the partial counter by the maker's protocol"""
OTHER_KEYS = {"orno-or-we-514": "total"}
NOT_OF_THE_FACTS = {
    "carlo-gavazzi-et112",
    "eastron-sdm230-2t",
    "finder-7e-23",
    "itron-cf-echo-2",
    "saia-burgess-ald1",
    "saia-burgess-ald1-bidirectional",
    "saia-burgess-ale3",
    "saia-burgess-awd3",
    "xylem-magflux",
}
"""read in the makers' papers later; what the facts say of ALE3 and AWD3 holds for the bidirectional ALE3 only"""


def test_every_meter_of_the_facts_has_a_file_and_every_file_its_facts() -> None:
    assert len(FACTS) == 31
    assert {name for _, name in CASES} == set(meter_models()) - NOT_OF_THE_FACTS


@pytest.mark.parametrize(("fact", "name"), CASES, ids=[name for _, name in CASES])
def test_a_file_says_what_the_facts_say(fact: dict[str, Any], name: str) -> None:
    registers = {register.key: register for register in meter_models()[name].registers}
    base = 1 if name in COUNTED_FROM_1 else 0
    imported = registers[OTHER_KEYS.get(name, "import")]
    assert imported.address == CORRECTED.get(name, fact["import"] - base)
    assert imported.function in fact["functions"]
    assert (imported.type, imported.order) == (fact["type"], fact["order"])
    if fact["scale"] is None:
        assert imported.scale_register is not None
    else:
        assert imported.unit == "kWh"
        assert imported.form.scale == Scaled.parse(fact["scale"])
    if fact["export"] is None or name in IMPORT_ONLY:
        assert "export" not in registers
    else:
        exported = registers["export"]
        assert exported.address == fact["export"] - base
        assert (exported.type, exported.scale, exported.function) == (imported.type, imported.scale, imported.function)


@pytest.mark.parametrize(("fact", "name"), CASES, ids=[name for _, name in CASES])
def test_a_file_keeps_the_limits_and_patterns_of_the_facts(fact: dict[str, Any], name: str) -> None:
    model = meter_models()[name]
    assert model.limits.max_words == (fact["max_words"] or 125)
    for register in model.registers:
        assert bool(register.not_available) == bool(fact["not_available"])
