"""What a map of registers can say, and what is refused in one."""

from __future__ import annotations

import struct
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.modbus.model import ModbusModel, RegisterMap, meter_models
from drivers.modbus.plan import Span
from drivers.modbus.proof import failures
from gateway.ports.field import WrongAnswerError

FOLDER = Path(__file__).parents[3] / "drivers" / "modbus" / "models"
README = FOLDER.parents[1] / "README.md"
REGISTER = {
    "key": "import",
    "kind": "energy",
    "unit": "kWh",
    "exponent": -3,
    "obis": "1-0:1.8.0",
    "function": 3,
    "address": 100,
    "type": "u32",
    "order": "big",
    "scale": "0.001",
    "not_available": [],
}
EXPORT = {**REGISTER, "key": "export", "address": 102, "obis": "1-0:2.8.0"}
SCALED = {**REGISTER, "scale_register": {"function": 3, "address": 110}}


def map_of(*registers: dict[str, Any], **more: object) -> RegisterMap:
    return RegisterMap.model_validate({"register": list(registers), **more})


def holding(address: int, *words: int) -> tuple[Span, tuple[int, ...]]:
    return Span(function=3, address=address, words=len(words)), words


def index(map_: RegisterMap, *pieces: tuple[Span, tuple[int, ...]]) -> str:
    (value,) = map_.values(dict(pieces))
    return str(value.index)


@pytest.mark.parametrize(("power", "expected"), [(0, "12.345"), (2, "1234.500"), (-1, "1.235"), (-3, "0.012")])
def test_a_counters_power_of_ten_may_stand_in_another_register_and_is_rounded_half_up(
    power: int, expected: str
) -> None:
    assert index(map_of(SCALED), holding(100, 0, 12345), holding(110, power & 0xFFFF)) == expected


@pytest.mark.parametrize("word", [0x8000, 11, 0xFFFF & -11])
def test_a_scale_register_that_holds_no_power_of_ten_gives_no_value(word: int) -> None:
    with pytest.raises(WrongAnswerError, match=r"register import: its scale register holds 0x[0-9a-f]{4}"):
        index(map_of(SCALED), holding(100, 0, 1), holding(110, word))


def test_a_scale_register_is_asked_for_with_its_counter() -> None:
    (request,) = map_of(SCALED).requests(with_serial=False)
    assert (request.address, request.count) == (100, 11)


@pytest.mark.parametrize(
    ("type_", "scale", "expected"),
    [
        ("u32", "0.1", "429496729.6"),
        ("u32", "0.01", "42949672.96"),
        ("i32", "0.1", "214748364.8"),
        ("u16", "1", "65536"),
        ("u64", "0.01", "184467440737095516.16"),
    ],
)
def test_an_integer_begins_again_where_its_width_ends(type_: str, scale: str, expected: str) -> None:
    register = {**REGISTER, "type": type_, "scale": scale}
    assert str(map_of(register).registers[0].rolls_over_at) == expected


def test_a_model_may_say_that_a_counter_begins_again_earlier() -> None:
    assert str(map_of({**REGISTER, "modulus": "100000"}).registers[0].rolls_over_at) == "100000"


def test_a_value_says_where_its_counter_begins_again() -> None:
    earlier = map_of({**REGISTER, "modulus": "100000"})
    (value,) = earlier.values({earlier.registers[0].span: (0, 1)})
    assert str(value.modulus) == "100000"


def test_where_a_float_or_a_scaled_counter_begins_again_is_not_known() -> None:
    floating = {**REGISTER, "type": "float32", "scale": "1", "exponent": -2, "resolves_below": "131072"}
    assert map_of(floating).registers[0].rolls_over_at is None
    assert map_of(SCALED).registers[0].rolls_over_at is None


FLOATING = {**REGISTER, "type": "float32", "scale": "1", "exponent": -2, "resolves_below": "131072"}
WHOLE = {**EXPORT, "not_available": ["7fffffff"]}


def given(map_: RegisterMap, *pieces: tuple[Span, tuple[int, ...]]) -> tuple[dict[str, str], dict[str, str]]:
    values, without = map_.given(dict(pieces))
    return {each.register: str(each.index) for each in values}, {each.register: each.why for each in without}


