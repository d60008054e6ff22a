"""What simulated Modbus meters show: every model file's raw answers from its values, limits, rollover, no value."""

from __future__ import annotations

import struct
import tomllib
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import pytest

from simulators.modbus import Counter, Layout, Limits, SerialNumber, Unit, layouts, layouts_of_models, sunspec
from simulators.modbus.layouts import MODELS
from simulators.modbus.sunspec import FLOATS, INTEGERS

if TYPE_CHECKING:
    from simulators.modbus.layouts import Type

KINDS = layouts_of_models()
KWH = 1000
"""Wh"""


def proofs(kind: str) -> list[dict[str, Any]]:
    """Those of all registers."""
    with (MODELS / f"{kind}.toml").open("rb") as file:
        found: list[dict[str, Any]] = tomllib.load(file)["proof"]
    return [proof for proof in found if not proof.get("partial")]


def pdus(raw: bytes) -> list[tuple[bytes, bytes]]:
    """Request and answer, by turns in Modbus TCP frames."""
    found = []
    while raw:
        end = 6 + int.from_bytes(raw[4:6], "big")
        found.append(raw[7:end])
        raw = raw[end:]
    return list(zip(found[::2], found[1::2], strict=True))


def ask(function: int, address: int, count: int) -> bytes:
    return struct.pack(">BHH", function, address, count)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_values_of_a_models_proof_make_its_raw_answers(kind: str) -> None:
    layout = KINDS[kind]
    for proof in proofs(kind):
        expect = proof["expect"]
        counts = {key: Fraction(expect[key]) / Fraction(counter.step) for key, counter in layout.counters.items()}
        assert all(count.denominator == 1 for count in counts.values())
        unit = Unit(
            address=1,
            layout=layout,
            counts={key: int(count) for key, count in counts.items()},
            serial=expect["serial"] or None,
        )
        for request, answer in pdus(bytes.fromhex(proof["raw"])):
            assert unit.answer(request).hex() == answer.hex()


def test_the_layouts_of_the_simulated_buildings_are_those_of_the_models() -> None:
    for kind, layout in layouts().items():
        for key, counter in layout.counters.items():
            theirs = KINDS[kind].counters[key]
            assert (counter.function, counter.address) == (theirs.function, theirs.address)
            assert counter.encode(1234) == theirs.encode(1234)


def test_more_than_the_read_limit_and_an_odd_count_where_it_must_be_even_are_exception_3() -> None:
    layout = KINDS["eastron-sdm630"]
    meter = Unit(address=1, layout=layout)
    assert layout.limits == Limits(max_words=60, even_counts=True)
    assert meter.answer(ask(4, 72, 4))[0] == 4
    for count in (0, 3, 62, 126):
        assert meter.answer(ask(4, 72, count)) == bytes((0x84, 3))


def test_another_function_is_exception_1_and_another_address_exception_2() -> None:
    meter = Unit(address=1, layout=KINDS["eastron-sdm630"])
    assert meter.answer(ask(3, 72, 2)) == bytes((0x83, 1))
    assert meter.answer(ask(4, 72, 2) + b"\0") == bytes((0x84, 1))
    assert meter.answer(ask(4, 70, 4)) == bytes((0x84, 2))


def test_a_barrier_and_a_part_of_a_value_behind_it_are_exception_2() -> None:
    counter = Counter(function=3, address=801, type="float64", step="0.001", scale="0.001", unit="kWh")
    words = {(3, address): 0 for address in range(797, 809)}
    barred = Layout(counters={"import": counter}, image=words, limits=Limits(barriers=frozenset({801})))
    meter = Unit(address=1, layout=barred)
    assert meter.answer(ask(3, 801, 4))[0] == 3
    for first, count in ((797, 8), (801, 2), (803, 4)):
        assert meter.answer(ask(3, first, count)) == bytes((0x83, 2))
    free = Unit(address=1, layout=Layout(counters={"import": counter}, image=words))
    assert free.answer(ask(3, 797, 8))[0] == 3


