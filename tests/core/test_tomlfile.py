from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field

from gateway.tomlfile import Document, Loaded, Problems, parse, validated

STRICT = ConfigDict(strict=True, extra="forbid")


class Price(BaseModel):
    model_config = STRICT
    price: str
    since: str | None = Field(default=None, alias="from")


class Rate(BaseModel):
    model_config = STRICT
    id: str = Field(examples=["electricity"])
    prices: list[Price]
    surface: str | list[Price] = "1"


class File(BaseModel):
    model_config = STRICT
    name: str = "x"
    rate: list[Rate] = []


def lines_of(text: str) -> dict[str, int]:
    document = parse(text, "f.toml")
    assert isinstance(document, Document)
    return {".".join(map(str, place)): line for place, line in document.lines.known.items()}


def mistakes(text: str) -> list[str]:
    document = parse(text, "f.toml")
    found = validated(document, File) if isinstance(document, Document) else document
    assert not isinstance(found, Loaded)
    return [str(each) for each in found]


def test_each_table_of_an_array_has_its_own_lines() -> None:
    text = "[[bus]]\nid = 1\n[[bus.meter]]\nid = 2\n[[bus.meter]]\n\nid = 3\n[[bus]]\n[[bus.meter]]\nid = 4\n"
    assert lines_of(text) == {
        "bus": 1,
        "bus.0": 1,
        "bus.0.id": 2,
        "bus.0.meter": 3,
        "bus.0.meter.0": 3,
        "bus.0.meter.0.id": 4,
        "bus.0.meter.1": 5,
        "bus.0.meter.1.id": 7,
        "bus.1": 8,
        "bus.1.meter": 9,
        "bus.1.meter.0": 9,
        "bus.1.meter.0.id": 10,
    }


def test_arrays_over_several_lines_and_inline_tables_have_lines_inside() -> None:
    text = (
        'prices = [ # first\n  { from = 2026-01-01, price = "1" }, # }\n\n  { price = "]" },\n]\nlast = [[1, 2], [3]]\n'
    )
    found = lines_of(text)
    assert (found["prices.0.price"], found["prices.1"], found["prices.1.price"]) == (2, 4, 4)
    assert (found["last"], found["last.1.0"]) == (6, 6)


@pytest.mark.parametrize(
    "value",
    [
        '"""a\n[x]\n# "quoted" \\""""',
        "'''a\n]\n'''",
        '"a # b = [ \\" "',
        "'c:\\'",
        '""',
        '["""x\n""", "y"]',
        "1979-05-27 07:32:00",
    ],
)
def test_whatever_a_string_holds_is_not_taken_for_structure(value: str) -> None:
    text = f"first = {value}\nsecond = 1\n"
    assert lines_of(text)["second"] == text.count("\n")


def test_dotted_and_quoted_keys_and_sub_tables_are_followed() -> None:
    found = lines_of('[[a]]\nb.c = 1\n"d e" = 2\n[a.f]\ng = 3\n[ h . i ]\n')
    assert (found["a.0.b.c"], found["a.0.d e"], found["a.0.f.g"], found["h.i"]) == (2, 3, 5, 6)


def test_windows_line_ends_count_once() -> None:
    assert lines_of("a = 1\r\n\r\nb = 2\r\n")["b"] == 3


def test_every_mistake_is_told_at_once_with_its_line_in_the_order_of_the_file() -> None:
    text = 'name = 5\n[[rate]]\nprices = [\n  { price = 1 },\n  { prise = "2" },\n]\n'
    assert mistakes(text) == [
        "f.toml:1: name: 5 is no text; put it into quotes",
        'f.toml:2: rate[0].id: is missing; write e.g. "electricity"',
        "f.toml:4: rate[0].prices[0].price: 1 is no text; put it into quotes",
        "f.toml:5: rate[0].prices[1].price: is missing",
        "f.toml:5: rate[0].prices[1].prise: this key is not known; did you mean price?",
    ]


def test_an_unknown_key_without_a_likely_meaning_lists_the_known_ones() -> None:
    text = '[[rate]]\nid = "r"\nprices = [{ price = "1", xyz = 1 }]\n'
    assert mistakes(text) == [
        "f.toml:3: rate[0].prices[0].xyz: this key is not known; remove it; known here: price, from"
    ]


def test_a_union_is_told_by_the_path_of_the_file() -> None:
    (found,) = mistakes('[[rate]]\nid = "r"\nprices = []\nsurface = 7\n')
    assert found.startswith("f.toml:4: rate[0].surface: 7 is no text; put it into quotes")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a = 1\nb = \n", "f.toml:2: this is not TOML: Invalid value at column"),
        ("a = 1\na = 2\n", "f.toml:2: this is not TOML: Cannot overwrite a value at column"),
        ("a = 1\nb = [1,\n", "f.toml:2: this is not TOML: "),
    ],
)
def test_a_syntax_error_is_one_sentence_with_its_line(text: str, start: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith(start)
    assert found.endswith("; correct the line")


def test_a_good_file_gives_its_value_and_its_lines() -> None:
    document = parse('[[rate]]\nid = "r"\nprices = [{ price = "0.25", from = "x" }]\n', "f.toml")
    assert isinstance(document, Document)
    loaded = validated(document, File)
    assert isinstance(loaded, Loaded)
    assert loaded.value.rate[0].prices[0].price == "0.25"
    assert loaded.lines.line(("rate", 0, "prices", 0, "price")) == 3
    problem = loaded.lines.problem(("rate", 0, "points", 2), "unknown point")
    assert str(problem) == "f.toml:1: rate[0].points[2]: unknown point"


def test_problems_are_values() -> None:
    found: Document | Problems = parse("x", "f.toml")
    assert isinstance(found, tuple)
    assert found == parse("x", "f.toml")


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "{ b = " * 100_000])
def test_what_is_nested_too_deep_is_one_sentence(text: str) -> None:
    (said,) = mistakes(text)
    assert said.startswith("f.toml: lists or tables are nested hundreds deep; ")


def test_a_number_of_thousands_of_digits_is_one_sentence() -> None:
    assert mistakes(f"name = {'1' * 5000}") == ["f.toml: a number has thousands of digits; shorten it"]