@pytest.mark.parametrize(
    ("import_", "export", "values", "without"),
    [
        ((0, 5000), (0, 250), {"import": "5.000", "export": "0.250"}, {}),
        ((0, 5000), (0x7FFF, 0xFFFF), {"import": "5.000"}, {"export": "not available (0x7fffffff)"}),
        ((0xFFFF, 0xFFFF), (0, 250), {"export": "0.250"}, {"import": "not available (0xffffffff)"}),
    ],
)
def test_a_register_without_a_value_is_named_and_the_others_are_read(
    import_: tuple[int, int], export: tuple[int, int], values: dict[str, str], without: dict[str, str]
) -> None:
    map_ = map_of({**REGISTER, "not_available": ["ffffffff"]}, WHOLE)
    assert given(map_, holding(100, *import_), holding(102, *export)) == (values, without)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((0x7FC0, 0x0000), "not a number (NaN)"),
        ((0xFFFF, 0xFFFF), "not a number (NaN)"),
        ((0x7F80, 0x0000), "infinite"),
    ],
)
def test_a_float_that_is_no_number_is_a_register_without_a_value(words: tuple[int, int], why: str) -> None:
    assert given(map_of(FLOATING, WHOLE), holding(100, *words), holding(102, 0, 250)) == (
        {"export": "0.250"},
        {"import": why},
    )


def test_a_counter_whose_scale_is_not_implemented_has_no_value() -> None:
    found = given(map_of(SCALED, EXPORT), holding(100, 0, 1), holding(110, 0x8000), holding(102, 0, 250))
    assert found[0] == {"export": "0.250"}
    assert "scale register holds 0x8000" in found[1]["import"]


def test_a_meter_without_any_value_is_refused() -> None:
    map_ = map_of({**REGISTER, "not_available": ["ffffffff"]}, WHOLE)
    with pytest.raises(WrongAnswerError, match=r"no value for register import: not available \(0xffffffff\)"):
        map_.given(dict([holding(100, 0xFFFF, 0xFFFF), holding(102, 0x7FFF, 0xFFFF)]))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((0x0001, 0xE240), "0x0001e240 as float32 is next to nothing and not 0; another model may be right"),
        ((0x7149, 0xF2CA), "0x7149f2ca as float32 is more than any counter shows; another model may be right"),
    ],
)
def test_words_of_another_map_in_one_register_are_words_of_another_map_in_all(words: tuple[int, int], why: str) -> None:
    with pytest.raises(WrongAnswerError, match=f"register import: {why}"):
        map_of(FLOATING, EXPORT).given(dict([holding(100, *words), holding(102, 0, 0)]))


def test_a_scale_that_is_no_power_of_ten_is_another_map() -> None:
    with pytest.raises(WrongAnswerError, match="scale register holds 0x1234"):
        map_of(SCALED, EXPORT).given(dict([holding(100, 0, 1), holding(110, 0x1234), holding(102, 0, 250)]))


FIXED = {"says": "identification code", "function": 3, "address": 11, "one_of": ["0670", "0671"]}


def test_words_that_every_such_meter_holds_are_asked_for_only_to_identify_it() -> None:
    map_ = map_of(REGISTER, identify=[FIXED])
    assert [request.address for request in map_.requests(with_serial=True)] == [100]
    assert [request.address for request in map_.identity_requests] == [11]


def test_a_meter_with_another_maps_words_is_refused() -> None:
    map_ = map_of(REGISTER, identify=[FIXED])
    map_.check_identity(dict([holding(11, 0x0671)]))
    with pytest.raises(WrongAnswerError, match=r"holds 0047 in register 11 \(identification code\).*0670, 0671; corr"):
        map_.check_identity(dict([holding(11, 0x0047)]))


def test_a_proof_whose_words_are_another_maps_is_none() -> None:
    file = tomllib.loads((FOLDER / "carlo-gavazzi-em24-e1.toml").read_text("utf-8"))
    file["proof"][0]["raw"] = file["proof"][0]["raw"].replace("01 03 02 0670", "01 03 02 0047")
    (found,) = failures(ModbusModel.model_validate(file))
    assert "holds 0047 in register 11 (identification code)" in found


def test_only_the_bits_of_the_mask_count() -> None:
    map_ = map_of(REGISTER, identify=[{**FIXED, "one_of": ["0006", "000c"], "mask": "000f"}])
    map_.check_identity(dict([holding(11, 0xAB6C)]))
    with pytest.raises(WrongAnswerError, match="holds ab69"):
        map_.check_identity(dict([holding(11, 0xAB69)]))


@pytest.mark.parametrize(
    ("form", "words", "expected"),
    [
        ("letters", (0x0032, 0x0037, 0x0053), "27S"),
        ("text", (0x4258, 0x3034, 0x4B00), "BX04K"),
        ("text", (0x0032, 0x0037, 0x0053), "27S"),
        ("number", (0x000B, 0xC614), "771604"),
    ],
)
def test_a_serial_number_may_be_letters_text_or_a_number(form: str, words: tuple[int, ...], expected: str) -> None:
    map_ = map_of(REGISTER, serial={"function": 3, "address": 0, "words": len(words), "form": form})
    assert map_.serial_in(dict([holding(0, *words)])) == expected


