"""Has a command carried out: by the daemon where it runs, else here, with the store locked meanwhile."""

from __future__ import annotations

import asyncio
import getpass
import os
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from gateway import control
from gateway.cli.exits import Failure, Refused, Unreachable
from gateway.cli.wiring import load_settings
from gateway.clock import SystemClock
from gateway.core.access import digest
from gateway.service.command_execute import Commander, SealError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gateway.cli import Options
    from gateway.service.command_execute import Seal
    from gateway.service.command_schema import Answer, Command, Enrol
    from gateway.settings import Settings

PATIENCE = 10.0
"""seconds for another command to end, or for a daemon that starts to listen"""
PAUSE = 0.05


def have_enrolled(options: Options, command: Enrol, say: Callable[[str], None]) -> Answer:
    """What became of the badge; Refused where no daemon runs: it has the readers."""
    settings = load_settings(options)
    with _reaching():
        answer = control.ask(control.socket_path(settings.store, settings.file), command, say)
    if answer is None:
        message = "the daemon does not run, and it has the readers: start it, or write --identifier with `badge add`"
        raise Refused(message)
    return answer


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except control.NoRightError as error:
        raise Refused(str(error)) from error
    except control.NoWayError as error:
        raise Unreachable(str(error)) from error
    except control.ControlError as error:
        raise Failure(str(error)) from error


def carry_out(options: Options, command: Command) -> Answer:
    """What became of the command; Refused where the store or the daemon cannot be used."""
    from gateway.store import StoreError, StoreInUseError

    settings = load_settings(options)
    path = control.socket_path(settings.store, settings.file)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with _reaching():
                answer = control.ask(path, command, partial(click.echo, err=True))
            return answer or asyncio.run(_alone(settings, command))
        except StoreInUseError as error:
            if time.monotonic() > end:
                raise Refused(str(error)) from error
        except StoreError as error:
            raise Refused(str(error)) from error
        time.sleep(PAUSE)


async def _alone(settings: Settings, command: Command) -> Answer:
    from gateway.store import Store

    async with Store(settings.store) as store:
        commander = Commander(store=store, clock=SystemClock(), seal=seal(settings.file))
        return await commander.execute(command, user())


def user() -> str:
    """Who runs this; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def seal(config: Path) -> Seal:
    """What is kept of a badge's identifier; the pepper is loaded when there is one to be kept."""

    def sealed(identifier: str) -> str:
        from gateway import pepper

        try:
            return digest(identifier, pepper.load(config))
        except pepper.PepperError as error:
            raise SealError(str(error)) from error

    return sealed
