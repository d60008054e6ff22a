from __future__ import annotations

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.registers import (
    WORDS,
    NumberForm,
    NumberType,
    RegisterError,
    WordOrder,
    float_resolves_below,
    letters,
    number,
    text,
)
from gateway.core.units import Scaled

# struct is the witness: it has nothing to do with the code under test
INTEGERS: dict[NumberType, str] = {"u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "u64": ">Q", "i64": ">q"}
FLOATS: dict[NumberType, str] = {"float32": ">f", "float64": ">d"}
ORDERS = st.sampled_from(("big", "little"))


def form(
    type_: NumberType,
    order: WordOrder = "big",
    scale: str = "1",
    exponent: int = 0,
    not_available: frozenset[int] = frozenset(),
) -> NumberForm:
    return NumberForm(
        type=type_, order=order, scale=Scaled.parse(scale), exponent=exponent, not_available=not_available
    )


def words_of(octets: bytes, order: WordOrder) -> list[int]:
    words = [high << 8 | low for high, low in zip(octets[::2], octets[1::2], strict=True)]
    return words if order == "big" else words[::-1]


@given(st.data(), st.sampled_from(sorted(INTEGERS)), ORDERS)
def test_every_integer_comes_back_exactly(data: st.DataObject, type_: NumberType, order: WordOrder) -> None:
    octets = data.draw(st.binary(min_size=2 * WORDS[type_], max_size=2 * WORDS[type_]))
    (expected,) = struct.unpack(INTEGERS[type_], octets)
    if abs(expected) >= 10**12:
        with pytest.raises(RegisterError, match="more than any counter shows; another model may be right"):
            number(words_of(octets, order), form(type_, order))
        return
    assert number(words_of(octets, order), form(type_, order)) == Scaled(expected, 0)


@given(st.data(), st.sampled_from(sorted(FLOATS)), ORDERS, st.integers(-9, 6))
def test_every_float_is_rounded_half_up_once(
    data: st.DataObject, type_: NumberType, order: WordOrder, exponent: int
) -> None:
    octets = data.draw(st.binary(min_size=2 * WORDS[type_], max_size=2 * WORDS[type_]))
    (expected,) = struct.unpack(FLOATS[type_], octets)
    words = words_of(octets, order)
    step = Fraction(10) ** exponent
    most = 10**12 - step / 2
    if expected and not (math.isfinite(expected) and Fraction(1, 10**12) <= abs(Fraction(expected)) < most):
        with pytest.raises(RegisterError):
            number(words, form(type_, order, exponent=exponent))
        return
    value = number(words, form(type_, order, exponent=exponent))
    error = abs(value.fraction) - abs(Fraction(expected))
    assert value.exponent == exponent
    assert -step / 2 < error <= step / 2


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=0, max_value=131072))
def test_a_float32_gives_the_hundredths_that_were_put_in(index: float) -> None:
    hundredths = round(index * 100)
    octets = struct.pack(">f", hundredths / 100)
    assert number(words_of(octets, "big"), form("float32", exponent=-2)) == Scaled(hundredths, -2)


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize(
    ("type_", "octets"),
    [
        ("float32", "00000001"),
        ("float32", "0001e240"),  # 123456, as meters send whole numbers
        ("float32", "007fffff"),
        ("float32", "807fffff"),
        ("float32", "00bc614e"),  # 12345678: no longer subnormal
        ("float32", "2b8cbccb"),  # the last one below 10^-12, as a whole number 730643659
        ("float64", "000000000001e240"),
        ("float64", "000fffffffffffff"),
        ("float64", "00000000499602d2"),
    ],
)
def test_a_float_next_to_nothing_is_a_whole_number_of_another_map_and_no_reading(
    type_: NumberType, octets: str, order: WordOrder
) -> None:
    with pytest.raises(RegisterError, match=rf"0x{octets} as {type_} is next to nothing and not 0; another model"):
        number(words_of(bytes.fromhex(octets), order), form(type_, order, "0.001", -2))


@pytest.mark.parametrize(("type_", "octets"), [("float32", "00000000"), ("float32", "80000000"), ("float64", "00" * 8)])
def test_a_counter_that_has_not_begun_is_0(type_: NumberType, octets: str) -> None:
    assert number(words_of(bytes.fromhex(octets), "big"), form(type_, exponent=-2)) == Scaled(0, -2)


def test_a_counter_that_has_hardly_begun_is_a_reading() -> None:
    hardly = words_of(struct.pack(">f", 1.1e-12), "big")
    assert number(hardly, form("float32", exponent=-2)) == Scaled(0, -2)
    assert number(words_of(struct.pack(">f", 0.006), "big"), form("float32", exponent=-2)) == Scaled(1, -2)


