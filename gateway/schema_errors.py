"""What a schema refuses, told in words for the person who wrote it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]
"""a path: ("bus", 1, "meter", 0, "address") """


def dotted(place: Place) -> str:
    """The path as text: "bus[1].meter[0].address"."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def sentence(error: ErrorDetails, schema: type[BaseModel], beside: Iterable[str] = ()) -> str:
    """What is wrong and what to write; `beside`: keys that others read from the same table."""
    field = _field(schema, error["loc"])
    example = f"; write e.g. {_toml(field.examples[0])}" if field is not None and field.examples else ""
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(error["loc"], schema, beside)
        case "missing":
            return f"is missing{example}"
        case "value_error":
            return error["msg"].removeprefix("Value error, ")
    said = error["msg"][:1].lower() + error["msg"][1:]
    return f"{_toml(error['input'])} is refused: {said}{example}"


def _unknown_key(place: Place, schema: type[BaseModel], beside: Iterable[str]) -> str:
    around = _model(schema, place[:-1])
    names = [] if around is None else [field.alias or name for name, field in around.model_fields.items()]
    if len(place) == 1:
        names += beside
    close = get_close_matches(str(place[-1]), names, n=1)
    remedy = f"did you mean {close[0]}?" if close else f"remove it; known here: {', '.join(names)}"
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
            return f'"{value}"'
        case dict():
            return "a table"
        case list():
            return "a list"
    return str(value)
