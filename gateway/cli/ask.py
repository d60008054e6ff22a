"""Has a command carried out: by the daemon where it runs, else here, with the store locked meanwhile."""

from __future__ import annotations

import asyncio
import getpass
import os
from typing import TYPE_CHECKING

from gateway import control
from gateway.cli.exits import Failure, Refused
from gateway.cli.wiring import load_settings
from gateway.clock import SystemClock
from gateway.core.access import digest
from gateway.service.command_execute import Commander, SealError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.cli import Options
    from gateway.service.command_execute import Seal
    from gateway.service.command_schema import Answer, Command
    from gateway.settings import Settings

PATIENCE = 10.0
"""seconds for another command to end, or for a daemon that starts to listen"""
PAUSE = 0.05


def carry_out(options: Options, command: Command) -> Answer:
    """What became of the command; Refused where the store or the daemon cannot be used."""
    settings = load_settings(options)
    try:
        return asyncio.run(_carry_out(settings, command))
    except control.ControlError as error:
        raise Failure(str(error)) from error


async def _carry_out(settings: Settings, command: Command) -> Answer:
    from gateway.store import StoreError, StoreInUseError

    path, clock = control.socket_path(settings.store, settings.file), SystemClock()
    end = clock.monotonic() + PATIENCE
    while True:
        answer = await asyncio.to_thread(control.ask, path, command)
        if answer is not None:
            return answer
        try:
            return await _alone(settings.store, command, seal(settings.file))
        except StoreInUseError as error:
            if clock.monotonic() > end:
                raise Refused(str(error)) from error
        except StoreError as error:
            raise Refused(str(error)) from error
        await asyncio.sleep(PAUSE)


async def _alone(url: str, command: Command, sealing: Seal) -> Answer:
    from gateway.store import Store

    async with Store(url) as store:
        return await Commander(store=store, clock=SystemClock(), seal=sealing).execute(command, user())


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