@pytest.mark.parametrize(
    ("registers", "more", "text"),
    [
        ([REGISTER, {**EXPORT, "address": 101}], {}, "import at 100 and export at 101 overlap: import has 2 words"),
        ([REGISTER, {**EXPORT, "address": 100}], {}, "import at 100 and export at 100 overlap"),
        ([{**SCALED, "scale_register": {"function": 3, "address": 101}}], {}, "import at 100 and a scale_register at"),
        ([REGISTER], {"identify": [{**FIXED, "address": 100}]}, "identification code at 100 and import at 100 overlap"),
        (
            [REGISTER],
            {"serial": {"function": 3, "address": 95, "words": 6, "form": "text"}},
            "serial at 95 and import at 100 overlap",
        ),
        ([{**REGISTER, "modulus": "4294967.297"}], {}, r"more than u32 times 0.001 can hold; write 4294967.296"),
        ([{**REGISTER, "modulus": "0"}], {}, "no number above 0"),
        ([{**REGISTER, "modulus": "0.0001"}], {}, "not a whole multiple"),
        ([REGISTER], {"identify": [{**FIXED, "one_of": ["0670", "06700000"]}]}, "same number of hex digits"),
        ([REGISTER], {"identify": [{**FIXED, "mask": "00ff0000"}]}, "same number of hex digits"),
        (
            [{**SCALED, "type": "float32", "scale": "1", "exponent": -2, "resolves_below": "131072"}],
            {},
            "scale_register is for integers",
        ),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(
    registers: list[dict[str, Any]], more: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValidationError, match=text):
        map_of(*registers, **more)


def test_two_counters_may_share_their_scale_register() -> None:
    exporting = {**EXPORT, "scale_register": SCALED["scale_register"]}
    assert len(map_of(SCALED, exporting).registers) == 2


def test_the_same_address_is_another_place_in_the_other_address_space() -> None:
    assert len(map_of(REGISTER, {**EXPORT, "address": 100, "function": 4}).registers) == 2


@pytest.mark.parametrize("name", meter_models())
def test_every_file_says_how_far_its_sources_agree_and_where_its_integers_begin_again(name: str) -> None:
    file = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    model = meter_models()[name]
    assert model.agreement
    assert file["verified_on"] == []
    for register in model.registers:
        fixed = not register.form.is_float and register.scale_register is None
        assert (register.modulus is not None) == fixed


def test_meters_that_share_a_name_and_not_a_map_are_told_apart() -> None:
    ethernet, serial = meter_models()["carlo-gavazzi-em24-e1"], meter_models()["carlo-gavazzi-em24-rs485"]
    assert ethernet.registers[0].address == 0x34
    assert serial.registers[0].address == 0x3E
    assert [fixed.address for fixed in ethernet.identify] == [0x0B, 0xA000]
    assert [fixed.address for fixed in serial.identify] == [0x0B]
    codes = [set(model.identify[0].one_of) for model in (ethernet, serial)]
    assert not codes[0] & codes[1]
    assert serial.limits.max_words == 11


def test_a_sample_meter_with_the_words_the_other_way_round_is_refused() -> None:
    model = meter_models()["carlo-gavazzi-em111"]
    model.check_identity(dict([holding(0x0B, 103)]))
    with pytest.raises(WrongAnswerError, match=r"holds 006f in register 11 \(identification code\)"):
        model.check_identity(dict([holding(0x0B, 111)]))


def test_a_meter_with_two_tariffs_is_not_read_as_one_with_two_directions() -> None:
    by_tariff, by_direction = meter_models()["saia-burgess-ale3"], meter_models()["saia-burgess-ale3-bidirectional"]
    assert [register.address for register in by_tariff.registers] == [27, 31]
    assert [register.address for register in by_direction.registers] == [27, 31]
    words = dict([holding(6, 0x414C, 0x4533, 0x4435, 0x4644)])
    by_tariff.check_identity(words)
    with pytest.raises(WrongAnswerError, match=r"holds 414c453344354644 in register 6 \(type\)"):
        by_direction.check_identity(words)


def test_the_meter_in_the_readme_is_a_model() -> None:
    section = README.read_text("utf-8").partition("## Modbus: a meter in twelve lines")[2]
    example = section.partition("~~~toml\n")[2].partition("~~~")[0]
    assert ModbusModel.model_validate(tomllib.loads(example)).keys == ("import",)


def test_999999_of_an_itron_meter_is_an_alarm_and_no_index() -> None:
    model = meter_models()["itron-cf-echo-2"]
    high, low = struct.unpack(">HH", struct.pack(">f", 999999.0))
    with pytest.raises(WrongAnswerError, match="register heat: not available"):
        model.values({register.span: (high, low) for register in model.registers})
