"""What a schema refuses, told in words for the person who wrote it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from gateway.core.problem import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]
"""a path: ("bus", 1, "meter", 0, "address") """


IDENTIFIER = "identifier"
"""a key whose value is repeated nowhere"""
UNFIT = "is nothing that fits here"
FORMS = {
    r"^[a-z0-9-]{1,40}$": "write 1 to 40 of a-z, 0-9 and -",
    r"^[A-Z]{3}$": "write three capital letters",
    r"^[a-z]{2,3}(-[A-Z]{2})?$": "write a language, or language and country",
    r"^[0-9]{1,8}$": "write 1 to 8 digits in quotes",
    r"^/": "write the whole path, from its first / on",
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


def sentence(error: ErrorDetails, schema: type[BaseModel], beside: Iterable[str] = ()) -> str:
    """What is wrong and what to write; `beside`: keys that others read from the same table."""
    field = _field(schema, error["loc"])
    example = f"e.g. {_toml(field.examples[0])}" if field is not None and field.examples else ""
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(error["loc"], schema, beside)
        case "missing":
            return f"is missing; write {example}" if example else "is missing"
        case "value_error":
            return error["msg"].removeprefix("Value error, ")
    if error["type"] == "list_type" and isinstance(error["input"], dict):
        return f"is a single table; write [[{error['loc'][-1]}]], with two brackets on each side"
    hidden = error["type"] == "json_invalid" or error["loc"][-1:] == (IDENTIFIER,)
    shown = "this" if hidden else _toml(error["input"])
    return ", ".join(filter(None, (f"{shown} {_clause(error)}", example)))


def _clause(error: ErrorDetails) -> str:
    """What is wrong with the value, in our words and never in pydantic's."""
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        return f"does not fit: {FORMS.get(context['pattern'], UNFIT)}"
    return CLAUSES.get(error["type"], UNFIT).format(**context)


def _unknown_key(place: Place, schema: type[BaseModel], beside: Iterable[str]) -> str:
    around = _model(schema, place[:-1])
    names = [] if around is None else [field.alias or name for name, field in around.model_fields.items()]
    if len(place) == 1:
        names += beside
    close = get_close_matches(str(place[-1]), names, n=1)
    known = f"; known here: {', '.join(names)}" if names else ""
    remedy = f"did you mean {close[0]}?" if close else f"remove it{known}"
    return f"this key is not known; {remedy}"


def _field(schema: type[BaseModel], place: Place) -> FieldInfo | None:
    """What the schema says of the last name in the path."""
    names = [index for index, part in enumerate(place) if isinstance(part, str)]
    if not names:
        return None
    around = _model(schema, place[: names[-1]])
    if around is None:
        return None
    return next((f for name, f in around.model_fields.items() if place[names[-1]] in (name, f.alias)), None)


def _model(schema: type[BaseModel], place: Place) -> type[BaseModel] | None:
    """The schema of the table at the path."""
    for index, part in enumerate(place):
        if isinstance(part, str):
            field = _field(schema, place[index : index + 1])
            inner = None if field is None else _inner_model(field.annotation)
            if inner is None:
                return None
            schema = inner
    return schema


def _inner_model(annotation: object) -> type[BaseModel] | None:
    """The model in an annotation such as `tuple[Bus, ...]` or `Mqtt | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_inner_model(each) for each in get_args(annotation))
    return next((each for each in inner if each is not None), None)


def _toml(value: Any) -> str:  # noqa: ANN401 - whatever a file may hold
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
