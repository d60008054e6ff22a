"""The command `simulate`: another program takes over, which imports nothing of the gateway."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gateway.cli import Options

_PROGRAM = (sys.executable, "-m", "simulators.simulate")


@click.command
@click.argument("building")
@click.pass_obj
def simulate(options: Options, building: str) -> None:
    """Play the meters, a broker and a receiver of charges, for a gateway started beside it.

    BUILDING is a folder with a devices.toml, or a building that comes along, such as cottage. The settings
    for the gateway are written to --config, which must not exist yet. Months pass as fast as the gateway follows,
    until Ctrl-C. BROKER=host:port takes a broker that is there.
    """
    os.execv(sys.executable, [*_PROGRAM, building, str(options.config)])  # noqa: S606 - no shell is wanted