@pytest.mark.parametrize(
    ("kind", "counts", "words"),
    [
        ("u16", 0x12345, (0x2345,)),
        ("u32", 0x1_0001_0002, (1, 2)),
        ("i32", -1, (0xFFFF, 0xFFFF)),
        ("u64", 1 << 64 | 5, (0, 0, 0, 5)),
        ("float32", 25, (0x3E80, 0)),
        ("float64", -25, (0xBFD0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("order", ["big", "little"])
def test_counts_become_words_and_roll_over(
    kind: Type, counts: int, words: tuple[int, ...], order: Literal["big", "little"]
) -> None:
    counter = Counter(
        function=3,
        address=0,
        type=kind,
        order=order,
        step="0.01",
        scale="1" if kind.startswith("float") else "0.01",
        unit="kWh",
    )
    assert counter.encode(counts) == (words if order == "big" else words[::-1])


def test_a_counter_with_a_modulus_begins_again_there() -> None:
    counter = Counter(function=3, address=0, type="u32", step="0.1", scale="0.1", unit="kWh", modulus="1000")
    assert counter.encode(9_999) == (0, 9_999)
    assert counter.encode(10_000) == (0, 0)


def test_no_value_is_the_models_pattern_for_one_counter_or_by_the_fault_for_all() -> None:
    meter = Unit(address=1, layout=KINDS["carlo-gavazzi-em340"], counts={"import": 1, "export": 2})
    meter.missing = {"export"}
    assert meter.answer(ask(3, 52, 2)) == bytes.fromhex("0304 0001 0000")
    assert meter.answer(ask(3, 78, 2)) == bytes.fromhex("0304 ffff 7fff")
    meter.fault = "not_available"
    reply = meter.hear(ask(3, 52, 2), 0.0)
    assert reply is not None
    assert reply.pdu == bytes.fromhex("0304 ffff 7fff")


def test_counters_go_on_and_begin_anew() -> None:
    meter = Unit(address=1, layout=KINDS["carlo-gavazzi-em340"], counts={"import": 7})
    meter.advance(3)
    assert meter.counts["import"] == 10
    assert meter.counts["export"] == 3
    meter.reset()
    assert meter.answer(ask(3, 52, 2)) == bytes.fromhex("0304 0000 0000")


@pytest.mark.parametrize(
    ("kind", "end"), [("u16", 1 << 16), ("i16", 1 << 15), ("i32", 1 << 31), ("u64", 1 << 64), ("float32", None)]
)
def test_a_counter_ends_where_its_width_does_and_the_sign_never_counts(kind: Type, end: int | None) -> None:
    assert Counter(function=3, address=0, type=kind, step="0.1", scale="0.1", unit="kWh").end == end


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_counters_that_are_wound_to_their_end_begin_again_at_0(kind: str) -> None:
    meter = Unit(address=1, layout=KINDS[kind])
    for key, counter in KINDS[kind].counters.items():
        if counter.end is None:
            assert counter.type.startswith("float")
            continue
        meter.wind(1)
        before = counter.encode(meter.counts[key])
        meter.advance(1)
        assert before != counter.encode(meter.counts[key]) == counter.encode(0)


def test_by_the_fault_reset_counters_begin_anew_and_go_on_from_there() -> None:
    meter = Unit(address=1, layout=KINDS["carlo-gavazzi-em340"], counts={"import": 7}, fault="reset")
    reply = meter.hear(ask(3, 52, 2), 0.0)
    assert reply is not None
    assert reply.pdu == bytes.fromhex("0304 0000 0000")
    meter.fault = None
    meter.advance(3)
    reply = meter.hear(ask(3, 52, 2), 1.0)
    assert reply is not None
    assert reply.pdu == bytes.fromhex("0304 0003 0000")


@pytest.mark.parametrize(
    ("form", "serial", "words"),
    [
        ("letters", "12A", [0x31, 0x32, 0x41, 0]),
        ("text", "12A", [0x3132, 0x4100, 0, 0]),
        ("number", "65537", [0, 0, 1, 1]),
    ],
)
def test_a_serial_number_stands_where_the_model_has_it(
    form: Literal["letters", "text", "number"], serial: str, words: list[int]
) -> None:
    place = SerialNumber(function=3, address=10, words=4, form=form)
    assert place.encode(serial) == {(3, 10 + n): word for n, word in enumerate(words)}
    with pytest.raises(ValueError, match="does not fit 4 registers"):
        place.encode("9" * 21)


def walked(meter: Unit, base: int) -> dict[int, int]:
    """Model -> where it begins, as the SunSpec specification has it found."""
    words = {address: word for (_, address), word in meter.words().items()}
    assert bytes.fromhex(f"{words[base]:04x}{words[base + 1]:04x}") == b"SunS"
    found, at = {}, base + 2
    while words[at] != 0xFFFF:
        found[words[at]] = at
        at += 2 + words[at + 1]
    return found


@pytest.mark.parametrize("base", [40000, 50000, 0])
@pytest.mark.parametrize("model", [*INTEGERS, *FLOATS])
def test_a_sunspec_meter_tells_where_its_energy_stands(model: int, base: int) -> None:
    meter = Unit(address=1, layout=sunspec(model, base=base, scale=1), serial="SN 4711", counts={"import": 123})
    found = walked(meter, base)
    assert list(found) == [1, model]
    serial = meter.answer(ask(3, found[1] + 50, 16))[2:]
    assert serial.rstrip(b"\0") == b"SN 4711"
    start = found[model]
    if model in INTEGERS:
        (raw,) = struct.unpack(">I", meter.answer(ask(3, start + 46, 2))[2:])
        (scale,) = struct.unpack(">h", meter.answer(ask(3, start + 54, 1))[2:])
        assert raw * 10**scale == 1230
        assert Fraction(meter.layout.counters["import"].step) * KWH == 10
    else:
        (value,) = struct.unpack(">f", meter.answer(ask(3, start + 68, 2))[2:])
        assert value == 123


def test_a_sunspec_meter_may_hold_two_and_another_scale() -> None:
    meter = Unit(address=1, layout=sunspec(201, 213, scale=-2), counts={"import": 5, "export-2": 6})
    found = walked(meter, 40000)
    assert list(found) == [1, 201, 213]
    assert meter.answer(ask(3, found[201] + 54, 1)) == bytes.fromhex("0302 fffe")
    assert struct.unpack(">f", meter.answer(ask(3, found[213] + 60, 2))[2:]) == (6,)
