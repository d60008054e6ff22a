"""What a schema refuses, told in words for the person who wrote it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from pydantic import BaseModel

from gateway.core.refusal import clause, dotted, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from gateway.core.refusal import Place

IDENTIFIER = "identifier"
"""a key whose value is repeated nowhere"""


def sentence(error: ErrorDetails, schema: type[BaseModel], beside: Iterable[str] = ()) -> str:
    """What is wrong and what to write; `beside`: keys that others read from the same table."""
    field = _field(schema, error["loc"])
    example = f"e.g. {shown(field.examples[0])}" if field is not None and field.examples else ""
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(error["loc"], schema, beside)
        case "missing":
            wanted = example or _words(field)
            return f"is missing; write {wanted}" if wanted else "is missing"
        case "value_error":
            return error["msg"].removeprefix("Value error, ")
    if error["type"] == "list_type" and isinstance(error["input"], dict):
        return f"is a single table; write [[{error['loc'][-1]}]], with two brackets on each side"
    hidden = error["type"] == "json_invalid" or error["loc"][-1:] == (IDENTIFIER,)
    value = "this" if hidden else shown(error["input"])
    return ", ".join(filter(None, (f"{value} {clause(error['type'], error.get('ctx', {}))}", example)))


def _words(field: FieldInfo | None) -> str:
    """Those of which one is to be written; "" where it is no choice."""
    if field is None or get_origin(field.annotation) is not Literal:
        return ""
    return f"one of {', '.join(map(shown, get_args(field.annotation)))}"


def refusals(error: ValidationError, schema: type[BaseModel]) -> Iterator[str]:
    """The same for all of them, each behind the name of its key where it does not speak for itself."""
    for each in error.errors(include_url=False):
        text, place = sentence(each, schema), dotted(each["loc"])
        yield text if each["type"] == "value_error" or not place else f"{place}: {text}"


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
    return next((field for name, field in around.model_fields.items() if place[names[-1]] in (name, field.alias)), None)


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
