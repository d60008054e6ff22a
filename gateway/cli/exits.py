"""How a command ends when it has not done what was asked: sentences on stderr and an exit code.

With --json a program that reads stdout finds an object there, too: {"ok": false, "error": ...}, or "problems" where
there may be several and each has its place.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.ports.field import FieldError

FAILED = 1
REFUSED = 3
UNREACHABLE = 4
INTERRUPTED = 130


class Failure(click.ClickException):
    """The command could not be carried out."""

    exit_code = FAILED

    def __init__(self, message: str, problems: list[dict[str, Any]] | None = None) -> None:
        """`problems` are what JSON holds instead of the message."""
        super().__init__(message)
        self._problems = problems
        context = click.get_current_context(silent=True)  # it is gone where this is shown
        options = None if context is None else context.find_root().obj
        self._as_json: bool = options is not None and options.json

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """Print the text to stderr as it is, and for programs an object to stdout."""
        click.echo(self.message, err=True)
        if self._as_json:
            why = {"error": self.message} if self._problems is None else {"problems": self._problems}
            click.echo(json.dumps({"ok": False, **why}, ensure_ascii=False))


class Refused(Failure):
    """A value, a file or a state was refused."""

    exit_code = REFUSED

    @classmethod
    def all(cls, problems: Iterable[object], objects: list[dict[str, Any]] | None = None) -> Refused:
        """Every problem on a line of its own; `objects` are the same for programs."""
        return cls("\n".join(str(problem) for problem in problems), objects)


class Unreachable(Failure):
    """A device or the broker did not answer."""

    exit_code = UNREACHABLE


def of_device(error: FieldError, more: str = "") -> Failure:
    """How a device's error ends the command: Failure where it answered, Unreachable where it did not.

    `more` is what is to be said behind it.
    """
    text = f"{error}{more}"
    return Failure(text) if isinstance(error, WrongAnswerError) else Unreachable(text)
