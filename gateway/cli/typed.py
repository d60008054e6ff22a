"""What was typed, as the command that it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.cli.exits import Refused
from gateway.core.problem import cut
from gateway.core.refusal import dotted
from gateway.schema_errors import sentence

if TYPE_CHECKING:
    from collections.abc import Iterable

_C = TypeVar("_C", bound=BaseModel)


def command(model: type[_C], **given: object) -> _C:
    """The command that was typed; Refused with every mistake in it."""
    told = {key: value for key, value in given.items() if value is not None}
    try:
        return model.model_validate_json(json.dumps(told))
    except ValidationError as error:
        found = error.errors(include_url=False)
        parts = [filter(None, (dotted(one["loc"]), sentence(one, model))) for one in found]
        raise Refused.all(map(": ".join, parts)) from error


def pairs(option: str, form: str, given: Iterable[str]) -> dict[str, str]:
    """What was given as NAME=VALUE; Refused where one has another form or a name comes twice."""
    found: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or name in found:
            message = f"--{option} {cut(text)}: write {form}, once for each"
            raise Refused(message)
        found[name] = value
    return found
