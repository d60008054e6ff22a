"""Canonical bytes: RFC 8785."""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import pytest

from gateway.core.canonical import MAX_INTEGER, canonical

if TYPE_CHECKING:
    from gateway.core.canonical import Json


class _Status(IntEnum):
    GOOD = 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [1, None], "a": {"z": True, "y": False}}, '{"a":{"y":false,"z":true},"b":[1,null]}'),
        (MappingProxyType({"b": (), "a": ("x",)}), '{"a":["x"],"b":[]}'),
        ({"text": 'Wärme "\\\n\x01/'}, '{"text":"Wärme \\"\\\\\\n\\u0001/"}'),
        ({"status": _Status.GOOD}, '{"status":0}'),
        ([MAX_INTEGER, -MAX_INTEGER], "[9007199254740991,-9007199254740991]"),
    ],
)
def test_a_value_has_one_text(value: Json, text: str) -> None:
    assert canonical(value).decode() == text


def test_names_stand_in_the_order_of_their_utf_16_code_units() -> None:
    """RFC 8785, 3.2.3, its own example."""
    names = ["€", "\r", "\ufb33", "1", "😀", "\u0080", "ö"]
    given: Json = dict.fromkeys(names, 0)
    in_order = ["\r", "1", "\u0080", "ö", "€", "😀", "\ufb33"]
    told = canonical(given).decode()
    assert sorted(in_order, key=lambda name: told.index(canonical(name).decode())) == in_order


@pytest.mark.parametrize("value", [1.5, b"ab", {"deep": [{"in": 0.0}]}, {1: "a"}, object()])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical(cast("Json", value))


@pytest.mark.parametrize("number", [MAX_INTEGER + 1, -MAX_INTEGER - 1])
def test_a_number_that_another_language_would_round_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="whole numbers end"):
        canonical([number])
