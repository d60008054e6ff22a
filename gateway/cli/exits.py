"""How a command ends when it has not done what was asked: one sentence on stderr and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

FAILED = 1
REFUSED = 3
UNREACHABLE = 4
INTERRUPTED = 130


class Failure(click.ClickException):
    """The command could not be carried out."""

    exit_code = FAILED

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """Print the text to stderr as it is."""
        click.echo(self.message, err=True)


class Refused(Failure):
    """A value, a file or a state was refused."""

    exit_code = REFUSED

    @classmethod
    def all(cls, problems: Iterable[object]) -> Refused:
        """Every problem on a line of its own."""
        return cls("\n".join(str(problem) for problem in problems))


class Unreachable(Failure):
    """A device or the broker did not answer."""

    exit_code = UNREACHABLE
