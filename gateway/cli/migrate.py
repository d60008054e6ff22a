"""The command `migrate`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from gateway import pepper
from gateway.cli.exits import Refused
from gateway.cli.wiring import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.cli import Options


@click.command
@click.pass_obj
def migrate(options: Options) -> None:
    """Create the store and the pepper of badge identifiers, or bring the store up to this release."""
    from gateway.store import StoreError
    from gateway.store.migrate import migrate as upgrade

    try:
        done = upgrade(load_settings(options).store)
    except StoreError as error:
        raise Refused(str(error)) from error
    _make_pepper(options.config)
    if options.json:
        told = {"store": done.name, "before": done.before, "now": done.now, "new_epoch": done.new_epoch}
        click.echo(json.dumps(told))
    elif done.before == done.now:
        click.echo(f"{done.name}: at revision {done.now}, nothing to do")
    else:
        click.echo(f"{done.name}: brought from {done.before or 'nothing'} to revision {done.now}")
    if done.new_epoch and not options.json:
        click.echo(f"{done.name}: lies elsewhere than before, so all streams begin anew")


def _make_pepper(config: Path) -> None:
    try:
        pepper.create(config)
    except pepper.PepperError as error:
        raise Refused(str(error)) from error
