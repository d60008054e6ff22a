"""The command `migrate`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from gateway.cli.exits import Refused
from gateway.cli.wiring import load_settings

if TYPE_CHECKING:
    from gateway.cli import Options


@click.command
@click.pass_obj
def migrate(options: Options) -> None:
    """Create the store, or bring it up to this release."""
    from gateway.store import StoreError
    from gateway.store.migrate import migrate as upgrade

    try:
        done = upgrade(load_settings(options).store)
    except StoreError as error:
        raise Refused(str(error)) from error
    if options.json:
        click.echo(json.dumps({"store": str(done.path), "before": done.before, "now": done.now}))
    elif done.before == done.now:
        click.echo(f"{done.path}: at revision {done.now}, nothing to do")
    else:
        click.echo(f"{done.path}: brought from {done.before or 'nothing'} to revision {done.now}")