@pytest.mark.parametrize(
    ("type_", "octets", "scale", "exponent"),
    [
        ("float32", struct.pack(">f", 1e30).hex(), "1", -2),
        ("float32", struct.pack(">f", -1e30).hex(), "1", -2),
        ("float64", struct.pack(">d", 1e12).hex(), "1", -3),
        ("float64", struct.pack(">d", 1e15).hex(), "0.001", 9),
        ("u64", "ffffffffffffffff", "0.001", -3),
        ("i64", (-(10**15)).to_bytes(8, "big", signed=True).hex(), "0.001", -3),
    ],
)
def test_more_than_any_meter_counts_is_no_reading(type_: NumberType, octets: str, scale: str, exponent: int) -> None:
    with pytest.raises(RegisterError, match=f"0x{octets} as {type_} is more than any counter shows; another model"):
        number(words_of(bytes.fromhex(octets), "big"), form(type_, scale=scale, exponent=exponent))


def test_a_large_counter_is_a_reading() -> None:
    wh = words_of((10**15 - 1).to_bytes(8, "big"), "big")
    assert str(number(wh, form("u64", scale="0.001", exponent=-3))) == "999999999999.999"


def test_scale_and_exponent_count_in_the_registers_unit() -> None:
    assert str(number([0xE240, 0x0001], form("i32", "little", "0.1", -1))) == "12345.6"
    assert str(number([0x0001, 0xE240], form("u32", "big", "0.01", -3))) == "1234.560"
    assert str(number([0x0000, 0x0007], form("u32", "big", "1000", 0))) == "7000"
    assert (
        str(number(words_of(struct.pack(">f", 1500.0), "big"), form("float32", scale="0.001", exponent=-3))) == "1.500"
    )


def test_an_integer_that_does_not_fit_its_exponent_is_no_value() -> None:
    with pytest.raises(RegisterError, match="not a whole multiple"):
        number([15], form("u16", scale="0.1", exponent=0))


@pytest.mark.parametrize(
    ("type_", "octets", "reason"),
    [
        ("float32", "7fc00000", r"not a number \(NaN\)"),
        ("float32", "ffffffff", r"not a number \(NaN\)"),
        ("float32", "7f800000", "infinite"),
        ("float64", "fff0000000000000", "infinite"),
        ("i32", "7fffffff", r"not available \(0x7fffffff\)"),
        ("i32", "80000000", r"not available \(0x80000000\)"),
        ("u16", "ffff", r"not available \(0xffff\)"),
    ],
)
@pytest.mark.parametrize("order", ["big", "little"])
def test_what_means_no_value_is_never_one(type_: NumberType, octets: str, reason: str, order: WordOrder) -> None:
    patterns = frozenset({0x7FFFFFFF, 0x80000000, 0xFFFF})
    with pytest.raises(RegisterError, match=reason):
        number(words_of(bytes.fromhex(octets), order), form(type_, order, not_available=patterns))


def test_a_wrong_number_of_words_is_refused() -> None:
    with pytest.raises(RegisterError, match="1 words where u32 needs 2"):
        number([1], form("u32"))


@pytest.mark.parametrize(
    ("type_", "scale", "exponent", "below"),
    [("float32", "1", -2, 131072), ("float32", "0.001", -3, 16777), ("float32", "1", 0, 16777216)],
)
def test_a_float_says_from_where_on_it_is_coarse(type_: NumberType, scale: str, exponent: int, below: int) -> None:
    assert float_resolves_below(form(type_, scale=scale, exponent=exponent)) == below


def test_the_limit_of_a_float_is_where_its_steps_exceed_the_exponent() -> None:
    at = struct.unpack(">I", struct.pack(">f", 131072.0))[0]
    (before, after) = (struct.unpack(">f", struct.pack(">I", at + step))[0] - 131072.0 for step in (-1, 1))
    assert -before <= 0.01 < after


def test_letters_are_one_a_word_and_blanks_around_them_do_not_count() -> None:
    assert letters([0x0032, 0xFF37, 0x0053, 0x0000, 0x0020]) == "27S"
    with pytest.raises(RegisterError, match="no text"):
        letters([0x0001, 0x0002])


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"SN-0042\0", "SN-0042"),
        (b"\0S\0N  ", "SN"),
        ("Zähler-7".encode() + b"\0", "Zähler-7"),
        ("電力計1".encode(), "電力計1"),
    ],
)
def test_text_is_utf_8_wherever_the_nuls_stand(octets: bytes, expected: str) -> None:
    assert text(words_of(octets, "big")) == expected


@pytest.mark.parametrize(
    "octets", [b"Z\xe4hler-7", b"\xff\xfeAB", b"AB\r\n", b"AB\x7f ", "A\u202eB ".encode(), "AB\ufffd ".encode()]
)
def test_octets_that_are_no_printable_text_are_told_in_hex(octets: bytes) -> None:
    octets += b"\0" * (len(octets) % 2)
    with pytest.raises(RegisterError, match=rf"no text \(0x{octets.strip(bytes(1) + b' ').hex()}\)"):
        text(words_of(octets, "big"))
