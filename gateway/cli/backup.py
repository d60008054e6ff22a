"""The commands `backup` and `restore`."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.exits import Refused
from gateway.cli.wiring import load_settings
from gateway.clock import SystemClock

if TYPE_CHECKING:
    from gateway.cli import Options
    from gateway.store.backup import Copied

_MEGABYTE = 1_000_000
LARGE = 20 * _MEGABYTE
"""bytes of a store: copied and checked in half a second here, in some seconds on a memory card"""


@click.command
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def backup(options: Options, file: Path) -> None:
    """Copy the store to FILE, also while the gateway runs, and check the copy."""
    from gateway.store import StoreError
    from gateway.store.backup import backup as copy
    from gateway.store.backup import size_of

    url = load_settings(options).store
    _announce(size_of(url))
    try:
        done = copy(url, file)
    except StoreError as error:
        raise Refused(str(error)) from error
    click.echo(json.dumps(_told(done)) if options.json else f"{_line(done)}; checked")


@click.command
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def restore(options: Options, file: Path) -> None:
    """Put the backup FILE in the place of the store; stop the gateway first.

    What was told after the backup is not known any more: all streams begin anew, and every charge is told again.
    """
    from gateway.store import StoreError
    from gateway.store.backup import restore as put_back

    url = load_settings(options).store
    with suppress(OSError):  # told when it is opened
        _announce(file.stat().st_size)
    try:
        done = put_back(url, file, SystemClock().now())
    except StoreError as error:
        raise Refused(str(error)) from error
    if options.json:
        replaced = None if done.replaced is None else str(done.replaced)
        click.echo(json.dumps({**_told(done.copy), "replaced": replaced}))
        return
    click.echo(f"restored {_line(done.copy)}; all streams begin anew")
    if done.replaced is not None:
        click.echo(f"the store as it was is kept as {done.replaced}")


def _announce(size: int) -> None:
    """A word before what takes longer than a moment."""
    if size >= LARGE:
        click.echo(f"copying and checking {size / _MEGABYTE:.1f} MB ...", err=True)


def _told(copied: Copied) -> dict[str, str | int]:
    return {
        "file": str(copied.file),
        "bytes": copied.size,
        "revision": copied.revision,
        "polls": copied.polls,
        "charges": copied.charges,
    }


def _line(copied: Copied) -> str:
    size = f"{copied.size / _MEGABYTE:.1f} MB"
    return f"{copied.file}: {size}, revision {copied.revision}, {copied.polls} polls, {copied.charges} charges"
