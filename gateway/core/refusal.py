"""What a schema refuses, told in words for the person who wrote it: by the kind of mistake and the value alone.

The kinds are pydantic's (docs: "Validation Errors"); this knows their names, not pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.problem import cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Place = tuple[str | int, ...]
"""a path: ("bus", 1, "meter", 0, "address") """
NAMED = 5
"""so many names at most in a sentence"""
UNFIT = "is nothing that fits here"
FORMS = {
    r"^[a-z0-9-]{1,40}$": "write 1 to 40 of a-z, 0-9 and -",
    r"^[A-Z]{3}$": "write three capital letters",
    r"^[a-z]{2,3}(-[A-Z]{2})?$": "write a language, or language and country",
    r"^[0-9]{1,8}$": "write 1 to 8 digits in quotes",
    r"^/": "write the whole path, from its first / on",
    r"^\d{1,3}-\d{1,3}:\d{1,3}\.\d{1,3}\.\d{1,3}$": "write a code as in OBIS, without the part after the *",
    r"^(\s*[0-9a-f]{2})+\s*$": "write octets in hex, 0-9 and a-f, two digits each",
    r"^([0-9a-f]{2}){2,}$": "write two or more octets in hex, 0-9 and a-f, without blanks",
    r"^([0-9a-f]{4}){1,4}$": "write one to four words in hex, four digits of 0-9 and a-f each",
}
"""what the patterns of our schemas ask for"""
CLAUSES = {
    "string_type": "is no text; put it into quotes",
    "string_too_short": "is too short; write at least {min_length} characters",
    "int_type": "is no whole number; write it in digits, without quotes",
    "int_parsing_size": "is too large a number",
    "float_type": "is no number; write it without quotes",
    "bool_type": "is neither true nor false",
    "greater_than": "is too small; write more than {gt}",
    "greater_than_equal": "is too small; write {ge} or more",
    "less_than_equal": "is too large; write {le} or less",
    "literal_error": "is not one of {expected}",
    "date_type": "is no date; write it without quotes",
    "datetime_type": "is no instant; write day, time and offset",
    "timezone_aware": "has no offset from UTC, and an hour may come twice; write one",
    "list_type": "is no list; put it into [ ]",
    "tuple_type": "is no list; put it into [ ]",
    "too_short": "has too few entries; write at least {min_length}",
    "dict_type": "is no table of keys and values",
    "model_type": "is no table of keys and values",
    "model_attributes_type": "is no table of keys and values",
    "invalid_key": "is no key",
    "json_invalid": "is no JSON; write one object, its text in UTF-8 and no NaN",
}
"""pydantic's types of mistakes, as far as our schemas can find them"""


def dotted(place: Place) -> str:
    """The path as text: "bus[1].meter[0].address"."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def clause(kind: str, context: Mapping[str, object]) -> str:
    """What is wrong with a value and what to write, to be read after the value: "is no list; put it into [ ]"."""
    if kind == "string_pattern_mismatch":
        return f"does not fit: {FORMS.get(str(context['pattern']), UNFIT)}"
    return CLAUSES.get(kind, UNFIT).format(**context)


def some(names: Sequence[str], between: str = ", ") -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


def shown(value: object) -> str:
    """The value as a TOML file has it, shortened."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{cut(value)}"'
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
    return cut(str(value))
