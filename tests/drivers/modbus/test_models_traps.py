"""What goes wrong with real meters when one map is taken for all, told by the models' own files."""

from __future__ import annotations

import pytest

from drivers.modbus.model import ModbusModel, meter_models
from drivers.modbus.plan import Span
from gateway.ports.field import WrongAnswerError


def asked(name: str) -> list[tuple[int, int]]:
    """Addresses and counts of one read."""
    return [(request.address, request.count) for request in meter_models()[name].requests(with_serial=False)]


def read(model: ModbusModel, key: str, *words: int) -> str:
    (register,) = (register for register in model.registers if register.key == key)
    return str(register.value({register.span: words}).index)


@pytest.mark.parametrize(
    ("name", "most", "even"),
    [
        ("carlo-gavazzi-em24-rs485", 11, False),
        ("carlo-gavazzi-em340", 50, False),
        ("carlo-gavazzi-em111", 50, False),
        ("eastron-sdm230", 60, True),
        ("itron-cf-echo-2", 22, False),
    ],
)
def test_no_request_asks_for_more_than_the_meter_gives_at_once(name: str, most: int, even: bool) -> None:  # noqa: FBT001 - a case
    model = meter_models()[name]
    assert (model.limits.max_words, model.limits.even_counts) == (most, even)
    for request in (*model.requests(with_serial=True), *model.identity_requests):
        assert request.count <= most
        assert not (even and request.count % 2)


def test_the_tariffs_of_an_em24_are_asked_apart_from_its_totals() -> None:
    assert asked("carlo-gavazzi-em24-rs485") == [(0x3E, 2), (0x4C, 8), (0x5C, 2)]


def test_each_value_of_a_pac2200_has_its_own_request() -> None:
    assert asked("siemens-pac2200") == [(801, 4), (809, 4)]


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("abb-b23", "export", (0xFFFF,) * 4),
        ("socomec-countis-e24", "import", (0xFFFF,) * 2),
        ("carlo-gavazzi-em340", "import", (0xFFFF, 0x7FFF)),
        ("carlo-gavazzi-em24-rs485", "import", (0xFFFF, 0x7FFF)),
        ("itron-cf-echo-2", "heat", (0x4974, 0x23F0)),
    ],
)
def test_a_pattern_for_no_value_is_no_index(name: str, key: str, words: tuple[int, ...]) -> None:
    with pytest.raises(WrongAnswerError, match=f"register {key}: not available"):
        read(meter_models()[name], key, *words)


def test_a_counter_of_an_iskra_meter_is_read_in_the_power_of_ten_that_the_meter_says() -> None:
    model = meter_models()["iskra-wm3m4"]
    power, count = model.registers[0].spans[1], model.registers[0].span
    assert (power, count) == (Span(function=4, address=401, words=1), Span(function=4, address=406, words=2))
    for word, index in ((0, "1.234"), (3, "1234.000"), (0xFFFF, "0.123")):
        assert str(model.registers[0].value({power: (word,), count: (0, 1234)}).index) == index


def test_the_same_words_are_another_index_where_the_low_word_comes_first() -> None:
    assert read(meter_models()["carlo-gavazzi-em340"], "import", 0x0001, 0x0000) == "0.1"
    assert read(meter_models()["acrel-adw300"], "import", 0x0001, 0x0000) == "655.36"
    assert read(meter_models()["xylem-magflux"], "volume", 0x0001, 0, 0, 0) == "0.000000001"


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("siemens-pac1600", "4294967.296"),
        ("carlo-gavazzi-em340", "214748364.8"),
        ("saia-burgess-ale3", "1000000"),
        ("janitza-umg96rm-e", "None"),
    ],
)
def test_where_a_counter_begins_again_is_its_width_or_its_makers_range(name: str, index: str) -> None:
    assert str(meter_models()[name].registers[0].rolls_over_at) == index


def test_a_float32_of_watt_hours_moves_in_steps_of_two_above_16_7_megawatt_hours() -> None:
    model = meter_models()["janitza-umg96rm-e"]
    assert model.registers[0].resolves_below == "16777"
    assert [read(model, "import", 0x4B7F, 0xFFFF), read(model, "import", 0x4B80, 0x0000)] == ["16777.215", "16777.216"]
    assert read(model, "import", 0x4B80, 0x0001) == "16777.218"


@pytest.mark.parametrize(
    ("name", "printed", "address"),
    [
        ("schneider-iem3155", 3204, 3203),
        ("saia-burgess-ale3", 28, 27),
        ("eastron-sdm630", 30073 - 30000, 72),
        ("carlo-gavazzi-em24-rs485", 300063 - 300000, 62),
    ],
)
def test_a_register_that_the_maker_counts_from_1_is_one_less_on_the_wire(name: str, printed: int, address: int) -> None:
    assert meter_models()[name].registers[0].address == address == printed - 1


def test_an_integer_where_another_maker_has_a_float_is_another_model() -> None:
    eltako, eastron = meter_models()["eltako-dsz15dzmod"], meter_models()["eastron-sdm630"]
    assert eltako.registers[0].span == eastron.registers[0].span
    assert read(eltako, "import", 0x0012, 0xD687) == "12345.67"
    with pytest.raises(WrongAnswerError, match="register import: 0x0012d687 as float32 is next to nothing"):
        read(eastron, "import", 0x0012, 0xD687)


def test_a_meter_that_counts_before_its_transformers_is_refused_where_their_ratio_is_not_1() -> None:
    model = meter_models()["chint-dtsu666"]
    ratios = [fixed.span for fixed in model.identify]
    model.check_identity(dict(zip(ratios, [(1,), (10,)], strict=True)))
    for words, place in (((40,), (10,)), 6), (((1,), (1000,)), 7):
        with pytest.raises(WrongAnswerError, match=rf"in register {place} \(ratio of the"):
            model.check_identity(dict(zip(ratios, words, strict=True)))
